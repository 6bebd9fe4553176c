//! Runs of `usurper run` on scenarios that a test writes, and their histories.

use std::{fs, path::Path};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::support::{Ended, Place, wait_for};

/// A run that has ended.
pub(crate) struct Run {
    place: Place,
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
    /// The records of the history, in order.
    pub(crate) records: Vec<Value>,
}

/// Runs a scenario of three `fle` nodes with these steps.
pub(crate) fn run(steps: &str, more: &[&str]) -> Run {
    run_scenario(&format!("system = \"fle\"\nnodes = 3\n{steps}"), more)
}

pub(crate) fn run_scenario(scenario: &str, more: &[&str]) -> Run {
    let (place, words) = prepare(scenario, more);
    let ended = place.usurper(&words);
    Run::new(place, ended)
}

/// Like [`run`], with a SIGINT once the history holds this text.
pub(crate) fn run_interrupted(steps: &str, text: &str) -> Run {
    let (place, words) = prepare(&format!("system = \"fle\"\nnodes = 3\n{steps}"), &[]);
    let started = place.start(&words);
    wait_for(text, || history(place.path()).contains(text).then_some(()));
    started.signal(Signal::SIGINT);
    Run::new(place, started.wait())
}

fn prepare(scenario: &str, more: &[&str]) -> (Place, String) {
    let place = Place::new();
    let text = format!("summary = \"A test.\"\ntime = \"30s\"\nsettle = \"10ms\"\n{scenario}");
    place.file("test.toml", &text);
    (place, format!("run test.toml --seed 1 {}", more.join(" ")))
}

/// The history of the only run in a place, as far as it is written.
fn history(place: &Path) -> String {
    let runs = fs::read_dir(place.join("store/test")).into_iter().flatten();
    runs.map(|run| fs::read_to_string(run.unwrap().path().join("history.jsonl")))
        .map(Result::unwrap_or_default)
        .collect()
}

impl Run {
    fn new(place: Place, ended: Ended) -> Self {
        let text = history(place.path());
        let lines = text.lines().skip(1);
        let records = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { place, code: ended.code, stderr: ended.stderr, records }
    }

    /// The place of the first record from `from` on that has all these fields.
    pub(crate) fn find(&self, from: usize, fields: &Value) -> Option<usize> {
        let fields = fields.as_object().unwrap();
        let has = |record: &Value| fields.iter().all(|(key, value)| record[key] == *value);
        (from..self.records.len()).find(|at| has(&self.records[*at]))
    }

    /// Like [`Run::find`], but it must be there.
    #[track_caller]
    pub(crate) fn at(&self, from: usize, fields: &Value) -> usize {
        self.find(from, fields).unwrap_or_else(|| {
            panic!("no record from {from} on has {fields}\n{}", self.describe());
        })
    }

    /// The end of the first step from `from` on that did this.
    #[track_caller]
    pub(crate) fn fault(&self, from: usize, fault: &str) -> (usize, &Value) {
        let fields = serde_json::json!({"record": "fault", "phase": "end", "fault": fault});
        let at = self.at(from, &fields);
        (at, &self.records[at])
    }

    /// The end of the first step that did this, which must have worked; and its place.
    #[track_caller]
    pub(crate) fn installed(&self, from: usize, fault: &str) -> usize {
        let (at, record) = self.fault(from, fault);
        assert_eq!(record["outcome"], "installed", "{record}\n{}", self.describe());
        assert!(record["proof"].as_str().is_some_and(|proof| !proof.is_empty()), "{record}");
        at
    }

    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{}", self.describe());
    }

    /// What a node wrote to standard error.
    pub(crate) fn said(&self, node: &str) -> String {
        let path = format!("store/latest/nodes/{node}/stderr.log");
        fs::read_to_string(self.place.path().join(path)).unwrap()
    }

    fn describe(&self) -> String {
        let told = self.records.iter().filter(|record| record["record"] != "node");
        let told: Vec<_> = told.map(Value::to_string).collect();
        format!("{}\n{}", self.stderr, told.join("\n"))
    }
}
