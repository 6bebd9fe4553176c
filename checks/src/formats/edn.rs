//! EDN, Clojure's notation for data, as far as histories use it.
//!
//! The crates for it read a whole file at once, recurse as deep as the file says, and bring number
//! types and clocks of their own; a history is read one operation at a time, within bounds.

use std::fmt;

use serde_json::{Map, Number, Value};
use usurper_history::is_exact;

/// How deep one value may be nested.
const DEPTH_MAX: usize = 64;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Edn {
    Nil,
    Bool(bool),
    Number(Number),
    /// A number that no JSON number holds, as it was written.
    Big(String),
    Text(String),
    /// Without its colon.
    Keyword(String),
    Symbol(String),
    /// A list or a vector.
    Sequence(Vec<Self>),
    Set(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl Edn {
    /// Reads exactly one value. Tags (`#inst`) are passed over, their values are kept.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser { rest: text, depth: 0 };
        let value = parser.value()?;
        parser.space()?;
        parser.rest.is_empty().then_some(value)
    }

    /// The value under a keyword of a map.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        let mut named = entries.iter().filter(|(key, _)| *key == Self::Keyword(name.to_owned()));
        named.next().map(|(_, value)| value)
    }

    /// How often a keyword stands in a map.
    pub(super) fn count(&self, name: &str) -> usize {
        let Self::Map(entries) = self else { return 0 };
        entries.iter().filter(|(key, _)| key.keyword() == Some(name)).count()
    }

    pub(super) fn keyword(&self) -> Option<&str> {
        match self {
            Self::Keyword(name) => Some(name),
            _ => None,
        }
    }

    pub(super) fn sequence(&self) -> Option<&[Self]> {
        match self {
            Self::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// Hands over every value in this one that is not made of others, and whether it is a map's key.
    pub(super) fn leaves(&self, is_key: bool, take: &mut impl FnMut(&Self, bool)) {
        match self {
            Self::Sequence(items) | Self::Set(items) if !is_key => {
                items.iter().for_each(|item| item.leaves(false, take));
            }
            Self::Map(entries) if !is_key => {
                for (key, value) in entries {
                    key.leaves(true, take);
                    value.leaves(false, take);
                }
            }
            leaf => take(leaf, is_key),
        }
    }

    /// Whether JSON has a word for it, so that it is not taken for the text that it is written as.
    pub(super) fn is_of_json(&self, is_key: bool) -> bool {
        match self {
            Self::Text(_) => true,
            Self::Big(_) | Self::Keyword(_) | Self::Symbol(_) => false,
            _ => !is_key,
        }
    }

    /// The text of a string, or how any other value is written.
    pub(super) fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// As JSON: keywords keep their colon, sets become lists.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Nil => Value::Null,
            Self::Bool(bool) => Value::Bool(*bool),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.clone()),
            Self::Big(_) | Self::Keyword(_) | Self::Symbol(_) => Value::String(self.to_string()),
            Self::Sequence(items) | Self::Set(items) => {
                Value::Array(items.iter().map(Self::to_json).collect())
            }
            Self::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| (key.plain(), value.to_json()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    pub(super) fn of_json(value: &Value) -> Self {
        match value {
            Value::Null => Self::Nil,
            Value::Bool(bool) => Self::Bool(*bool),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::Sequence(items.iter().map(Self::of_json).collect()),
            Value::Object(entries) => {
                let entry = |(key, value): (&String, &Value)| {
                    (Self::Text(key.clone()), Self::of_json(value))
                };
                Self::Map(entries.iter().map(entry).collect())
            }
        }
    }
}

impl fmt::Display for Edn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Self]| {
            for (place, item) in items.iter().enumerate() {
                let space = if place > 0 { " " } else { "" };
                write!(f, "{space}{item}")?;
            }
            Ok(())
        };
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(bool) => write!(f, "{bool}"),
            // Beyond a long, Clojure wants to be told that it is a big number.
            Self::Number(number) if number.is_u64() && number.as_i64().is_none() => {
                write!(f, "{number}N")
            }
            Self::Number(number) => write!(f, "{number}"),
            Self::Big(text) | Self::Symbol(text) => f.write_str(text),
            Self::Keyword(name) => write!(f, ":{name}"),
            Self::Text(text) => write_text(f, text),
            Self::Sequence(items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
            Self::Set(items) => {
                f.write_str("#{")?;
                list(f, items)?;
                f.write_str("}")
            }
            Self::Map(entries) => {
                f.write_str("{")?;
                for (place, (key, value)) in entries.iter().enumerate() {
                    let comma = if place > 0 { ", " } else { "" };
                    write!(f, "{comma}{key} {value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for char in text.chars() {
        match char {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            char if char.is_control() => write!(f, "\\u{:04x}", u32::from(char))?,
            char => write!(f, "{char}")?,
        }
    }
    f.write_str("\"")
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn value(&mut self) -> Option<Edn> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        self.space()?;
        let value = match self.rest.chars().next()? {
            '(' => Edn::Sequence(self.items(1, ')')?),
            '[' => Edn::Sequence(self.items(1, ']')?),
            '{' => self.map()?,
            '"' => self.text()?,
            '#' if self.rest.starts_with("#{") => Edn::Set(self.items(2, '}')?),
            // `##NaN` and the like stand for themselves.
            '#' if self.rest.starts_with("##") => Edn::Symbol(self.word()?.to_owned()),
            '#' => {
                self.rest = &self.rest[1..];
                self.word()?;
                self.value()?
            }
            // A character, which is no text.
            '\\' => {
                let char = self.rest[1..].chars().next()?;
                self.rest = &self.rest[1 + char.len_utf8()..];
                let more = self.word().unwrap_or_default();
                Edn::Symbol(format!("\\{char}{more}"))
            }
            _ => atom(self.word()?),
        };
        self.depth -= 1;
        Some(value)
    }

    /// Passes over white space, comments and values that are marked as left out.
    fn space(&mut self) -> Option<()> {
        loop {
            let blank = |char: char| char.is_whitespace() || char == ',';
            self.rest = self.rest.trim_start_matches(blank);
            if let Some(comment) = self.rest.strip_prefix(';') {
                self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
            } else if let Some(left_out) = self.rest.strip_prefix("#_") {
                self.rest = left_out;
                self.value()?;
            } else {
                return Some(());
            }
        }
    }

    fn items(&mut self, opening: usize, closing: char) -> Option<Vec<Edn>> {
        self.rest = &self.rest[opening..];
        let mut items = Vec::new();
        loop {
            self.space()?;
            if let Some(rest) = self.rest.strip_prefix(closing) {
                self.rest = rest;
                return Some(items);
            }
            items.push(self.value()?);
        }
    }

    fn map(&mut self) -> Option<Edn> {
        let mut items = self.items(1, '}')?.into_iter();
        let mut entries = Vec::with_capacity(items.len() / 2);
        while let Some(key) = items.next() {
            entries.push((key, items.next()?));
        }
        Some(Edn::Map(entries))
    }

    /// A text up to its closing quote.
    fn text(&mut self) -> Option<Edn> {
        let quoted = &self.rest[1..];
        let mut text = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.rest = &quoted[at + 1..];
                    return Some(Edn::Text(text));
                }
                '\\' => text.push(match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'u' => {
                        let mut code = 0;
                        for _ in 0..4 {
                            code = code * 16 + chars.next()?.1.to_digit(16)?;
                        }
                        char::from_u32(code)?
                    }
                    other @ ('"' | '\\') => other,
                    _ => return None,
                }),
                char => text.push(char),
            }
        }
        None
    }

    fn word(&mut self) -> Option<&str> {
        let ends = |char: char| char.is_whitespace() || "()[]{}\",;".contains(char);
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }
}

