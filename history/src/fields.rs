//! One line taken apart: the keys of a flat JSON object, each with its value still as text.
//!
//! A tree of the line would cost an allocation for nearly every byte that matters; most of a line is
//! read into integers and short enumerations straight from its text.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

/// The fields of a line, in its order. No key stands twice.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Takes the value of a key out.
    pub(crate) fn remove(&mut self, key: &str) -> Option<&'a RawValue> {
        let at = self.0.iter().position(|(found, _)| found == key)?;
        Some(self.0.swap_remove(at).1)
    }

    /// What nobody took.
    pub(crate) fn into_map(self) -> Result<Map<String, Value>, serde_json::Error> {
        let parse = |(key, value): (Cow<'_, str>, &RawValue)| {
            Ok((key.into_owned(), serde_json::from_str(value.get())?))
        };
        self.0.into_iter().map(parse).collect()
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
        let mut fields: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(16);
        while let Some((Key(key), value)) = map.next_entry()? {
            if fields.iter().any(|(found, _)| *found == key) {
                return Err(A::Error::custom(format_args!("`{key}` stands twice")));
            }
            fields.push((key, value));
        }
        Ok(Fields(fields))
    }
}
