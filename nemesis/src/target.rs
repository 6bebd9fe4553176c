//! Whom a step means: a node by name, or by the part it plays when the step runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::Value;
use usurper_history::{Body, Event, HarnessEvent, Link, NodeId, Record, Role};

use crate::suggest::nearest;

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
    /// Some node, chosen by the seed.
    One,
    /// As many nodes as can fail without the majority, chosen by the seed.
    Minority,
    /// Fewer than a third of the nodes, chosen by the seed.
    MinorityThird,
    /// Just enough nodes for a majority, chosen by the seed.
    Majority,
    /// A minority that the leader belongs to.
    MinorityWithLeader,
    /// A majority that the leader belongs to.
    MajorityWithLeader,
    /// Every node that believes that it leads.
    Primaries,
    /// The nodes that a named step hit.
    Step(String),
    /// The node that a pattern has captured as `$name`.
    Captured(String),
    /// Every node but these.
    Not(Box<Self>),
    /// All of these together.
    Several(Vec<Self>),
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
    /// Those that believe that they lead, by their own word.
    primaries: BTreeSet<NodeId>,
    /// The established leaders that have not given up or ended, with their terms.
    leading: BTreeMap<NodeId, u64>,
    /// The highest term that a leader was ever established in.
    highest_led: Option<u64>,
    hit: BTreeMap<String, Vec<NodeId>>,
    captured: BTreeMap<String, Value>,
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
        let node = match &record.body {
            Body::Node(node) => node,
            Body::Harness(HarnessEvent::Exit { node, .. }) => {
                self.primaries.remove(node);
                self.leading.remove(node);
                return;
            }
            _ => return,
        };
        match node.event {
            Event::LeaderElected { established: true, in_term, .. } => {
                self.primaries.insert(node.node);
                self.leading.insert(node.node, in_term);
                self.highest_led = self.highest_led.max(Some(in_term));
                if self.leader != Some(node.node) {
                    self.old_leader = self.leader;
                    self.leader = Some(node.node);
                }
            }
            Event::RoleChange { to: Role::Leader, .. } => {
                self.primaries.insert(node.node);
            }
            Event::RoleChange { .. } | Event::NodeStart { .. } => {
                self.primaries.remove(&node.node);
                self.leading.remove(&node.node);
            }
            _ => {}
        }
    }

    /// Whether the newest of all established leaders is still one.
    pub fn somebody_leads(&self) -> bool {
        self.highest_led.is_some() && self.leading.values().copied().max() == self.highest_led
    }

    /// Those that believe that they lead, in order.
    pub fn primaries(&self) -> Vec<NodeId> {
        self.primaries.iter().copied().collect()
    }

    /// Remembers what a pattern captured.
    pub(crate) fn capture(&mut self, captured: BTreeMap<String, Value>) {
        self.captured.extend(captured);
    }

    /// What a pattern has captured under a name.
    pub fn captured(&self, name: &str) -> Option<&Value> {
        self.captured.get(name)
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
            Target::One => match self.nodes.as_slice() {
                [] => Err("there is no node".to_owned()),
                some => Ok(vec![some[pick(some.len())]]),
            },
            Target::Minority => self.some(self.minority(), None, pick),
            Target::MinorityThird => self.some(self.nodes.len().saturating_sub(1) / 3, None, pick),
            Target::Majority => self.some(self.nodes.len() / 2 + 1, None, pick),
            Target::MinorityWithLeader | Target::MajorityWithLeader => {
                let Some(leader) = self.leader else {
                    return Err("no leader has been established".to_owned());
                };
                let size = match target {
                    Target::MinorityWithLeader => self.minority(),
                    _ => self.nodes.len() / 2 + 1,
                };
                self.some(size, Some(leader), pick)
            }
            Target::Primaries if self.primaries.is_empty() => {
                Err("no node believes that it leads".to_owned())
            }
            Target::Primaries => Ok(self.primaries()),
            Target::Captured(name) => match self.captured.get(name) {
                Some(value) => {
                    let node = value.as_str().and_then(|text| text.parse().ok());
                    one(node, &format!("`${name}` is {value}, which is no node"))
                }
                None => Err(format!("nothing has been captured as `${name}`")),
            },
            Target::Not(target) => {
                let without = self.resolve(target, trigger, pick)?;
                let rest = self.nodes.iter().copied().filter(|node| !without.contains(node));
                match rest.collect::<Vec<_>>() {
                    none if none.is_empty() => Err(format!("`{target}` is everybody")),
                    rest => Ok(rest),
                }
            }
            Target::Several(targets) => {
                let mut all = BTreeSet::new();
                for target in targets {
                    all.extend(self.resolve(target, trigger, pick)?);
                }
                Ok(all.into_iter().collect())
            }
            Target::Step(name) => match self.hit.get(name) {
                Some(nodes) if !nodes.is_empty() => Ok(nodes.clone()),
                _ => Err(format!("step `{name}` hit nobody")),
            },
        }
    }

    /// How many nodes can fail without the majority.
    fn minority(&self) -> usize {
        self.nodes.len().saturating_sub(1) / 2
    }

    /// So many nodes of the seed's choice, `with` among them.
    fn some(
        &self,
        size: usize,
        with: Option<NodeId>,
        pick: &mut dyn FnMut(usize) -> usize,
    ) -> Result<Vec<NodeId>, String> {
        if size == 0 {
            let count = self.nodes.len();
            return Err(format!("a cluster of {count} has no minority to choose"));
        }
        let mut chosen: Vec<_> = with.into_iter().collect();
        let mut rest: Vec<_> =
            self.nodes.iter().copied().filter(|node| Some(*node) != with).collect();
        while chosen.len() < size {
            chosen.push(rest.swap_remove(pick(rest.len())));
        }
        chosen.sort_unstable();
        Ok(chosen)
    }

    /// The directed links between every pair that a link target means now.
    ///
    /// # Errors
    /// A sentence that says why it means none.
    pub(crate) fn resolve_link(
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

/// The targets that are one word.
const WORDS: &[(&str, Target)] = &[
    ("leader", Target::Leader),
    ("old-leader", Target::OldLeader),
    ("follower", Target::Follower),
    ("followers", Target::Followers),
    ("trigger", Target::Trigger),
    ("all", Target::All),
    ("one", Target::One),
    ("minority", Target::Minority),
    ("minority-third", Target::MinorityThird),
    ("majority", Target::Majority),
    ("minority-with-leader", Target::MinorityWithLeader),
    ("majority-with-leader", Target::MajorityWithLeader),
    ("primaries", Target::Primaries),
];

impl Target {
    /// The ways to name nodes other than by their own names, for messages.
    pub const NAMES: &'static [&'static str] = &[
        "leader",
        "old-leader",
        "follower",
        "followers",
        "trigger",
        "all",
        "one",
        "minority",
        "minority-third",
        "majority",
        "minority-with-leader",
        "majority-with-leader",
        "primaries",
        "step:NAME",
        "$NAME",
        "not-TARGET",
    ];

    /// Whether the seed chooses whom it means, so that two readings may differ.
    pub(crate) fn is_choice(&self) -> bool {
        match self {
            Self::Follower
            | Self::One
            | Self::Minority
            | Self::MinorityThird
            | Self::Majority
            | Self::MinorityWithLeader
            | Self::MajorityWithLeader => true,
            Self::Not(target) => target.is_choice(),
            Self::Several(targets) => targets.iter().any(Self::is_choice),
            _ => false,
        }
    }

    /// This target and those that it is made of.
    pub(crate) fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Not(target) => target.parts(),
            Self::Several(targets) => targets.iter().flat_map(Self::parts).collect(),
            one => vec![one],
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => node.fmt(f),
            Self::Step(name) => write!(f, "step:{name}"),
            Self::Captured(name) => write!(f, "${name}"),
            Self::Not(target) => write!(f, "not-{}", Part(target)),
            Self::Several(targets) => {
                for (index, target) in targets.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    let is_last = index + 1 == targets.len();
                    match target {
                        Self::Not(_) if !is_last => write!(f, "{comma}({target})")?,
                        part => write!(f, "{comma}{}", Part(part))?,
                    }
                }
                Ok(())
            }
            word => {
                let found = WORDS.iter().find(|(_, target)| target == word);
                f.write_str(found.expect("every word is in the table").0)
            }
        }
    }
}

