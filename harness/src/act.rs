//! The records of a step: what was asked, and what became of it.

use serde_json::{Map, Value};
use usurper_history::{FaultRecord, NodeId, OpRecord, OpType, Outcome, Phase};
use usurper_nemesis::{Seen, Step};

use crate::system::Operated;

/// A step that has ended, with the records that say how.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its place in the schedule; absent when it heals the cluster at the end.
    pub(crate) index: Option<usize>,
    pub(crate) record: FaultRecord,
    pub(crate) ops: Vec<OpRecord>,
}

/// What a step asked for, in the schedule's own words.
pub(crate) fn args(step: &Step) -> Map<String, Value> {
    let mut args = match serde_json::to_value(step) {
        Ok(Value::Object(args)) => args,
        _ => Map::new(),
    };
    let when = ["do", "on", "at", "after", "optional"];
    args.retain(|key, _| !when.contains(&key.as_str()));
    args
}

/// The end of a step that was not done.
pub(crate) fn skipped(index: Option<usize>, begun: FaultRecord, reason: String) -> Ended {
    let record =
        FaultRecord { outcome: Some(Outcome::Skipped), reason: Some(reason), ..end(begun) };
    Ended { index, record, ops: Vec::new() }
}

/// The end of a step that was done, by what was seen of it.
pub(crate) fn seen(index: Option<usize>, begun: FaultRecord, seen: Seen) -> Ended {
    let join = |texts: Vec<String>| (!texts.is_empty()).then(|| texts.join("; "));
    let unclear = join(seen.unclear);
    let outcome = match (&seen.refused, &unclear) {
        (Some(_), _) => Outcome::Skipped,
        (None, Some(_)) => Outcome::Indeterminate,
        (None, None) => Outcome::Installed,
    };
    let record = FaultRecord {
        outcome: Some(outcome),
        acted: Some(seen.acted_ns),
        proof: join(seen.proofs),
        reason: seen.refused.or(unclear),
        effect: seen.effect.unwrap_or(begun.effect),
        ..end(begun)
    };
    Ended { index, record, ops: seen.ops }
}

fn end(begun: FaultRecord) -> FaultRecord {
    FaultRecord { phase: Phase::End, args: Map::new(), trigger: None, ..begun }
}

/// The record of a client operation's invocation.
pub(crate) fn invoke(process: u32, server: NodeId, f: &str, value: &Value) -> OpRecord {
    OpRecord {
        process,
        op_type: OpType::Invoke,
        f: f.to_owned(),
        key: None,
        value: Some(value.clone()),
        server: Some(server),
        session: None,
        serial: None,
        error: None,
    }
}

/// The record of its end.
pub(crate) fn complete(invoked: OpRecord, end: Operated) -> OpRecord {
    let value = end.value.or_else(|| invoked.value.clone());
    let (session, serial) = end.session.unzip();
    OpRecord { op_type: end.op_type, value, error: end.error, session, serial, ..invoked }
}
