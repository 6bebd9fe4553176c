//! What a random step waits for: something that the nodes say, drawn from the events that they have.

use rand::{RngExt, rngs::StdRng};
use serde_json::Value;
use usurper_history::NodeId;

use crate::{pattern::Pattern, target::Target};

/// An event that matters to an election, with fields to tell it by, and fields that name a node.
struct Moment {
    event: &'static str,
    fields: &'static [(&'static str, &'static str)],
    names: &'static [&'static str],
}

const fn moment(
    event: &'static str,
    fields: &'static [(&'static str, &'static str)],
    names: &'static [&'static str],
) -> Moment {
    Moment { event, fields, names }
}

/// Each is drawn as often as another, so that elections weigh more than the heartbeats between them.
const MOMENTS: &[Moment] = &[
    moment("role-change", &[("to", "leader")], &["node"]),
    moment("role-change", &[("to", "follower")], &["node"]),
    moment("role-change", &[("to", "looking"), ("to", "candidate")], &["node"]),
    moment("leader-elected", &[], &["node"]),
    moment("vote-cast", &[], &["node", "candidate"]),
    moment("vote-msg", &[("dir", "recv")], &["node", "peer"]),
    moment("vote-msg", &[("dir", "send")], &["node", "peer"]),
    moment("term-change", &[], &["node"]),
    moment("leader-known", &[], &["node", "leader"]),
    moment("persist", &[], &["node"]),
    moment("ack", &[], &["node", "to"]),
    moment("node-start", &[], &["node"]),
    moment("heartbeat", &[("dir", "sent")], &["node"]),
    moment("heartbeat", &[("dir", "accepted")], &["node", "peer"]),
];

/// A pattern, and whom it is about.
pub(crate) struct Cue {
    pub(crate) pattern: Pattern,
    /// The node that the pattern captures, or is about.
    pub(crate) whom: Target,
}

impl Cue {
    /// Something that the system's nodes tell of, captured under `name`; of `favourite` in part of
    /// the draws. Nothing, if they tell of nothing that matters.
    pub(crate) fn draw(
        events: &[String],
        name: &str,
        favourite: NodeId,
        random: &mut StdRng,
    ) -> Option<Self> {
        let told: Vec<_> =
            MOMENTS.iter().filter(|moment| events.iter().any(|e| e == moment.event)).collect();
        if told.is_empty() {
            return None;
        }
        let moment = told[random.random_range(0..told.len())];
        let mut fields = Vec::new();
        if !moment.fields.is_empty() {
            let (key, value) = moment.fields[random.random_range(0..moment.fields.len())];
            fields.push((key, Value::from(value)));
        }
        if moment.event == "leader-elected" && random.random_bool(0.6) {
            fields.push(("established", random.random_bool(0.6).into()));
        }
        let captured = moment.names[random.random_range(0..moment.names.len())];
        let whom = if random.random_bool(0.4) {
            fields.push((captured, favourite.to_string().into()));
            Target::Node(favourite)
        } else {
            fields.push((captured, format!("${name}").into()));
            Target::Captured(name.to_owned())
        };
        let count = if random.random_bool(0.6) { 1 } else { random.random_range(2..5) };
        Some(Self { pattern: Pattern::event(moment.event, fields).counted(count), whom })
    }

    /// A heartbeat, by which the leader is known.
    pub(crate) fn leader_speaks(events: &[String], name: &str) -> Option<Self> {
        let told = events.iter().any(|event| event == "heartbeat");
        let fields = [("dir", "sent".into()), ("node", format!("${name}").into())];
        let whom = Target::Captured(name.to_owned());
        told.then(|| Self { pattern: Pattern::event("heartbeat", fields), whom })
    }
}
