//! Event patterns: what a step waits for in the live history.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use usurper_history::{Body, Event, HarnessEvent, NodeId, Record};

use crate::target::{Bindings, Target};

/// The fields of every node event, which a pattern can compare, too.
const ENVELOPE: &[&str] = &["node", "inc", "seq", "proto", "term", "role"];
/// The fields that hold a node, so that a pattern can name it by the part it plays.
const NODE_FIELDS: &[&str] = &["node", "peer", "leader", "candidate", "for", "to", "learned-from"];

/// An event by its name, with the fields it must have: `{ event = "leader-elected", node = "n3" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pattern {
    pub event: String,
    /// Which of the matching events is meant, counted from when the step is armed; the first if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The fields compared, by their names in a history.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

impl Pattern {
    /// Checks that there is such an event and that it has these fields.
    ///
    /// # Errors
    /// A sentence that names what is unknown.
    pub fn validate(&self, nodes: &[NodeId]) -> Result<(), String> {
        let name = self.event.as_str();
        let node_event = Event::fields_of(name);
        let Some(known) = node_event.or_else(|| HarnessEvent::fields_of(name)) else {
            return Err(format!("unknown event `{name}`"));
        };
        if self.count == Some(0) {
            return Err("`count` starts at 1".to_owned());
        }
        for (key, value) in &self.fields {
            let envelope = node_event.is_some() && ENVELOPE.contains(&key.as_str());
            if !envelope && !known.contains(&key.as_str()) {
                return Err(format!("event `{name}` has no field `{key}`"));
            }
            if let Some(target) = node_named(key, value) {
                match target {
                    Ok(Target::Node(node)) if !nodes.contains(&node) => {
                        return Err(format!("there is no node `{node}` in this cluster"));
                    }
                    // `to` is a node in one event and a role in another.
                    Err(error) if key != "to" => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Whether a record is one of these events.
    pub fn matches(&self, record: &Record, bindings: &Bindings) -> bool {
        let name = match &record.body {
            Body::Node(node) => node.event.name(),
            Body::Harness(event) => event.name(),
            Body::Op(_) | Body::Fault(_) => return false,
        };
        if name != self.event {
            return false;
        }
        self.fields.iter().all(|(key, expected)| {
            let Some(found) = record.field(key) else { return false };
            found == *expected
                || matches!(node_named(key, expected), Some(Ok(target))
                    if means(&target, &found, bindings))
        })
    }
}

/// The target that a field's expected value names, if the field holds a node.
fn node_named(key: &str, value: &Value) -> Option<Result<Target, String>> {
    let text = value.as_str().filter(|_| NODE_FIELDS.contains(&key))?;
    Some(text.parse())
}

/// Whether a found node is one that the target means now.
fn means(target: &Target, found: &Value, bindings: &Bindings) -> bool {
    // A pattern must not spend the schedule's random choices: `follower` matches any of them.
    let target = if *target == Target::Follower { &Target::Followers } else { target };
    let node = found.as_str().and_then(|text| text.parse::<NodeId>().ok());
    let meant = bindings.resolve(target, None, &mut |_| 0);
    matches!((node, meant), (Some(node), Ok(nodes)) if nodes.contains(&node))
}
