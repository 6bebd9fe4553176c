//! Printed operations on texts under keys, one map a line:
//! `{:process 9, :type :invoke, :f :append, :key "0", :value "x"}`.

use std::collections::HashMap;

use super::{
    Log, LogError,
    log::{lines, wrong},
};
use crate::{
    linearizability::{Operation, Pairing, narrow},
    models::TextOp,
};

const LINE: &str = "`{:process N, :type :invoke|:ok|:fail|:info, :f :get|:put|:append, :key \"K\", \
                    :value nil|\"V\"}`";

/// Reads such a log. Empty lines are skipped.
///
/// # Errors
/// A line that cannot be read, or one that a client cannot have done.
pub fn kv_text(text: &[u8]) -> Result<Log<TextOp>, LogError> {
    let mut pairing: Pairing<(u32, TextOp)> = Pairing::default();
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut keys = Vec::new();
    let mut operations = Vec::new();
    for (line, text) in lines(text) {
        let text = text?;
        if text.trim().is_empty() {
            continue;
        }
        let bad = || wrong(line, format!("`{text}`"), LINE);
        let fields = fields(text).ok_or_else(bad)?;
        let field = |name: &str| fields.iter().find(|(key, _)| *key == name).map(|(_, word)| word);
        let (
            Some(Word::Plain(process)),
            Some(Word::Plain(kind)),
            Some(Word::Plain(f)),
            Some(Word::Text(name)),
        ) = (field(":process"), field(":type"), field(":f"), field(":key"))
        else {
            return Err(bad());
        };
        let process: u32 = process.parse().map_err(|_| bad())?;
        let key = *numbers.entry(name.clone()).or_insert_with(|| {
            keys.push(name.clone());
            narrow(keys.len() - 1)
        });
        let value = match field(":value") {
            Some(Word::Text(value)) => Some(value.as_str()),
            Some(Word::Plain("nil")) => None,
            _ => return Err(bad()),
        };
        let said = |value: &str| match *f {
            ":get" => Some(TextOp::Get(value.into())),
            ":put" => Some(TextOp::Put(value.into())),
            ":append" => Some(TextOp::Append(value.into())),
            _ => None,
        };
        let op = said(value.unwrap_or_default()).ok_or_else(bad)?;
        if value.is_none() && (*f != ":get" || *kind == ":ok") {
            return Err(bad());
        }
        if *kind == ":invoke" {
            pairing.invoke(process, line, (key, op))?;
            continue;
        }
        let (call, (asked_key, asked)) = pairing.complete(process, line)?;
        let same = match &asked {
            TextOp::Get(_) => matches!(op, TextOp::Get(_)),
            _ => asked == op,
        };
        if !same || asked_key != key {
            return Err(bad());
        }
        let is_get = matches!(op, TextOp::Get(_));
        let ret = match *kind {
            ":ok" => Some(line),
            ":info" if !is_get => None,
            ":fail" | ":info" => continue,
            _ => return Err(bad()),
        };
        operations.push(Operation { process, key, call, ret, op });
    }
    for (process, call, (key, op)) in pairing.rest() {
        if !matches!(op, TextOp::Get(_)) {
            operations.push(Operation { process, key, call, ret: None, op });
        }
    }
    operations.sort_unstable_by_key(|op| op.call);
    Ok(Log { operations, keys })
}

enum Word<'a> {
    Plain(&'a str),
    Text(String),
}

/// The fields of one map.
fn fields(text: &str) -> Option<Vec<(&str, Word<'_>)>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let mut fields = Vec::with_capacity(5);
    while !rest.is_empty() {
        let (key, after) = rest.split_once(' ')?;
        let after = after.trim_start();
        let word;
        if let Some(quoted) = after.strip_prefix('"') {
            let (text, after) = quoted_text(quoted)?;
            (word, rest) = (Word::Text(text), after);
        } else {
            let end = after.find([',', ' ']).unwrap_or(after.len());
            (word, rest) = (Word::Plain(&after[..end]), &after[end..]);
        }
        rest = rest.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
        fields.push((key, word));
    }
    Some(fields)
}

/// A text up to its closing quote, and what follows.
fn quoted_text(quoted: &str) -> Option<(String, &str)> {
    let end = quoted.find(['"', '\\'])?;
    if quoted.as_bytes()[end] == b'"' {
        return Some((quoted[..end].to_owned(), &quoted[end + 1..]));
    }
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => text.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other @ ('"' | '\\') => other,
                _ => return None,
            }),
            char => text.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::kv_text;
    use crate::{linearizability::Operation, models::TextOp};

    #[test]
    fn operations_are_brought_together() {
        let text = br#"
{:process 4, :type :invoke, :f :get, :key "b", :value nil}
{:process 5, :type :invoke, :f :append, :key "a", :value "x, \"}y"}
{:process 4, :type :ok, :f :get, :key "b", :value ""}
{:process 4, :type :invoke, :f :put, :key "b", :value "z"}
{:process 5, :type :ok, :f :append, :key "a", :value "x, \"}y"}
{:process 5, :type :invoke, :f :get, :key "b", :value nil}
"#;
        let log = kv_text(text).unwrap();
        let op = |process, key, call, ret, op| Operation { process, key, call, ret, op };
        assert_eq!(
            log.operations,
            [
                op(4, 0, 2, Some(4), TextOp::Get("".into())),
                op(5, 1, 3, Some(6), TextOp::Append("x, \"}y".into())),
                op(4, 0, 5, None, TextOp::Put("z".into())),
            ]
        );
        assert_eq!(log.keys, ["b", "a"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for line in [
            "nonsense",
            r#"{:process x, :type :invoke, :f :get, :key "b", :value nil}"#,
            r#"{:process 1, :type :invoke, :f :put, :key "b", :value nil}"#,
            r#"{:process 1, :type :invoke, :f :pull, :key "b", :value "1"}"#,
            r#"{:process 1, :type :invoke, :f :get, :key "b, :value nil}"#,
        ] {
            let error = kv_text(format!("\n{line}").as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("line 2: `"), "{error}");
        }
        let text = r#"{:process 1, :type :ok, :f :get, :key "b", :value "1"}"#;
        let error = kv_text(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "line 1: process 1 completes an operation that it never invoked");
    }
}