/// A target within another: several are held together by parentheses.
struct Part<'a>(&'a Target);

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Target::Several(_) => write!(f, "({})", self.0),
            one => one.fmt(f),
        }
    }
}

/// The parts between the commas that stand in no parentheses.
fn parts_of(text: &str) -> Result<Vec<&str>, String> {
    let unbalanced = || format!("the parentheses of `{text}` do not match");
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_u32, 0);
    for (at, char) in text.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or_else(unbalanced)?,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    if depth == 0 { Ok(parts) } else { Err(unbalanced()) }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, target)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(target.clone());
        }
        let parts = parts_of(text)?;
        if let [others @ .., _] = parts.as_slice()
            && let Some(not) = others.iter().find(|part| part.starts_with("not-"))
        {
            let more = parts.join(",");
            let more = more.split_once(not).map_or("", |(_, more)| more);
            return Err(format!(
                "`{not}{more}` may mean two things: write `({not}){more}` or `not-({}{more})`",
                &not[4..]
            ));
        }
        if parts.len() > 1 {
            return parts.into_iter().map(str::parse).collect::<Result<_, _>>().map(Self::Several);
        }
        if let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            return inner.trim().parse();
        }
        if let Some(rest) = text.strip_prefix("not-") {
            return rest.parse().map(|target| Self::Not(Box::new(target)));
        }
        match (text.strip_prefix("step:"), text.strip_prefix('$'), text.parse()) {
            (Some(name), _, _) if !name.is_empty() => Ok(Self::Step(name.to_owned())),
            (_, Some(name), _) if !name.is_empty() => Ok(Self::Captured(name.to_owned())),
            (_, _, Ok(node)) => Ok(Self::Node(node)),
            _ => {
                let known = WORDS.iter().map(|(word, _)| *word);
                Err(match nearest(text, known) {
                    Some(near) => format!("unknown target `{text}`: did you mean `{near}`?"),
                    None => {
                        let names = Self::NAMES.join("`, `");
                        format!("unknown target `{text}`, expected a node like `n1` or `{names}`")
                    }
                })
            }
        }
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

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TargetVisitor)
    }
}

