//! Logs of files in the words of the models, as the checker takes them.

use std::{collections::HashMap, path::Path};

use serde_json::Value as Json;
use usurper_checks::{
    formats::{Source, read},
    linearizability::Operation,
    models::{RegisterOp, TextOp, Value},
};
use usurper_history::{Body, OpRecord, OpType};

/// The operations of a file on registers.
pub(crate) fn registers(file: &Path) -> Vec<Operation<RegisterOp>> {
    let value = |op: &OpRecord| Value::from(op.value.as_ref().unwrap_or(&Json::Null));
    operations(file, |asked, end, outcome| {
        let pair = || {
            let pair = asked.value.as_ref().and_then(Json::as_array).expect("two values");
            (Value::from(&pair[0]), Value::from(&pair[1]))
        };
        match (asked.f.as_str(), outcome) {
            ("read", OpType::Ok) => Some(RegisterOp::Read(value(end))),
            ("write", OpType::Ok | OpType::Info) => Some(RegisterOp::Write(value(asked))),
            ("cas", OpType::Fail) => Some(RegisterOp::CasFailed { from: pair().0 }),
            ("cas", _) => Some(RegisterOp::Cas { from: pair().0, to: pair().1 }),
            _ => None,
        }
    })
}

/// The operations of a file on texts.
pub(crate) fn texts(file: &Path) -> Vec<Operation<TextOp>> {
    let text = |op: &OpRecord| op.value.as_ref().and_then(Json::as_str).unwrap_or_default().into();
    operations(file, |asked, end, outcome| match (asked.f.as_str(), outcome) {
        ("get", OpType::Ok) => Some(TextOp::Get(text(end))),
        ("put", OpType::Ok | OpType::Info) => Some(TextOp::Put(text(asked))),
        ("append", OpType::Ok | OpType::Info) => Some(TextOp::Append(text(asked))),
        _ => None,
    })
}

/// The operations of a file as `put` words them: by how they were begun, how they ended, and what that means.
fn operations<O>(
    file: &Path,
    put: impl Fn(&OpRecord, &OpRecord, OpType) -> Option<O>,
) -> Vec<Operation<O>> {
    let log = read(vec![Source::open(file).expect("a file")], None, false).expect("a log");
    let mut keys = HashMap::new();
    let mut open = HashMap::new();
    let mut operations = Vec::new();
    let mut take = |(call, asked): (u64, OpRecord), end: Option<(u64, OpRecord)>| {
        let count = u32::try_from(keys.len()).expect("few keys");
        let key = *keys.entry(asked.key.clone()).or_insert(count);
        let outcome = end.as_ref().map_or(OpType::Info, |(_, end)| end.op_type);
        let ret = end.as_ref().filter(|_| outcome != OpType::Info).map(|(line, _)| *line);
        let process = asked.process;
        let told = end.as_ref().map_or(&asked, |(_, end)| end);
        if let Some(op) = put(&asked, told, outcome) {
            operations.push(Operation { process, key, call, ret, op });
        }
    };
    for (line, record) in log.records {
        let Body::Op(op) = record.body else { continue };
        if op.op_type == OpType::Invoke {
            open.insert(op.process, (line, op));
        } else if let Some(asked) = open.remove(&op.process) {
            take(asked, Some((line, op)));
        }
    }
    open.into_values().for_each(|asked| take(asked, None));
    operations.sort_unstable_by_key(|op| op.call);
    operations
}
