//! Runs of `usurper run` on scenarios that a test writes, and their histories.

use std::{fs, process::Command};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;
use tempfile::TempDir;

/// A run that has ended.
pub(crate) struct Run {
    directory: TempDir,
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
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("test.toml");
    let text = format!("summary = \"A test.\"\ntime = \"30s\"\nsettle = \"10ms\"\n{scenario}");
    fs::write(&file, text).unwrap();
    let output = Command::new(cargo_bin!("usurper"))
        .args(["run", "test.toml", "--seed", "1", "--store", "store"])
        .args(more)
        .current_dir(directory.path())
        .output()
        .unwrap();
    let history = directory.path().join("store/latest/history.jsonl");
    let lines = fs::read_to_string(history).unwrap_or_default();
    let records = lines.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Run { directory, code: output.status.code(), stderr, records }
}

impl Run {
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
        fs::read_to_string(self.directory.path().join(path)).unwrap()
    }

    fn describe(&self) -> String {
        let told = self.records.iter().filter(|record| record["record"] != "node");
        let told: Vec<_> = told.map(Value::to_string).collect();
        format!("{}\n{}", self.stderr, told.join("\n"))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.directory.disable_cleanup(true);
            println!("the run is kept in {}", self.directory.path().display());
        }
    }
}
