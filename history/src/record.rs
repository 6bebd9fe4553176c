//! One line of a history.

use serde::{Serialize, Serializer, de::DeserializeOwned, ser::SerializeMap};
use serde_json::{Map, Value};

use crate::{
    event::{Event, FaultRecord, HarnessEvent, NodeRecord, OpRecord},
    vocabulary::{put, take},
};

/// One line of a history: an instant, and what happened then.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Nanoseconds since the run's origin.
    pub t: u64,
    pub body: Body,
    /// Fields that this version does not know. They are kept and written back.
    pub extra: Map<String, Value>,
}

/// Who speaks in a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Node(NodeRecord),
    Op(OpRecord),
    Fault(FaultRecord),
    Harness(HarnessEvent),
}

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    #[error("not JSON: {0}")]
    Json(#[source] serde_json::Error),
    #[error("not a JSON object")]
    NotAnObject,
    #[error("`{of}` has a wrong `{key}`: {source}")]
    Field { of: String, key: String, source: serde_json::Error },
    #[error("`{of}` lacks `{key}`")]
    Missing { of: String, key: String },
    #[error("unknown event `{0}`")]
    UnknownEvent(String),
    #[error("unknown kind of record `{0}`, expected `node`, `op`, `fault` or `harness`")]
    UnknownRecord(String),
    #[error("wrong `{of}` record: {source}")]
    Body { of: String, source: serde_json::Error },
}

impl Record {
    /// A record with nothing unknown in it.
    pub fn new(t: u64, body: Body) -> Self {
        Self { t, body, extra: Map::new() }
    }

    /// Reads one line, without its newline.
    ///
    /// # Errors
    /// Whatever makes it not a record of this format version.
    pub fn parse(line: &[u8]) -> Result<Self, ParseError> {
        let mut fields = match serde_json::from_slice(line).map_err(ParseError::Json)? {
            Value::Object(fields) => fields,
            _ => return Err(ParseError::NotAnObject),
        };
        let t = take(&mut fields, "record", "t")?;
        let kind: String = take(&mut fields, "record", "record")?;
        let body = match kind.as_str() {
            "node" => Body::Node(take_node(&mut fields)?),
            "op" => Body::Op(take_struct(&mut fields, "op", OP_FIELDS)?),
            "fault" => Body::Fault(take_struct(&mut fields, "fault", FAULT_FIELDS)?),
            "harness" => {
                let name: String = take(&mut fields, "harness", "event")?;
                Body::Harness(HarnessEvent::take(&name, &mut fields)?)
            }
            _ => return Err(ParseError::UnknownRecord(kind)),
        };
        Ok(Self { t, body, extra: fields })
    }

    /// The record as one line, without a newline.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("records hold nothing that JSON cannot")
    }

    /// The value of one field by the name it has in a history, as a pattern would ask for it.
    pub fn field(&self, key: &str) -> Option<Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut fields)) => fields.remove(key),
            _ => None,
        }
    }
}

const OP_FIELDS: &[&str] =
    &["process", "type", "f", "key", "value", "server", "session", "serial", "error"];
const FAULT_FIELDS: &[&str] = &[
    "id", "phase", "fault", "effect", "aspect", "nodes", "links", "args", "trigger", "outcome",
    "acted", "proof", "reason",
];

fn take_node(fields: &mut Map<String, Value>) -> Result<NodeRecord, ParseError> {
    let name: String = take(fields, "node", "event")?;
    Ok(NodeRecord {
        node: take(fields, &name, "node")?,
        inc: take(fields, &name, "inc")?,
        seq: take(fields, &name, "seq")?,
        proto: take(fields, &name, "proto")?,
        term: take(fields, &name, "term")?,
        role: take(fields, &name, "role")?,
        event: Event::take(&name, fields)?,
    })
}

fn take_struct<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    of: &str,
    keys: &[&str],
) -> Result<T, ParseError> {
    let known: Map<String, Value> =
        keys.iter().filter_map(|key| fields.remove_entry(*key)).collect();
    serde_json::from_value(Value::Object(known))
        .map_err(|source| ParseError::Body { of: of.to_owned(), source })
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("t", &self.t)?;
        match &self.body {
            Body::Node(node) => {
                map.serialize_entry("record", "node")?;
                put(&mut map, "node", &node.node)?;
                put(&mut map, "inc", &node.inc)?;
                put(&mut map, "seq", &node.seq)?;
                put(&mut map, "proto", &node.proto)?;
                put(&mut map, "term", &node.term)?;
                put(&mut map, "role", &node.role)?;
                map.serialize_entry("event", node.event.name())?;
                node.event.write_fields(&mut map)?;
            }
            Body::Op(op) => put_struct(&mut map, "op", op)?,
            Body::Fault(fault) => put_struct(&mut map, "fault", fault)?,
            Body::Harness(event) => {
                map.serialize_entry("record", "harness")?;
                map.serialize_entry("event", event.name())?;
                event.write_fields(&mut map)?;
            }
        }
        for (key, value) in &self.extra {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

fn put_struct<M: SerializeMap, T: Serialize>(
    map: &mut M,
    of: &str,
    body: &T,
) -> Result<(), M::Error> {
    map.serialize_entry("record", of)?;
    match serde_json::to_value(body) {
        Ok(Value::Object(fields)) => {
            for (key, value) in &fields {
                map.serialize_entry(key, value)?;
            }
            Ok(())
        }
        _ => Err(serde::ser::Error::custom("a record's body is an object")),
    }
}
