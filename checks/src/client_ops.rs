//! The `linearizable` check over the client operations of a history.
//!
//! Operations are paired and put into the words of a model; [`linearizability`](crate::linearizability)
//! decides. Positions are the lines of the history: the harness writes an operation's `invoke`
//! before it sends anything and its completion after it has received everything, so the interval
//! between the two lines is never shorter than the operation was.

mod object;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use usurper_history::{NodeId, OpRecord, OpType};

pub use object::Object;

use crate::{
    linearizability::{
        Budget, Operation, Options, PairError, Pairing, Report, Verdict, Why, narrow,
    },
    models::{FailedCas, Value},
    phrase::counted,
    verdict::{Finding, Judgement},
};

/// One `op` record, where it stands and when it was made.
#[derive(Clone, Copy, Debug)]
pub struct ClientRecord<'a> {
    /// The line of the history; the header is line 1.
    pub line: u64,
    /// Nanoseconds since the run's origin.
    pub t: u64,
    pub op: &'a OpRecord,
}

/// How to judge client operations.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// What every key is; none to tell from the operations' names.
    pub object: Option<Object>,
    /// What a register holds at first.
    pub initial: Value,
    pub failed_cas: FailedCas,
    pub options: Options,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            object: None,
            initial: Value::Nil,
            failed_cas: FailedCas::DidNotHappen,
            options: Options::default(),
        }
    }
}

/// What the client operations were found to be.
#[derive(Clone, Debug)]
pub struct ClientJudgement {
    pub judgement: Judgement,
    /// Why it is unknown.
    pub reason: Option<String>,
    pub findings: Vec<Finding>,
    pub object: Option<Object>,
    /// How a failed compare-and-set was taken.
    pub failed_cas: FailedCas,
    /// The checker's own report, with places in the order of `operations`.
    pub report: Option<Report>,
    /// The operations that were judged: the lines of call and return of each.
    pub operations: Vec<(u64, Option<u64>)>,
}

/// Client records that no client can have made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error("line {line}: `{what}` completes the `{asked}` of line {invoked}")]
    OtherOperation { line: u64, what: String, asked: String, invoked: u64 },
    #[error("line {line}: `{f}` with value `{value}`, expected {expected}")]
    Value { line: u64, f: String, value: String, expected: &'static str },
}

/// An operation, as its records tell it.
pub(crate) struct Told<'a> {
    process: u32,
    key: u32,
    call: ClientRecord<'a>,
    /// How it ended; none if it never did.
    end: Option<ClientRecord<'a>>,
}

impl<'a> Told<'a> {
    fn f(&self) -> &'a str {
        &self.call.op.f
    }

    fn asked(&self) -> &'a Json {
        self.call.op.value.as_ref().unwrap_or(&Json::Null)
    }

    fn answered(&self) -> &'a Json {
        self.end.and_then(|end| end.op.value.as_ref()).unwrap_or(&Json::Null)
    }

    /// How it ended; `info` if it never did.
    fn outcome(&self) -> OpType {
        self.end.map_or(OpType::Info, |end| end.op.op_type)
    }

    /// Whether the client failed for another reason than the system's plain no.
    fn has_error(&self) -> bool {
        self.end.is_some_and(|end| end.op.error.is_some())
    }

    fn wrong(&self, value: &Json, expected: &'static str) -> ClientError {
        let (f, value) = (self.f().to_owned(), value.to_string());
        ClientError::Value { line: self.call.line, f, value, expected }
    }
}

