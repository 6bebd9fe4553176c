//! Runs of `usurper run` on scenarios that a test writes, and their histories.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use usurper_history::Clock;

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
    let (directory, mut command) = prepare(scenario, more);
    let output = command.output().unwrap();
    ended(directory, &output)
}

/// Like [`run`], with a SIGINT once the history holds this text.
pub(crate) fn run_interrupted(steps: &str, text: &str) -> Run {
    let (directory, mut command) = prepare(&format!("system = \"fle\"\nnodes = 3\n{steps}"), &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Clock::start();
    while !histories(directory.path()).contains(text) {
        assert!(deadline.now_ns() < 20_000_000_000, "`{text}` never came");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    ended(directory, &output)
}

fn prepare(scenario: &str, more: &[&str]) -> (TempDir, Command) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("test.toml");
    let text = format!("summary = \"A test.\"\ntime = \"30s\"\nsettle = \"10ms\"\n{scenario}");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(cargo_bin!("usurper"));
    command
        .args(["run", "test.toml", "--seed", "1", "--store", "store"])
        .args(more)
        .current_dir(directory.path());
    (directory, command)
}

fn ended(directory: TempDir, output: &Output) -> Run {
    let lines = histories(directory.path());
    let records = lines.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Run { directory, code: output.status.code(), stderr, records }
}

/// The history of the only run in a directory, as far as it is written.
fn histories(directory: &Path) -> String {
    let runs = fs::read_dir(directory.join("store/test")).into_iter().flatten();
    runs.map(|run| fs::read_to_string(run.unwrap().path().join("history.jsonl")))
        .map(Result::unwrap_or_default)
        .collect()
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