/// Reads `"n1,n3"` and `["n1", "n3"]` alike.
struct TargetVisitor;

impl<'de> Visitor<'de> for TargetVisitor {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a target, or a list of some")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Target, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Target, A::Error> {
        let mut targets = Vec::new();
        while let Some(target) = items.next_element()? {
            targets.push(target);
        }
        match targets.len() {
            0 => Err(de::Error::custom("an empty list names nobody")),
            1 => Ok(targets.remove(0)),
            _ => Ok(Target::Several(targets)),
        }
    }
}

impl Serialize for LinkTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LinkTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use usurper_history::NodeId;

    use super::{LinkTarget, Target, WORDS};

    fn target() -> impl Strategy<Value = Target> {
        let word = prop::sample::select(WORDS).prop_map(|(_, target)| target.clone());
        let leaf = prop_oneof![
            (1_u8..=255).prop_map(|node| Target::Node(NodeId(node))),
            word,
            "[a-z1-9]([a-z1-9 :$_.-]{0,5}[a-z1-9])?".prop_map(Target::Step),
            "[a-z1-9]([a-z1-9_-]{0,5}[a-z1-9])?".prop_map(Target::Captured),
        ];
        leaf.prop_recursive(4, 16, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|target| Target::Not(Box::new(target))),
                prop::collection::vec(inner, 2..4).prop_map(Target::Several),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_itself(from in target(), to in target(), both: bool) {
            let text = from.to_string();
            prop_assert_eq!(text.parse::<Target>(), Ok(from.clone()), "{}", text);
            let link = LinkTarget { from, to, both };
            let text = link.to_string();
            prop_assert_eq!(text.parse::<LinkTarget>(), Ok(link), "{}", text);
        }

        #[test]
        fn what_is_read_is_written_so_that_it_reads_the_same(text in "(not-|n1|n2|leader|,|[(]|[)]| ){0,9}") {
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse::<Target>(), Ok(target));
            }
        }
    }

    #[test]
    fn what_may_mean_two_things_is_refused_with_both() {
        for (text, error) in [
            ("not-n1,n2", "`not-n1,n2` may mean two things: write `(not-n1),n2` or `not-(n1,n2)`"),
            (
                "n3, not-leader, n2",
                "`not-leader,n2` may mean two things: write `(not-leader),n2` or `not-(leader,n2)`",
            ),
            ("not-(n1,n2", "the parentheses of `not-(n1,n2` do not match"),
            ("n1)", "the parentheses of `n1)` do not match"),
        ] {
            assert_eq!(text.parse::<Target>(), Err(error.to_owned()));
        }
        let node = |node| Target::Node(NodeId(node));
        let not = |target| Target::Not(Box::new(target));
        let both = Target::Several(vec![node(1), node(2)]);
        assert_eq!("not-(n1, n2)".parse(), Ok(not(both.clone())));
        assert_eq!("(n1,n2)".parse(), Ok(both));
        assert_eq!("(not-n1),n2".parse(), Ok(Target::Several(vec![not(node(1)), node(2)])));
        assert_eq!("n2,not-n1".parse(), Ok(Target::Several(vec![node(2), not(node(1))])));
    }
}
