//! One line taken apart: the keys of a flat JSON object, each with its value still as text.
//!
//! A tree of the line would cost an allocation for nearly every byte that matters; most of a line is
//! read into integers and short enumerations straight from its text. Lines as our writers write them
//! are scanned here; any other goes to the JSON parser, which also words what is wrong with a line.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

/// The fields of a line, in its order.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a> {
    fields: Vec<Field<'a>>,
    /// Fields are asked for in about the order in which they were written: the one after the last.
    next: usize,
}

#[derive(Debug)]
struct Field<'a> {
    key: Cow<'a, str>,
    /// The value's text, until somebody takes it.
    text: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// Takes a line apart if it is of the plain form: no spaces, no escapes, no numbers but natural
    /// ones. It need not be a line that the JSON parser would refuse; none such is taken apart.
    pub(crate) fn scan(line: &'a str) -> Option<Self> {
        let mut scan = Scan { text: line, at: 0 };
        let mut fields = Vec::with_capacity(16);
        scan.eat(b'{')?;
        loop {
            let key = scan.string()?;
            scan.eat(b':')?;
            let start = scan.at;
            scan.value(DEPTH_MAX)?;
            let text = Some(&line[start..scan.at]);
            fields.push(Field { key: Cow::Borrowed(&line[key]), text });
            if scan.eat(b',').is_none() {
                break;
            }
        }
        scan.eat(b'}')?;
        (scan.at == line.len()).then_some(Self { fields, next: 0 })
    }

    /// Takes the value of a key out.
    pub(crate) fn remove(&mut self, key: &str) -> Option<&'a str> {
        let from = self.next.min(self.fields.len());
        let places = (from..self.fields.len()).chain(0..from);
        for place in places {
            let field = &mut self.fields[place];
            if field.key == key {
                self.next = place + 1;
                return field.text.take();
            }
        }
        None
    }

    /// What nobody took.
    ///
    /// # Errors
    /// When a key stands twice, or a value is not JSON.
    pub(crate) fn into_map(self) -> Result<Map<String, Value>, serde_json::Error> {
        let mut map = Map::new();
        // Of two equal keys one at least was not taken.
        let left = |field: &&Field<'_>| field.text.is_some();
        for field in self.fields.iter().filter(left) {
            if self.fields.iter().filter(|other| other.key == field.key).count() > 1 {
                return Err(twice(&field.key));
            }
            let value = serde_json::from_str(field.text.unwrap_or_default())?;
            map.insert(field.key.clone().into_owned(), value);
        }
        Ok(map)
    }
}

fn twice<E: Error>(key: &str) -> E {
    E::custom(format_args!("`{key}` stands twice"))
}

/// The text between the quotes of a JSON string without escapes.
pub(crate) fn plain(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.as_bytes().contains(&b'\\')).then_some(inner)
}

/// Lists and objects within each other.
const DEPTH_MAX: usize = 8;