fn atom(word: &str) -> Edn {
    match word {
        "nil" => return Edn::Nil,
        "true" => return Edn::Bool(true),
        "false" => return Edn::Bool(false),
        _ => {}
    }
    if let Some(name) = word.strip_prefix(':') {
        return Edn::Keyword(name.to_owned());
    }
    let signed = word.strip_prefix(['-', '+']).unwrap_or(word);
    if !signed.starts_with(|char: char| char.is_ascii_digit()) {
        return Edn::Symbol(word.to_owned());
    }
    let whole = word.strip_suffix('N').unwrap_or(word);
    let number = whole.parse::<i64>().map(Number::from).ok();
    let number = number.or_else(|| whole.parse::<u64>().map(Number::from).ok());
    let is_whole = signed.strip_suffix('N').unwrap_or(signed).bytes().all(|it| it.is_ascii_digit());
    let number = number.or_else(|| {
        let is_float = !is_whole && is_exact(word);
        Number::from_f64(word.parse().ok().filter(|_| is_float)?)
    });
    number.map_or_else(|| Edn::Big(word.to_owned()), Edn::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Edn;

    #[track_caller]
    fn check(text: &str, printed: &str, value: &serde_json::Value) {
        let edn = Edn::parse(text).unwrap_or_else(|| panic!("`{text}`"));
        assert_eq!(edn.to_string(), printed);
        assert_eq!(edn.to_json(), *value);
        assert_eq!(Edn::parse(printed), Some(edn));
    }

    #[test]
    fn values_are_read_and_written() {
        check(" nil ; nothing\n", "nil", &json!(null));
        check("(1, -2 +3 4N)", "[1 -2 3 4]", &json!([1, -2, 3, 4]));
        check("#{1 :a}", "#{1 :a}", &json!([1, ":a"]));
        check(r#""a\"\\\n\u0041b""#, r#""a\"\\\nAb""#, &json!("a\"\\\nAb"));
        check(
            "{:a [true 1.5], \"b\" x}",
            "{:a [true 1.5], \"b\" x}",
            &json!({":a": [true, 1.5], "b": "x"}),
        );
        check("18446744073709551615", "18446744073709551615N", &json!(u64::MAX));
        check(
            "123456789012345678901234567890",
            "123456789012345678901234567890",
            &json!("123456789012345678901234567890"),
        );
        check("1.00000000000000000001", "1.00000000000000000001", &json!("1.00000000000000000001"));
        check("#jepsen.history.Op{:a #inst \"2020\"}", "{:a \"2020\"}", &json!({":a": "2020"}));
        check("[1 #_ [2 3] 4]", "[1 4]", &json!([1, 4]));
        check(r"[\a \newline]", r"[\a \newline]", &json!(["\\a", "\\newline"]));
        check("[##NaN 1]", "[##NaN 1]", &json!(["##NaN", 1]));
    }

    #[test]
    fn what_is_no_value_is_none() {
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        let left_out = "#_[".repeat(100_000);
        for text in ["", "[1", "{:a}", "\"a", "1 2", "]", "#", "\\", "#_", "#_#_ 1", r#""\q""#]
            .into_iter()
            .chain([r#""\u12""#, &deep, &left_out])
        {
            assert_eq!(Edn::parse(text), None, "`{text}`");
        }
    }
}
