//! Pages that hold tables of the code's own, and are not to fall behind it.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::Place;

const BEGIN: &str =
    "<!-- begin generated: `USURPER_BLESS=1 cargo test -p usurper docs` writes this -->\n";
const END: &str = "<!-- end generated -->\n";

/// Compares what stands between the marks of a page with what should, or writes it.
#[track_caller]
fn up_to_date(page: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("a begin mark");
    let (stands, after) = rest.split_once(END).expect("an end mark");
    if std::env::var_os("USURPER_BLESS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(stands, table, "docs/{page} is stale: USURPER_BLESS=1 writes it");
    }
}

fn rows(what: &str) -> Vec<Value> {
    let ended = Place::new().usurper(&format!("list {what} --output json"));
    ended.expect(0, &[]);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// What `usurper list` prints as a table.
fn table(what: &str) -> String {
    let ended = Place::new().usurper(&format!("list {what} --output markdown"));
    ended.expect(0, &[]);
    ended.stdout
}

#[test]
fn docs_list_every_event() {
    up_to_date("history.md", &table("events"));
}

#[test]
fn docs_list_every_check() {
    up_to_date("checks.md", &table("checks"));
}

#[test]
fn docs_list_every_fault() {
    up_to_date("faults.md", &table("faults"));
}

#[test]
fn docs_list_every_workload() {
    up_to_date("workloads.md", &table("workloads"));
}

#[test]
fn docs_list_every_defect_of_raft() {
    up_to_date("systems/raft.md", &table("defects --system raft"));
}

#[test]
fn docs_list_every_defect_of_raft_rs() {
    up_to_date("systems/raft-rs.md", &table("defects --system raft-rs"));
}

#[test]
fn docs_explain_every_source_that_is_named() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/catalogue.md");
    let page = fs::read_to_string(page).unwrap();
    let mut named = 0;
    for row in rows("checks").iter().chain(&rows("defects")) {
        let source = row["source"].as_str().unwrap();
        let words = source.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        for id in words.filter(|word| word.len() == 5 && word.starts_with("F-")) {
            named += 1;
            assert!(page.contains(&format!("| {id} |")), "{id} of {} is missing", row["name"]);
        }
    }
    assert!(named > 20, "only {named} sources were found");
}
