//! Jepsen's printed operations on one register, as in logs of its etcd test of 2014:
//! `INFO  jepsen.util - 3<tab>:invoke<tab>:cas<tab>[0 4]`. Spaces stand for tabs in some.

use serde_json::Value as Json;
use usurper_history::OpType;

use super::{
    Log, LogError,
    input::{Lines, Source},
    log::{lines, wrong},
    operations::{Clients, Operations, step},
    problem::{FormatError, Problem},
};
use crate::{
    linearizability::{Operation, Pairing},
    models::{RegisterOp, Value},
};

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
        if words.first().is_none_or(|process| process.starts_with(':')) {
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

/// Reads such a log. Lines that are no client's operation are skipped.
///
/// A time-out is an unknown outcome, whatever the line calls it. A failed compare-and-set is kept as
/// [`RegisterOp::CasFailed`]; the model says what it means.
///
/// # Errors
/// A line of an operation that cannot be read, or one that a client cannot have done.
pub fn jepsen_text(text: &[u8]) -> Result<Log<RegisterOp>, LogError> {
    let mut pairing: Pairing<RegisterOp> = Pairing::default();
    let mut operations = Vec::new();
    for (line, text) in lines(text) {
        let Some((_, rest)) = text?.split_once("jepsen.util - ") else { continue };
        let mut words = rest.split_ascii_whitespace();
        let Some(process) = words.next() else { continue };
        if process.starts_with(':') {
            continue; // the nemesis
        }
        let bad = || wrong(line, format!("`{rest}`"), LINE);
        let process: u32 = process.parse().map_err(|_| bad())?;
        let (Some(kind), Some(f)) = (words.next(), words.next()) else { return Err(bad()) };
        let values: Vec<&str> = words.collect();
        let said = said(f, &values).ok_or_else(bad)?;
        if kind == ":invoke" {
            pairing.invoke(process, line, said.ok_or_else(bad)?)?;
            continue;
        }
        let (call, asked) = pairing.complete(process, line)?;
        let op = match (kind, asked, said) {
            (":ok", RegisterOp::Read(_), Some(RegisterOp::Read(value))) => {
                Some((Some(line), RegisterOp::Read(value)))
            }
            (":ok", asked, Some(said)) if asked == said => Some((Some(line), asked)),
            (":info", RegisterOp::Read(_), _) | (":fail", RegisterOp::Read(_), _) => None,
            (":info", asked, _) | (":fail", asked, None) => Some((None, asked)),
            (":fail", RegisterOp::Cas { from, to }, Some(said)) => {
                if said != (RegisterOp::Cas { from: from.clone(), to }) {
                    return Err(bad());
                }
                Some((Some(line), RegisterOp::CasFailed { from }))
            }
            (":fail", RegisterOp::Write(_), Some(RegisterOp::Write(_))) => None,
            _ => return Err(bad()),
        };
        if let Some((ret, op)) = op {
            operations.push(Operation { process, key: 0, call, ret, op });
        }
    }
    for (process, call, op) in pairing.rest() {
        if !matches!(op, RegisterOp::Read(_)) {
            operations.push(Operation { process, key: 0, call, ret: None, op });
        }
    }
    operations.sort_unstable_by_key(|op| op.call);
    Ok(Log { operations, keys: vec![String::new()] })
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

#[cfg(test)]
mod tests {
    use super::jepsen_text;
    use crate::{
        formats::LogError,
        linearizability::{Operation, PairError},
        models::{RegisterOp, Value},
    };

    fn log(lines: &[&str]) -> Vec<u8> {
        let lines: Vec<String> =
            lines.iter().map(|line| format!("INFO  jepsen.util - {line}\n")).collect();
        lines.concat().into_bytes()
    }

    #[test]
    fn operations_are_brought_together() {
        let text = log(&[
            "0\t:invoke\t:read\tnil",
            "1 :invoke :cas [1 2]",
            "2\t:invoke\t:write\t7",
            ":nemesis\t:info\t:start\tnil",
            "0\t:ok\t:read\t3",
            "1 :fail :cas [1 2]",
            "2\t:info\t:write\t:timed-out",
            "0\t:invoke\t:read\tnil",
            "0\t:fail\t:read\t:timed-out",
            "0\t:invoke\t:read\tnil",
            "1\t:invoke\t:cas\t[4 5]",
        ]);
        let op = |process, call, ret, op| Operation { process, key: 0, call, ret, op };
        let (int, read) = (Value::Int, RegisterOp::Read(Value::Int(3)));
        assert_eq!(
            jepsen_text(&text).unwrap().operations,
            [
                op(0, 1, Some(5), read),
                op(1, 2, Some(6), RegisterOp::CasFailed { from: int(1) }),
                op(2, 3, None, RegisterOp::Write(int(7))),
                op(1, 11, None, RegisterOp::Cas { from: int(4), to: int(5) }),
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let first = "0 :invoke :write 1";
        for (second, message) in [
            ("0 :ok :write 2", "line 2: `0 :ok :write 2`, expected"),
            ("0 :ok :read 1", "line 2: `0 :ok :read 1`, expected"),
            ("0 :done :write 1", "line 2: `0 :done :write 1`, expected"),
            ("0 :ok :write x", "line 2: `0 :ok :write x`, expected"),
            ("0 :invoke :write 2", "line 2: process 0 invokes an operation while that of line 1"),
            ("1 :ok :write 1", "line 2: process 1 completes an operation that it never invoked"),
        ] {
            let error = jepsen_text(&log(&[first, second])).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let double = jepsen_text(&log(&[first, "0 :ok :write 1", "0 :ok :write 1"]));
        let expected = PairError::DoubleCompletion { process: 0, line: 3, before: 2 };
        assert_eq!(double, Err(LogError::Pair(expected)));
    }
}