/// Judges whether client operations are linearizable, each key on its own.
///
/// A history without an operation that observed something is unknown.
///
/// # Errors
/// Records that no client can have made: a double completion, a completion without an invoke, two
/// open operations of one process, or a value that is none.
pub fn linearizable(
    records: &[ClientRecord<'_>],
    settings: &ClientSettings,
    budget: &dyn Budget,
) -> Result<ClientJudgement, ClientError> {
    let (told, keys) = pair(records)?;
    let mut judged = ClientJudgement {
        judgement: Judgement::Unknown,
        reason: None,
        findings: Vec::new(),
        object: settings.object,
        failed_cas: settings.failed_cas,
        report: None,
        operations: Vec::new(),
    };
    if told.is_empty() {
        judged.reason = Some("no client operations".to_owned());
        return Ok(judged);
    }
    let object = match Object::of(&told, settings.object) {
        Ok(object) => object,
        Err(reason) => {
            judged.reason = Some(reason);
            return Ok(judged);
        }
    };
    judged.object = Some(object);
    let checked = object.check(&told, settings, budget)?;
    judged.operations = checked.ops.clone();
    if checked.observations == 0 {
        judged.reason = Some("no operation observed anything".to_owned());
        return Ok(judged);
    }
    match &checked.report.verdict {
        Verdict::Valid => judged.judgement = Judgement::Valid,
        Verdict::Unknown(unknown) => {
            let key = name(&keys, unknown.key);
            let why = match unknown.why {
                Why::Time => "the time was up",
                Why::Memory => "the search did not fit in memory",
                Why::Concurrency => "too many operations were open at once",
            };
            judged.reason = Some(format!(
                "{why}{key}; an order is known for the first {}",
                counted(unknown.verified.returns as u64, "return")
            ));
        }
        Verdict::Invalid(found) => {
            judged.judgement = Judgement::Invalid;
            let by_line: BTreeMap<u64, &Told<'_>> =
                told.iter().map(|told| (told.call.line, told)).collect();
            let core: Vec<&Told<'_>> = found
                .core
                .iter()
                .filter_map(|(place, _)| by_line.get(&checked.ops[*place].0).copied())
                .collect();
            judged.findings.push(finding(&core, &found.sentence, &name(&keys, found.key)));
        }
    }
    judged.report = Some(checked.report);
    Ok(judged)
}

/// What came of a check, before it is put into words.
pub(crate) struct Checked {
    report: Report,
    /// The lines of each operation.
    ops: Vec<(u64, Option<u64>)>,
    observations: usize,
}

impl Checked {
    fn new<O>(report: Report, ops: &[Operation<O>], observations: usize) -> Self {
        let ops = ops.iter().map(|op| (op.call, op.ret)).collect();
        Self { report, ops, observations }
    }
}

fn finding(core: &[&Told<'_>], sentence: &str, key: &str) -> Finding {
    let ends = || core.iter().filter_map(|told| told.end);
    let servers: BTreeSet<NodeId> = core.iter().filter_map(|told| told.call.op.server).collect();
    let lines = core.iter().map(|told| told.call.line).chain(ends().map(|end| end.line));
    Finding {
        sentence: format!("{sentence}{key} (positions are lines)"),
        nodes: servers.into_iter().collect(),
        from_ns: core.iter().map(|told| told.call.t).min().unwrap_or(0),
        to_ns: core
            .iter()
            .map(|told| told.call.t)
            .chain(ends().map(|end| end.t))
            .max()
            .unwrap_or(0),
        lines: crate::findings::lines(lines),
    }
}

fn name(keys: &[Option<String>], key: u32) -> String {
    match keys.get(key as usize) {
        Some(Some(name)) => format!(" on key `{name}`"),
        _ => String::new(),
    }
}

/// Brings completions to their invocations, in the order of the invocations, and numbers the keys.
fn pair<'a>(
    records: &[ClientRecord<'a>],
) -> Result<(Vec<Told<'a>>, Vec<Option<String>>), ClientError> {
    let mut pairing = Pairing::default();
    let mut numbers: BTreeMap<Option<&str>, u32> = BTreeMap::new();
    let mut keys = Vec::new();
    let mut told = Vec::new();
    for record in records {
        let ClientRecord { line, op, .. } = *record;
        if op.op_type == OpType::Invoke {
            let key = *numbers.entry(op.key.as_deref()).or_insert_with(|| {
                keys.push(op.key.clone());
                narrow(keys.len() - 1)
            });
            pairing.invoke(op.process, line, (key, *record))?;
            continue;
        }
        let (invoked, (key, call)) = pairing.complete(op.process, line)?;
        if op.f != call.op.f || op.key.is_some() && op.key != call.op.key {
            let (what, asked) = (op.f.clone(), call.op.f.clone());
            return Err(ClientError::OtherOperation { line, what, asked, invoked });
        }
        told.push(Told { process: op.process, key, call, end: Some(*record) });
    }
    let open = pairing.rest().into_iter();
    told.extend(open.map(|(process, _, (key, call))| Told { process, key, call, end: None }));
    told.sort_by_key(|told| told.call.line);
    Ok((told, keys))
}

#[cfg(test)]
mod tests;