/// A place in a line.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl Scan<'_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn eat_word(&mut self, word: &str) -> Option<()> {
        self.text.as_bytes()[self.at..].starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    /// A string without escapes: where its inside is.
    #[inline]
    fn string(&mut self) -> Option<std::ops::Range<usize>> {
        self.eat(b'"')?;
        let start = self.at;
        let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        self.at += self.text.as_bytes()[start..].iter().position(ends)?;
        self.eat(b'"')?;
        Some(start..self.at - 1)
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'0'..=b'9' => self.natural(),
            b't' => self.eat_word("true"),
            b'f' => self.eat_word("false"),
            b'n' => self.eat_word("null"),
            b'[' => self.sequence(b']', depth.checked_sub(1)?, |scan, depth| scan.value(depth)),
            b'{' => self.sequence(b'}', depth.checked_sub(1)?, |scan, depth| {
                scan.string()?;
                scan.eat(b':')?;
                scan.value(depth)
            }),
            _ => None,
        }
    }

    fn natural(&mut self) -> Option<()> {
        let digits = &self.text.as_bytes()[self.at..];
        let count = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
        self.at += count;
        let more = matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        (!more && (digits[0] != b'0' || count == 1)).then_some(())
    }

    fn sequence(
        &mut self,
        end: u8,
        depth: usize,
        mut item: impl FnMut(&mut Self, usize) -> Option<()>,
    ) -> Option<()> {
        self.at += 1;
        if self.eat(end).is_some() {
            return Some(());
        }
        loop {
            item(self, depth)?;
            if self.eat(b',').is_none() {
                return self.eat(end);
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// A key, borrowed from the line unless it holds an escape.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Vec<Field<'de>> = Vec::with_capacity(16);
        while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            if fields.iter().any(|field| field.key == key) {
                return Err(twice(&key));
            }
            fields.push(Field { key, text: Some(value.get()) });
        }
        Ok(Fields { fields, next: 0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Fields, plain};
    use crate::{
        Record,
        sample::{Random, Sample},
    };

    type Pairs = Vec<(String, String)>;

    fn pairs(fields: &Fields<'_>) -> Pairs {
        let pair = |field: &super::Field<'_>| {
            (field.key.clone().into_owned(), field.text.unwrap().to_owned())
        };
        fields.fields.iter().map(pair).collect()
    }

    /// What is scanned is what the JSON parser finds; two equal keys it alone refuses.
    fn agree(line: &str) -> bool {
        let Some(scanned) = Fields::scan(line) else { return false };
        match serde_json::from_str::<Fields<'_>>(line) {
            Ok(parsed) => assert_eq!(pairs(&scanned), pairs(&parsed), "{line}"),
            Err(error) => {
                assert!(error.to_string().contains("stands twice"), "{error}: {line}");
                assert!(Record::parse(line.as_bytes()).is_err(), "{line}");
            }
        }
        true
    }

    #[test]
    fn plain_lines_are_scanned_and_all_others_left_to_the_parser() {
        for line in [
            r#"{"t":0,"a":true,"b":false,"c":null,"d":"x","e":[],"f":{},"g":[1,"n1",{"h":[2]}]}"#,
            r#"{"läuft":"选举","t":18446744073709551616}"#,
            r#"{"t":1,"t":2}"#,
        ] {
            assert!(agree(line), "{line}");
        }
        for line in [
            "",
            "{",
            "{}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1}}"#,
            r#"{"a":1} "#,
            r#"{"a":01}"#,
            r#"{"a":-1}"#,
            r#"{"a":1.5}"#,
            r#"{"a":1e5}"#,
            r#"{"a":tru}"#,
            r#"{"a":"x\n"}"#,
            "{\"a\":\"x\ny\"}",
            r#"{"a":[1,]}"#,
            r#"{"a":[}"#,
            r#"{"a":{"b":1]}"#,
            r#"{"a":[[[[[[[[[1]]]]]]]]]}"#,
            r#"{"a":"x}"#,
            r#"{"a":1"b":2}"#,
            r#"{a:1}"#,
        ] {
            assert!(!agree(line), "{line}");
        }
    }

    #[test]
    fn only_text_without_escapes_is_plain() {
        assert_eq!(plain(r#""n1""#), Some("n1"));
        assert_eq!(plain(r#""""#), Some(""));
        for text in ["", "\"", "1", r#""a\"""#, "null"] {
            assert_eq!(plain(text), None);
        }
    }

    proptest! {
        /// Records with a few bytes changed, so that most are nearly right.
        #[test]
        fn what_is_scanned_is_what_the_parser_finds(
            seed: u64,
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..23), 0..3),
        ) {
            let mut line = Record::sample(&mut Random(seed)).to_line().into_bytes();
            for (at, with) in changes {
                let at = at.index(line.len());
                line[at] = b"\"\\{}[]:,0123tfn-.e \x1f\x01aN"[with];
            }
            if let Ok(line) = std::str::from_utf8(&line) {
                agree(line);
            }
        }
    }
}
