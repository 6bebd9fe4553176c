//! Whom a step means: a node by name, or by the part it plays when the step runs.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use usurper_history::{Body, Event, Link, NodeId, Record};

/// A node, or a way to find some when the step runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Node(NodeId),
    /// The node that was established as leader last.
    Leader,
    /// The leader before that one.
    OldLeader,
    /// Some node that is not the leader, chosen by the seed.
    Follower,
    /// Every node that is not the leader.
    Followers,
    /// The node whose event triggered the step.
    Trigger,
    /// Every node.
    All,
    /// The nodes that a named step hit.
    Step(String),
}

/// A directed link or, with `<->`, both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTarget {
    pub from: Target,
    pub to: Target,
    pub both: bool,
}

/// What targets mean at one moment, learnt from the live history.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    nodes: Vec<NodeId>,
    /// Established leaders, the newest last; at most the last two different ones.
    leader: Option<NodeId>,
    old_leader: Option<NodeId>,
    hit: BTreeMap<String, Vec<NodeId>>,
}

impl Bindings {
    pub fn new(nodes: &[NodeId]) -> Self {
        Self { nodes: nodes.to_vec(), ..Self::default() }
    }

    /// The nodes of the cluster.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The leader established last, if any.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Learns from a record.
    pub fn observe(&mut self, record: &Record) {
        let Body::Node(node) = &record.body else { return };
        if matches!(node.event, Event::LeaderElected { established: true, .. })
            && self.leader != Some(node.node)
        {
            self.old_leader = self.leader;
            self.leader = Some(node.node);
        }
    }

    /// Remembers whom a named step hit.
    pub fn remember(&mut self, step: &str, nodes: &[NodeId]) {
        self.hit.insert(step.to_owned(), nodes.to_vec());
    }

    /// The nodes that a target means now. `pick` chooses one of several, by its index.
    ///
    /// # Errors
    /// A sentence that says why it means nobody.
    pub fn resolve(
        &self,
        target: &Target,
        trigger: Option<NodeId>,
        pick: &mut dyn FnMut(usize) -> usize,
    ) -> Result<Vec<NodeId>, String> {
        let one = |node: Option<NodeId>, why: &str| {
            node.map(|node| vec![node]).ok_or_else(|| why.to_owned())
        };
        let followers = || {
            self.nodes.iter().copied().filter(|node| Some(*node) != self.leader).collect::<Vec<_>>()
        };
        match target {
            Target::Node(node) => Ok(vec![*node]),
            Target::Leader => one(self.leader, "no leader has been established"),
            Target::OldLeader => one(self.old_leader, "there has been no leader before this one"),
            Target::Trigger => one(trigger, "the step was not triggered by a node's event"),
            Target::All => Ok(self.nodes.clone()),
            Target::Followers => Ok(followers()),
            Target::Follower => match followers() {
                none if none.is_empty() => Err("there is no follower".to_owned()),
                some => Ok(vec![some[pick(some.len())]]),
            },
            Target::Step(name) => match self.hit.get(name) {
                Some(nodes) if !nodes.is_empty() => Ok(nodes.clone()),
                _ => Err(format!("step `{name}` hit nobody")),
            },
        }
    }

    /// The directed links between every pair that a link target means now.
    ///
    /// # Errors
    /// A sentence that says why it means none.
    pub fn resolve_link(
        &self,
        target: &LinkTarget,
        trigger: Option<NodeId>,
        pick: &mut dyn FnMut(usize) -> usize,
    ) -> Result<Vec<Link>, String> {
        let from = self.resolve(&target.from, trigger, pick)?;
        let to = self.resolve(&target.to, trigger, pick)?;
        let mut links = Vec::new();
        for &from in &from {
            for &to in to.iter().filter(|to| **to != from) {
                links.push(Link { from, to });
                if target.both {
                    links.push(Link { from: to, to: from });
                }
            }
        }
        links.sort_unstable();
        links.dedup();
        if links.is_empty() { Err(format!("`{target}` is no link")) } else { Ok(links) }
    }
}

impl Target {
    /// The names that are not nodes, for messages.
    pub const NAMES: &'static [&'static str] =
        &["leader", "old-leader", "follower", "followers", "trigger", "all", "step:NAME"];
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => node.fmt(f),
            Self::Leader => f.write_str("leader"),
            Self::OldLeader => f.write_str("old-leader"),
            Self::Follower => f.write_str("follower"),
            Self::Followers => f.write_str("followers"),
            Self::Trigger => f.write_str("trigger"),
            Self::All => f.write_str("all"),
            Self::Step(name) => write!(f, "step:{name}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "leader" => Self::Leader,
            "old-leader" => Self::OldLeader,
            "follower" => Self::Follower,
            "followers" => Self::Followers,
            "trigger" => Self::Trigger,
            "all" => Self::All,
            _ => match (text.strip_prefix("step:"), text.parse()) {
                (Some(name), _) if !name.is_empty() => Self::Step(name.to_owned()),
                (_, Ok(node)) => Self::Node(node),
                _ => {
                    let names = Self::NAMES.join("`, `");
                    return Err(format!(
                        "unknown target `{text}`, expected a node like `n1` or `{names}`"
                    ));
                }
            },
        })
    }
}

impl fmt::Display for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.from, if self.both { "<->" } else { "->" }, self.to)
    }
}

impl FromStr for LinkTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ends, both) = match text.split_once("<->") {
            Some(ends) => (Some(ends), true),
            None => (text.split_once("->"), false),
        };
        let Some((from, to)) = ends else {
            return Err(format!(
                "`{text}` is not a link, expected for example `n1->n2` or `n1<->n2`"
            ));
        };
        Ok(Self { from: from.trim().parse()?, to: to.trim().parse()?, both })
    }
}

macro_rules! as_text {
    ($($type:ty),*) => { $(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )* };
}

as_text!(Target, LinkTarget);
