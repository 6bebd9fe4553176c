//! What a pattern asks of one field: a value, a comparison, or a name to capture the value under.

use std::collections::BTreeMap;

use serde_json::Value;
use usurper_history::NodeId;

use crate::target::{Bindings, Target};

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// The longer signs first, so that `>=` is not read as `>`.
const SIGNS: &[(&str, Comparison)] = &[
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    Value(Value),
    /// What is captured under this name.
    Captured(String),
}

/// What one field must be. Reads `3`, `"n1"`, `">= 3"`, `"!= leader"`, `"$t"`, `["ok", "info"]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    Compare(Comparison, Operand),
    /// One of several.
    OneOf(Vec<Operand>),
}

/// What a condition is looked at with.
pub(crate) struct Scope<'a> {
    pub(crate) bindings: &'a Bindings,
    /// What this very trigger has captured so far.
    pub(crate) captured: &'a BTreeMap<String, Value>,
    /// Whether the field holds nodes, so that a target names some.
    pub(crate) node_field: bool,
}

impl Operand {
    fn read(value: &Value) -> Self {
        let name = value.as_str().and_then(|text| text.strip_prefix('$'));
        match name.filter(|name| !name.is_empty()) {
            Some(name) => Self::Captured(name.to_owned()),
            None => Self::Value(value.clone()),
        }
    }

    /// After a sign, `3` is a number although it stands in a text.
    fn read_after_sign(text: &str) -> Self {
        match text.parse::<serde_json::Number>() {
            Ok(number) => Self::Value(Value::Number(number)),
            Err(_) => Self::read(&Value::String(text.to_owned())),
        }
    }
}

impl Condition {
    pub(crate) fn read(value: &Value) -> Self {
        match value {
            Value::Array(items) => Self::OneOf(items.iter().map(Operand::read).collect()),
            Value::String(text) => {
                let sign = SIGNS.iter().find(|(sign, _)| text.starts_with(sign));
                match sign {
                    Some((sign, comparison)) => {
                        let operand = Operand::read_after_sign(text[sign.len()..].trim_start());
                        Self::Compare(*comparison, operand)
                    }
                    None => Self::Compare(Comparison::Equal, Operand::read(value)),
                }
            }
            _ => Self::Compare(Comparison::Equal, Operand::Value(value.clone())),
        }
    }

    /// The name that the field is captured under, if nothing is captured under it before.
    pub(crate) fn captures(&self) -> Option<&str> {
        match self {
            Self::Compare(Comparison::Equal, Operand::Captured(name)) => Some(name),
            _ => None,
        }
    }

    /// Everything that the field is compared with.
    pub(crate) fn operands(&self) -> Vec<&Operand> {
        match self {
            Self::Compare(_, operand) => vec![operand],
            Self::OneOf(operands) => operands.iter().collect(),
        }
    }

    /// What is wrong with it, whatever the field.
    pub(crate) fn problem(&self) -> Option<String> {
        let Self::Compare(comparison, Operand::Value(value)) = self else { return None };
        let ordered = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        (ordered && !value.is_number()).then(|| format!("{value} is no number to compare with"))
    }

    /// Whether a found value is what is asked for.
    ///
    /// A name that nothing is captured under is met by any value, and the caller captures it.
    pub(crate) fn holds(&self, found: &Value, scope: &Scope<'_>) -> bool {
        match self {
            Self::OneOf(operands) => {
                // A field that is a list itself is meant as a whole.
                if found.is_array() {
                    let whole: Option<Vec<_>> = operands.iter().map(|o| scope.value(o)).collect();
                    return whole.is_some_and(|whole| *found == Value::Array(whole));
                }
                (operands.iter())
                    .any(|operand| scope.value(operand).is_some() && scope.equal(found, operand))
            }
            Self::Compare(Comparison::Equal, operand) => scope.equal(found, operand),
            Self::Compare(Comparison::NotEqual, operand) => !scope.equal(found, operand),
            Self::Compare(comparison, operand) => {
                let Some(value) = scope.value(operand) else { return false };
                let Some(order) = order(found, &value) else { return false };
                match comparison {
                    Comparison::Less => order.is_lt(),
                    Comparison::AtMost => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    _ => order.is_ge(),
                }
            }
        }
    }
}

impl Scope<'_> {
    fn value(&self, operand: &Operand) -> Option<Value> {
        match operand {
            Operand::Value(value) => Some(value.clone()),
            Operand::Captured(name) => {
                self.captured.get(name).or_else(|| self.bindings.captured(name)).cloned()
            }
        }
    }

    fn equal(&self, found: &Value, operand: &Operand) -> bool {
        let Some(value) = self.value(operand) else { return true };
        if *found == value {
            return true;
        }
        match found {
            // A list holds a value.
            Value::Array(items) if !value.is_array() => {
                items.iter().any(|item| *item == value || self.means(item, &value))
            }
            _ => self.means(found, &value),
        }
    }

    /// Whether a found node is one that a target means now.
    fn means(&self, found: &Value, value: &Value) -> bool {
        let target = value.as_str().filter(|_| self.node_field).map(str::parse::<Target>);
        let Some(Ok(target)) = target else { return false };
        // A pattern must not spend the schedule's random choices: `follower` means any of them.
        let target = if target == Target::Follower { Target::Followers } else { target };
        let node = found.as_str().and_then(|text| text.parse::<NodeId>().ok());
        let meant = self.bindings.resolve(&target, None, &mut |_| 0);
        matches!((node, meant), (Some(node), Ok(nodes)) if nodes.contains(&node))
    }
}

/// The order of two numbers.
fn order(one: &Value, other: &Value) -> Option<std::cmp::Ordering> {
    match (one.as_u64(), other.as_u64()) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}
