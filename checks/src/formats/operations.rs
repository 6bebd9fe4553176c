//! Client operations on their way into a history: who has what open, and what cannot be.

use std::collections::HashMap;

use serde_json::Value;
use usurper_history::{Body, OpRecord, OpType, Record};

use super::{
    input::{Lines, Skipped},
    problem::{FormatError, Problem},
};

/// The records of one file of operations.
#[derive(Debug, Default)]
pub(super) struct Operations {
    pub(super) records: Vec<(u64, Record)>,
    pub(super) skipped: Skipped,
    /// What the reader wants known, such as that some of what it read is not judged.
    pub(super) notes: Vec<String>,
    /// Why a history without findings is not valid for all that.
    pub(super) doubts: Vec<String>,
    /// Whether a `fail` without a reason is a plain no.
    pub(super) plain_no: bool,
}

/// Holds the steps of operations against each other as they are read.
#[derive(Debug, Default)]
pub(super) struct Clients {
    open: HashMap<u32, Open>,
    completed: HashMap<u32, u64>,
}

#[derive(Debug)]
struct Open {
    line: u64,
    f: String,
    key: Option<String>,
    value: Option<Value>,
}

impl Clients {
    /// Says whether a client can have done this after what it did before.
    pub(super) fn step(&mut self, line: u64, op: &OpRecord) -> Result<(), Problem> {
        let process = op.process;
        if op.op_type == OpType::Invoke {
            if let Some(open) = self.open.get(&process) {
                return Err(Problem::InvokedTwice { process, before: open.line });
            }
            let (f, key, value) = (op.f.clone(), op.key.clone(), op.value.clone());
            self.open.insert(process, Open { line, f, key, value });
            return Ok(());
        }
        let Some(open) = self.open.get(&process) else {
            return Err(match self.completed.get(&process) {
                Some(before) => Problem::CompletedTwice { process, before: *before },
                None => Problem::NeverInvoked { process },
            });
        };
        if open.f != op.f || op.key.is_some() && open.key != op.key || open.contradicts(op) {
            let (before, asked, told) = (open.line, open.text(), text(&op.f, &op.key, &op.value));
            return Err(Problem::OtherOperation { process, before, asked, told });
        }
        self.open.remove(&process);
        self.completed.insert(process, line);
        Ok(())
    }
}

impl Open {
    /// Whether the end of an operation that changes something names another value than its begin.
    fn contradicts(&self, end: &OpRecord) -> bool {
        const CHANGES: &[&str] = &["write", "cas", "append", "put", "add", "remove", "enqueue"];
        CHANGES.contains(&end.f.as_str()) && end.value.is_some() && end.value != self.value
    }

    fn text(&self) -> String {
        text(&self.f, &self.key, &self.value)
    }
}

fn text(f: &str, key: &Option<String>, value: &Option<Value>) -> String {
    let key = key.as_ref().map(|key| format!(" {key}")).unwrap_or_default();
    let value = value.as_ref().map(|value| format!(" {value}")).unwrap_or_default();
    format!("`{f}{key}{value}`")
}

/// An operation's step with nothing but what every format tells.
pub(super) fn step(
    process: u32,
    op_type: OpType,
    f: &str,
    value: Option<Value>,
    error: Option<String>,
) -> OpRecord {
    OpRecord {
        process,
        op_type,
        f: f.to_owned(),
        key: None,
        value,
        server: None,
        session: None,
        serial: None,
        error,
    }
}

impl Operations {
    /// Takes in a step, or says what is wrong with it.
    pub(super) fn take(
        &mut self,
        lines: &mut Lines<'_>,
        clients: &mut Clients,
        line: u64,
        (t, op): (u64, OpRecord),
    ) -> Result<(), FormatError> {
        match clients.step(line, &op) {
            Ok(()) => self.records.push((line, Record::new(t, Body::Op(op)))),
            Err(problem) => lines.bad(line, problem)?,
        }
        Ok(())
    }
}
