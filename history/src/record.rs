//! One line of a history.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use crate::{
    event::{Event, FaultRecord, HarnessEvent, NodeRecord, OpRecord},
    fields::Fields,
    vocabulary::{put, take, take_name},
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
    #[error("not UTF-8: {0}")]
    Utf8(#[source] std::str::Utf8Error),
    #[error("`{of}` has a wrong `{key}`: {source}")]
    Field { of: String, key: String, source: serde_json::Error },
    #[error("`{of}` lacks `{key}`")]
    Missing { of: String, key: String },
    #[error("`{of}` has a `{key}` with a number of too many digits, write it as a string")]
    Inexact { of: String, key: String },
    #[error("unknown event `{0}`")]
    UnknownEvent(String),
    #[error("unknown kind of record `{0}`, expected `node`, `op`, `fault` or `harness`")]
    UnknownRecord(String),
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
        let text = std::str::from_utf8(line).map_err(ParseError::Utf8)?;
        if let Some(fields) = Fields::scan(text)
            && let Ok(record) = Self::from_fields(fields)
        {
            return Ok(record);
        }
        Self::from_fields(serde_json::from_str(text).map_err(ParseError::Json)?)
    }

    fn from_fields(mut fields: Fields<'_>) -> Result<Self, ParseError> {
        let t = take(&mut fields, "record", "t")?;
        let kind = take_name(&mut fields, "record", "record")?;
        let body = match &*kind {
            "node" => Body::Node(take_node(&mut fields)?),
            "op" => Body::Op(take_op(&mut fields)?),
            "fault" => Body::Fault(take_fault(&mut fields)?),
            "harness" => {
                let name = take_name(&mut fields, "harness", "event")?;
                Body::Harness(HarnessEvent::take(&name, &mut fields)?)
            }
            _ => return Err(ParseError::UnknownRecord(kind.into_owned())),
        };
        let extra = fields.into_map().map_err(ParseError::Json)?;
        Ok(Self { t, body, extra })
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

fn take_node(fields: &mut Fields<'_>) -> Result<NodeRecord, ParseError> {
    let name = take_name(fields, "node", "event")?;
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

fn take_op(fields: &mut Fields<'_>) -> Result<OpRecord, ParseError> {
    let of = "op";
    Ok(OpRecord {
        process: take(fields, of, "process")?,
        op_type: take(fields, of, "type")?,
        f: take(fields, of, "f")?,
        key: take(fields, of, "key")?,
        value: take(fields, of, "value")?,
        server: take(fields, of, "server")?,
        session: take(fields, of, "session")?,
        serial: take(fields, of, "serial")?,
        error: take(fields, of, "error")?,
    })
}

fn take_fault(fields: &mut Fields<'_>) -> Result<FaultRecord, ParseError> {
    let of = "fault";
    Ok(FaultRecord {
        id: take(fields, of, "id")?,
        phase: take(fields, of, "phase")?,
        fault: take(fields, of, "fault")?,
        effect: take(fields, of, "effect")?,
        aspect: take(fields, of, "aspect")?,
        nodes: take::<Option<_>>(fields, of, "nodes")?.unwrap_or_default(),
        links: take::<Option<_>>(fields, of, "links")?.unwrap_or_default(),
        args: take::<Option<_>>(fields, of, "args")?.unwrap_or_default(),
        trigger: take(fields, of, "trigger")?,
        outcome: take(fields, of, "outcome")?,
        acted: take(fields, of, "acted")?,
        proof: take(fields, of, "proof")?,
        reason: take(fields, of, "reason")?,
    })
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
            Body::Op(op) => put_op(&mut map, op)?,
            Body::Fault(fault) => put_fault(&mut map, fault)?,
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

fn put_op<M: SerializeMap>(map: &mut M, op: &OpRecord) -> Result<(), M::Error> {
    map.serialize_entry("record", "op")?;
    put(map, "process", &op.process)?;
    put(map, "type", &op.op_type)?;
    put(map, "f", &op.f)?;
    put(map, "key", &op.key)?;
    put(map, "value", &op.value)?;
    put(map, "server", &op.server)?;
    put(map, "session", &op.session)?;
    put(map, "serial", &op.serial)?;
    put(map, "error", &op.error)
}

fn put_fault<M: SerializeMap>(map: &mut M, fault: &FaultRecord) -> Result<(), M::Error> {
    map.serialize_entry("record", "fault")?;
    put(map, "id", &fault.id)?;
    put(map, "phase", &fault.phase)?;
    put(map, "fault", &fault.fault)?;
    put(map, "effect", &fault.effect)?;
    put(map, "aspect", &fault.aspect)?;
    if !fault.nodes.is_empty() {
        put(map, "nodes", &fault.nodes)?;
    }
    if !fault.links.is_empty() {
        put(map, "links", &fault.links)?;
    }
    if !fault.args.is_empty() {
        put(map, "args", &fault.args)?;
    }
    put(map, "trigger", &fault.trigger)?;
    put(map, "outcome", &fault.outcome)?;
    put(map, "acted", &fault.acted)?;
    put(map, "proof", &fault.proof)?;
    put(map, "reason", &fault.reason)
}
