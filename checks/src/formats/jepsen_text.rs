//! Jepsen's printed operations on one register, as in logs of its etcd test of 2014:
//! `INFO  jepsen.util - 3<tab>:invoke<tab>:cas<tab>[0 4]`. Spaces stand for tabs in some.

use serde_json::Value as Json;
use usurper_history::OpType;

use super::{
    input::{Lines, Source},
    operations::{Clients, Operations, step},
    problem::{FormatError, Problem},
};
use crate::models::{RegisterOp, Value};

const LINE: &str = "`PROCESS :invoke|:ok|:fail|:info :read|:write|:cas VALUE`";

/// The words of a line's operation: after the logger's, or all there are.
pub(super) fn words_of(line: &str) -> Option<&str> {
    if let Some((logger, rest)) = line.split_once("jepsen.util - ") {
        // A line that begins within another took the end of that one away.
        let is_one_line = logger.matches("INFO").count() < 2 && !logger.contains(" jepsen.");
        return is_one_line.then_some(rest);
    }
    let mut words = line.split_ascii_whitespace();
    let process = words.next()?;
    let is_process = process.starts_with(':') || process.bytes().all(|it| it.is_ascii_digit());
    let is_step = matches!(words.next()?, ":invoke" | ":ok" | ":fail" | ":info");
    (is_process && is_step).then_some(line)
}

/// Reads such a log as records. A time-out is an unknown outcome, whatever the line calls it; a
/// failed compare-and-set is a plain no: it saw another value.
///
/// A line that is no operation is passed over unless it has the words of one. A last line without
/// an end is not read: its value may be cut off.
pub(super) fn read(source: Source<'_>, lenient: bool) -> Result<Operations, FormatError> {
    let mut lines = Lines::new(source, lenient);
    let mut clients = Clients::default();
    let mut read = Operations::default();
    let mut others = 0_u64;
    while let Some((line, text)) = lines.next_text()? {
        let number = line.number;
        let Some(rest) = words_of(&text) else {
            let mut words = text.split_ascii_whitespace().peekable();
            let numbered = words.peek().is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit()));
            let is_step = |word| matches!(word, ":invoke" | ":ok" | ":fail" | ":info");
            if words.any(|word| is_step(word) || numbered && word.starts_with(':')) {
                lines.bad(number, Problem::malformed(&text, LINE))?;
            } else {
                others += 1;
            }
            continue;
        };
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let of_client = matches!(words.get(1), Some(&(":invoke" | ":ok" | ":fail")));
        if words.first().is_none_or(|process| process.starts_with(':')) && !of_client {
            others += 1; // the nemesis
            continue;
        }
        if !line.ended {
            lines.bad(number, Problem::Truncated { what: "line" })?;
            continue;
        }
        let Some(op) = record(&words) else {
            lines.bad(number, Problem::malformed(rest, LINE))?;
            continue;
        };
        read.take(&mut lines, &mut clients, number, (0, op))?;
    }
    read.notes
        .push("a cas that fails saw another value; `:timed-out` is an unknown outcome".into());
    if others > 0 {
        read.notes.push(format!("{others} lines are no client's"));
    }
    read.skipped = lines.skipped();
    Ok(read)
}

fn record(words: &[&str]) -> Option<usurper_history::OpRecord> {
    let [process, kind, f, values @ ..] = words else { return None };
    let process = process.parse().ok()?;
    let said = said(f, values)?;
    let op_type = match (*kind, &said) {
        (":invoke", Some(_)) => OpType::Invoke,
        (":ok", Some(_)) => OpType::Ok,
        (":fail", Some(_)) => OpType::Fail,
        (":info", _) | (":fail", None) => OpType::Info,
        _ => return None,
    };
    let json = |value: &Value| match value {
        Value::Int(int) => Json::from(*int),
        _ => Json::Null,
    };
    let value = match &said {
        Some(RegisterOp::Read(value) | RegisterOp::Write(value)) => Some(json(value)),
        Some(RegisterOp::Cas { from, to }) => Some(Json::Array(vec![json(from), json(to)])),
        _ => None,
    };
    let value = value.filter(|value| !value.is_null());
    // A write or read that fails is not done; a failed cas without an error is an answer.
    let certainly_not = op_type == OpType::Fail && *f != ":cas";
    let error = match (&said, certainly_not) {
        (None, _) => Some("timed out".to_owned()),
        (Some(_), true) => Some("it did not happen".to_owned()),
        (Some(_), false) => None,
    };
    Some(step(process, op_type, f.trim_start_matches(':'), value, error))
}

/// What a line says of its operation: `Some(None)` where it only says that it timed out.
fn said(f: &str, values: &[&str]) -> Option<Option<RegisterOp>> {
    if values == [":timed-out"] {
        return matches!(f, ":read" | ":write" | ":cas").then_some(None);
    }
    let value = |text: &str| match text {
        "nil" => Some(Value::Nil),
        _ => text.parse().ok().map(Value::Int),
    };
    Some(Some(match (f, values) {
        (":read", [one]) => RegisterOp::Read(value(one)?),
        (":write", [one]) => RegisterOp::Write(value(one)?),
        (":cas", [from, to]) => RegisterOp::Cas {
            from: value(from.strip_prefix('[')?)?,
            to: value(to.strip_suffix(']')?)?,
        },
        _ => return None,
    }))
}
