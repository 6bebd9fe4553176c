//! Patterns over the live history: what a step waits for.
//!
//! A pattern is one kind of record with what its fields must be, or several patterns of which all
//! or any must have come. [`Progress`] is how far one has come.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use serde_json::{Map, Value};
use usurper_history::{Body, Event, HarnessEvent, NodeId, Record};

use crate::{
    condition::{Condition, Operand, Scope},
    suggest::nearest,
    target::{Bindings, Target},
};

/// The fields of every node event, which a pattern can compare, too.
const ENVELOPE: &[&str] = &["node", "inc", "seq", "proto", "term", "role"];
const OP_FIELDS: &[&str] =
    &["process", "type", "key", "value", "server", "session", "serial", "error"];
const FAULT_FIELDS: &[&str] = &["phase", "outcome", "effect", "nodes", "links", "reason"];
/// The fields that hold a node, or a list of nodes.
const NODE_FIELDS: &[&str] = &[
    "node",
    "peer",
    "leader",
    "candidate",
    "for",
    "to",
    "learned-from",
    "server",
    "votes",
    "quorum",
    "nodes",
];
/// The fields with a closed set of values.
const CHOICES: &[(&str, &[&str])] = &[
    ("outcome", &["installed", "skipped", "indeterminate"]),
    ("phase", &["begin", "end"]),
    ("type", &["invoke", "ok", "fail", "info"]),
];

/// What a step waits for: `{ event = "leader-elected", node = "n3" }`.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    One(Match),
    AllOf(Vec<Self>),
    AnyOf(Vec<Self>),
}

/// One kind of record, with what its fields must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    kind: Kind,
    /// Which of the matching records is meant, counted from when the step is armed.
    count: u32,
    /// As they were written.
    fields: BTreeMap<String, Value>,
    conditions: BTreeMap<String, Condition>,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// An event of a node or of the harness, by its name.
    Event(String),
    /// A client's operation, by its function.
    Op(String),
    /// A step of the schedule, by its name.
    Step(String),
    /// Any step that does this fault.
    Fault(String),
}

/// What is wrong with a pattern, and what may help.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
}

/// What the rest of a schedule offers a pattern.
pub(crate) struct Known<'a> {
    pub(crate) nodes: &'a [NodeId],
    /// The names of all steps.
    pub(crate) steps: &'a [&'a str],
    pub(crate) faults: &'a [&'a str],
    /// What is captured by the steps so far, and whether it is a node.
    pub(crate) captured: &'a BTreeMap<String, bool>,
}

impl From<String> for Problem {
    fn from(what: String) -> Self {
        Self { what, hint: None }
    }
}

