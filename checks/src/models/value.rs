//! A value as a client sees it.

use std::{fmt, sync::Arc};

/// A value that a client read or wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Nothing is there.
    #[default]
    Nil,
    Int(i64),
    /// Text, or whatever else as its JSON.
    Text(Arc<str>),
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Nil,
            // One that looks like something else as JSON is taken as JSON itself.
            serde_json::Value::String(text) if !text.starts_with('\0') => Self::text(text),
            other => match other.as_i64() {
                Some(int) => Self::Int(int),
                // Not a string in JSON, so it never equals one that looks like it.
                None => Self::Text(format!("\u{0}{other}").into()),
            },
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Int(int) => write!(f, "{int}"),
            Self::Text(text) => match text.strip_prefix('\u{0}') {
                Some(json) => f.write_str(json),
                None => write!(f, "{text:?}"),
            },
        }
    }
}