impl Pattern {
    /// The first event of this name whose fields have these values.
    pub fn event<'a>(name: &str, fields: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Self::One(Match::new(Kind::Event(name.to_owned()), 1, fields))
    }

    /// The same, counted to the `count`th time. A combination counts nothing and stays as it is.
    pub fn counted(self, count: u32) -> Self {
        match self {
            Self::One(one) => Self::One(Match { count, ..one }),
            other => other,
        }
    }

    /// Whether it waits for a defect to show, which nothing without the defect does.
    pub(crate) fn waits_for_defect(&self) -> bool {
        self.leaves().iter().any(|leaf| leaf.kind == Kind::Event("defect-hit".to_owned()))
    }

    /// Which one of the records that fit is waited for, where it is not the first.
    pub(crate) fn nth(&self) -> Option<u32> {
        match self {
            Self::One(one) if one.count > 1 => Some(one.count),
            _ => None,
        }
    }

    /// The single records that it is made of, in their order.
    pub(crate) fn leaves(&self) -> Vec<&Match> {
        match self {
            Self::One(one) => vec![one],
            Self::AllOf(all) | Self::AnyOf(all) => all.iter().flat_map(Self::leaves).collect(),
        }
    }

    /// Whether it can come at all. `can_end` says whether a step of the schedule can.
    pub(crate) fn can_come(&self, can_end: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::One(Match { kind: Kind::Step(name), .. }) => can_end(name),
            Self::One(_) => true,
            Self::AllOf(all) => all.iter().all(|one| one.can_come(can_end)),
            Self::AnyOf(any) => any.iter().any(|one| one.can_come(can_end)),
        }
    }

    /// The names of the steps that it looks at.
    pub(crate) fn steps(&self) -> Vec<&str> {
        let steps = self.leaves().into_iter().filter_map(|leaf| match &leaf.kind {
            Kind::Step(name) => Some(name.as_str()),
            _ => None,
        });
        steps.collect()
    }

    /// What it captures, with whether that is a node; what is captured already is only compared.
    pub(crate) fn captures(&self) -> BTreeMap<String, bool> {
        let mut captures = BTreeMap::new();
        for leaf in self.leaves() {
            for (key, condition) in &leaf.conditions {
                if let Some(name) = condition.captures() {
                    captures.entry(name.to_owned()).or_insert_with(|| leaf.holds_node(key));
                }
            }
        }
        captures
    }

    /// Every captured name that it mentions, be it to capture or to compare.
    pub(crate) fn mentions(&self) -> Vec<&str> {
        let leaves = self.leaves().into_iter();
        let operands =
            leaves.flat_map(|leaf| leaf.conditions.values().flat_map(Condition::operands));
        let names = operands.filter_map(|operand| match operand {
            Operand::Captured(name) => Some(name.as_str()),
            Operand::Value(_) => None,
        });
        names.collect()
    }

    /// Checks that there are such records and that they have these fields.
    pub(crate) fn validate(&self, known: &Known<'_>) -> Result<(), Problem> {
        match self {
            Self::AllOf(all) | Self::AnyOf(all) if all.is_empty() => {
                Err("an empty list of patterns never comes".to_owned().into())
            }
            _ => {
                let own = self.captures();
                self.leaves().into_iter().try_for_each(|leaf| leaf.validate(known, &own))
            }
        }
    }

    fn read(fields: Map<String, Value>) -> Result<Self, String> {
        for (key, make) in [("all-of", Self::AllOf as fn(_) -> _), ("any-of", Self::AnyOf)] {
            let Some(value) = fields.get(key) else { continue };
            if fields.len() > 1 {
                return Err(format!("`{key}` stands alone"));
            }
            let Value::Array(items) = value else {
                return Err(format!("`{key}` is a list of patterns"));
            };
            let patterns: Result<Vec<_>, _> = items
                .iter()
                .map(|item| match item {
                    Value::Object(fields) => Self::read(fields.clone()),
                    _ => Err(format!("`{key}` is a list of patterns")),
                })
                .collect();
            return patterns.map(make);
        }
        Match::read(fields).map(Self::One)
    }

    fn fields(&self) -> Map<String, Value> {
        let list = |all: &[Self]| all.iter().map(|one| Value::Object(one.fields())).collect();
        match self {
            Self::One(one) => one.written(),
            Self::AllOf(all) => Map::from_iter([("all-of".to_owned(), Value::Array(list(all)))]),
            Self::AnyOf(all) => Map::from_iter([("any-of".to_owned(), Value::Array(list(all)))]),
        }
    }
}

impl Match {
    fn new(kind: Kind, count: u32, fields: BTreeMap<String, Value>) -> Self {
        let conditions =
            fields.iter().map(|(key, value)| (key.clone(), Condition::read(value))).collect();
        Self { kind, count, fields, conditions }
    }

    fn read(mut fields: Map<String, Value>) -> Result<Self, String> {
        let kinds = [
            ("event", Kind::Event as fn(_) -> _),
            ("op", Kind::Op),
            ("step", Kind::Step),
            ("fault", Kind::Fault),
        ];
        // `event` first: an event may have a field that is called `op`.
        let kind = kinds.iter().find_map(|(key, make)| Some((*key, make, fields.remove(*key)?)));
        let kind = match kind {
            Some((_, make, Value::String(name))) => make(name),
            Some((key, ..)) => return Err(format!("`{key}` is a name")),
            None => {
                return Err(
                    "a pattern names an `event`, an `op`, a `step` or a `fault`, or lists `all-of` \
                     or `any-of`"
                        .to_owned(),
                );
            }
        };
        let count = match fields.remove("count") {
            None => 1,
            Some(count) => {
                let number = count.as_u64().and_then(|count| u32::try_from(count).ok());
                number.ok_or_else(|| format!("`count` is a number, not {count}"))?
            }
        };
        Ok(Self::new(kind, count, fields.into_iter().collect()))
    }

    fn written(&self) -> Map<String, Value> {
        let (key, name) = match &self.kind {
            Kind::Event(name) => ("event", name),
            Kind::Op(name) => ("op", name),
            Kind::Step(name) => ("step", name),
            Kind::Fault(name) => ("fault", name),
        };
        let mut map = Map::from_iter([(key.to_owned(), name.clone().into())]);
        if self.count != 1 {
            map.insert("count".to_owned(), self.count.into());
        }
        map.extend(self.fields.clone());
        map
    }

    /// Which of the matching records is meant.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Whether it looks at a step of the schedule, whose outcome stays true once it has come.
    fn is_lasting(&self) -> bool {
        matches!(self.kind, Kind::Step(_))
    }

    fn holds_node(&self, key: &str) -> bool {
        // `to` is a node in an `ack` and a role or a number elsewhere.
        let elsewhere = key == "to" && self.kind != Kind::Event("ack".to_owned());
        NODE_FIELDS.contains(&key) && !elsewhere
    }

    fn known_fields(&self, known: &Known<'_>) -> Result<Vec<&'static str>, Problem> {
        let unknown = |what: &str, name: &str, names: &[&str]| Problem {
            what: format!("unknown {what} `{name}`"),
            hint: nearest(name, names.iter().copied())
                .map(|near| format!("did you mean `{near}`?")),
        };
        match &self.kind {
            Kind::Event(name) => match (Event::fields_of(name), HarnessEvent::fields_of(name)) {
                (Some(fields), _) => Ok([fields, ENVELOPE].concat()),
                (None, Some(fields)) => Ok(fields.to_vec()),
                (None, None) => {
                    let names = [Event::NAMES, HarnessEvent::NAMES].concat();
                    Err(unknown("event", name, &names))
                }
            },
            Kind::Op(_) => Ok(OP_FIELDS.to_vec()),
            Kind::Step(name) if known.steps.contains(&name.as_str()) => Ok(FAULT_FIELDS.to_vec()),
            Kind::Step(name) => Err(unknown("step", name, known.steps)),
            Kind::Fault(name) if known.faults.contains(&name.as_str()) => Ok(FAULT_FIELDS.to_vec()),
            Kind::Fault(name) => Err(unknown("fault", name, known.faults)),
        }
    }

    fn validate(&self, known: &Known<'_>, own: &BTreeMap<String, bool>) -> Result<(), Problem> {
        let fields = self.known_fields(known)?;
        if self.count == 0 {
            return Err("`count` starts at 1".to_owned().into());
        }
        for (key, condition) in &self.conditions {
            let name = key.split('.').next().unwrap_or(key);
            if !fields.contains(&name) {
                let (what, of) = match &self.kind {
                    Kind::Event(of) => ("event", of),
                    Kind::Op(of) => ("operation", of),
                    Kind::Step(of) => ("step", of),
                    Kind::Fault(of) => ("fault", of),
                };
                let list = fields.join("`, `");
                return Err(Problem {
                    what: format!("{what} `{of}` has no field `{key}`"),
                    hint: Some(match nearest(key, fields.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("it has `{list}`"),
                    }),
                });
            }
            if let Some(problem) = condition.problem() {
                return Err(format!("`{key}`: {problem}").into());
            }
            for operand in condition.operands() {
                self.validate_operand(key, operand, known, own)?;
            }
        }
        Ok(())
    }

    fn validate_operand(
        &self,
        key: &str,
        operand: &Operand,
        known: &Known<'_>,
        own: &BTreeMap<String, bool>,
    ) -> Result<(), Problem> {
        let value = match operand {
            Operand::Captured(name)
                if known.captured.contains_key(name) || own.contains_key(name) =>
            {
                return Ok(());
            }
            Operand::Captured(name) => return Err(not_captured(name)),
            Operand::Value(value) => value,
        };
        let Some(text) = value.as_str() else { return Ok(()) };
        let chosen = CHOICES.iter().find(|(field, _)| *field == key);
        let closed = !matches!(self.kind, Kind::Event(_));
        if let Some((_, choices)) = chosen.filter(|(_, choices)| closed && !choices.contains(&text))
        {
            let list = choices.join("`, `");
            return Err(format!("`{key}` is never `{text}`, only `{list}`").into());
        }
        if !self.holds_node(key) {
            return Ok(());
        }
        let target: Target = text.parse()?;
        if target.is_choice() && target != Target::Follower {
            return Err(
                format!("`{target}` is a choice, which an event cannot be compared with").into()
            );
        }
        for part in target.parts() {
            match part {
                Target::Node(node) if !known.nodes.contains(node) => return Err(no_node(*node)),
                Target::Step(name) if !known.steps.contains(&name.as_str()) => {
                    return Err(format!("there is no step `{name}`").into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a record is one of these. `captured` is what this trigger has captured so far, and
    /// `name_of` knows the steps by their ids.
    fn matches(
        &self,
        record: &Record,
        bindings: &Bindings,
        captured: &BTreeMap<String, Value>,
        name_of: &BTreeMap<u64, String>,
    ) -> bool {
        let named = match (&record.body, &self.kind) {
            (Body::Node(node), Kind::Event(name)) => node.event.name() == name,
            (Body::Harness(event), Kind::Event(name)) => event.name() == name,
            (Body::Op(op), Kind::Op(name)) => op.f == *name,
            (Body::Fault(fault), Kind::Step(name)) => name_of.get(&fault.id) == Some(name),
            (Body::Fault(fault), Kind::Fault(name)) => fault.fault == *name,
            _ => false,
        };
        if !named {
            return false;
        }
        // A step is over at its end, unless its begin is asked for.
        let ended = matches!(&record.body, Body::Fault(fault) if fault.outcome.is_none());
        if ended && !self.conditions.contains_key("phase") {
            return false;
        }
        self.conditions.iter().all(|(key, condition)| {
            let Some(found) = find(record, key) else { return false };
            let node_field = self.holds_node(key);
            condition.holds(&found, &Scope { bindings, captured, node_field })
        })
    }
}

/// The value of a field, or of a part of one: `zxid.counter`.
fn find(record: &Record, key: &str) -> Option<Value> {
    let mut parts = key.split('.');
    let mut found = record.field(parts.next()?)?;
    for part in parts {
        found = found.get_mut(part)?.take();
    }
    Some(found)
}

pub(crate) fn not_captured(name: &str) -> Problem {
    Problem {
        what: format!("nothing captures `${name}`"),
        hint: Some(format!(
            "capture it in the pattern of an earlier step, for example `in-term = \"${name}\"`"
        )),
    }
}

pub(crate) fn no_node(node: NodeId) -> Problem {
    format!("there is no node `{node}` in this cluster").into()
}

/// How far a pattern has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Progress {
    /// How often each of its records has been seen.
    seen: Vec<u32>,
    captured: BTreeMap<String, Value>,
}

impl Progress {
    /// Takes note of a record, and says whether the pattern is complete now. `armed` says whether
    /// the record is no longer the past of the step.
    pub(crate) fn observe(
        &mut self,
        pattern: &Pattern,
        record: &Record,
        armed: bool,
        bindings: &Bindings,
        name_of: &BTreeMap<u64, String>,
    ) -> bool {
        let leaves = pattern.leaves();
        self.seen.resize(leaves.len(), 0);
        let mut progressed = false;
        for (leaf, seen) in leaves.into_iter().zip(&mut self.seen) {
            let open = *seen < leaf.count && (armed || leaf.is_lasting());
            if !open || !leaf.matches(record, bindings, &self.captured, name_of) {
                continue;
            }
            *seen += 1;
            progressed = true;
            if *seen < leaf.count {
                continue;
            }
            for (key, condition) in &leaf.conditions {
                if let (Some(name), Some(value)) = (condition.captures(), find(record, key))
                    && bindings.captured(name).is_none()
                {
                    self.captured.entry(name.to_owned()).or_insert(value);
                }
            }
        }
        progressed && self.is_complete(pattern)
    }

    /// Whether everything that the pattern waits for has come.
    pub(crate) fn is_complete(&self, pattern: &Pattern) -> bool {
        fn complete(pattern: &Pattern, seen: &mut impl Iterator<Item = u32>) -> bool {
            match pattern {
                Pattern::One(one) => seen.next().unwrap_or(0) >= one.count,
                // Every branch takes its own counts, whatever the others say.
                Pattern::AllOf(all) => {
                    all.iter().map(|one| complete(one, seen)).fold(true, |a, b| a & b)
                }
                Pattern::AnyOf(any) => {
                    any.iter().map(|one| complete(one, seen)).fold(false, |a, b| a | b)
                }
            }
        }
        complete(pattern, &mut self.seen.iter().copied())
    }

    /// What was captured on the way.
    pub(crate) fn into_captured(self) -> BTreeMap<String, Value> {
        self.captured
    }

    /// How often each record was seen, for a person.
    pub(crate) fn seen(&self, pattern: &Pattern) -> String {
        let seen = |index| self.seen.get(index).copied().unwrap_or(0);
        let counts = pattern.leaves().into_iter().enumerate();
        let texts: Vec<_> =
            counts.map(|(i, leaf)| format!("seen {} of {}", seen(i), leaf.count())).collect();
        texts.join(", ")
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.fields();
        let mut map = serializer.serialize_map(Some(fields.len()))?;
        // What kind it is comes first: it is read by people.
        let first = ["event", "op", "step", "fault", "all-of", "any-of"];
        let kind = first.into_iter().find(|key| fields.contains_key(*key)).unwrap_or_default();
        for (key, value) in fields.iter().filter(|(key, _)| *key == kind) {
            map.serialize_entry(key, value)?;
        }
        for (key, value) in fields.iter().filter(|(key, _)| *key != kind) {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(Map::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
