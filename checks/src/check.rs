//! What a check is, and the list of those there are.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use usurper_history::{Header, Record};

use crate::{findings::Outcome, rules, timeline::Timeline};

/// A rule that a history is held against, one record at a time.
pub(crate) trait Check {
    /// Time has come to `now`, and what the timeline shows held until then.
    ///
    /// Called before the record of that time is taken in: here a bound runs out.
    fn advance(&mut self, _now: u64, _timeline: &Timeline) {}

    /// One more record; the timeline shows what holds from it on.
    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline);

    /// The history has ended, at `now`.
    fn finish(self: Box<Self>, now: u64, timeline: &Timeline) -> Outcome;
}

/// A check that a history can ask for.
#[derive(Debug)]
pub struct CheckInfo {
    /// The name in a history's header, in a suite and in a verdict.
    pub name: &'static str,
    /// What it says when it is valid, in one line.
    pub summary: &'static str,
    /// Where the rule comes from.
    pub source: &'static str,
    /// The events without which it cannot judge.
    pub needs: &'static [&'static str],
    /// The names of its options and what each means. Values are positive integers.
    pub options: &'static [(&'static str, &'static str)],
    pub(crate) make: fn(&Header, &Options) -> Box<dyn Check>,
}

/// Every check that there is, by name.
pub const CHECKS: &[CheckInfo] = &[
    rules::cannot_rejoin::INFO,
    rules::commit_overreach::INFO,
    rules::connection_storm::INFO,
    rules::crash::INFO,
    rules::disruption::INFO,
    rules::double_vote::INFO,
    rules::dual_leaders::INFO,
    rules::duplicate_apply::INFO,
    rules::election_loop::INFO,
    rules::leader_completeness::INFO,
    rules::log_divergence::INFO,
    rules::lost_commit::INFO,
    rules::mutual_follow::INFO,
    rules::no_leader::INFO,
    rules::persist_before_ack::INFO,
    rules::stale_leader_heartbeat::INFO,
    rules::state_divergence::INFO,
    rules::term_rollback::INFO,
    rules::zombie_leader::INFO,
];

/// The options given to a check.
#[derive(Debug, Default)]
pub(crate) struct Options {
    given: BTreeMap<String, u64>,
}

impl Options {
    pub(crate) fn get(&self, name: &str) -> Option<u64> {
        self.given.get(name).copied()
    }
}

/// Why a history's header asks for what cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("unknown check `{name}`{}", hint(nearest))]
    UnknownCheck { name: String, nearest: Vec<&'static str> },
    #[error("check `{check}` has no option `{option}`{}", hint(nearest))]
    UnknownOption { check: &'static str, option: String, nearest: Vec<&'static str> },
    #[error("option `{option}` of check `{check}` is `{value}`, expected a positive integer")]
    BadValue { check: &'static str, option: String, value: Value },
    #[error("the options of check `{check}` are `{value}`, expected an object")]
    NotAnObject { check: &'static str, value: Value },
}

fn hint(nearest: &[&str]) -> String {
    let names: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { String::new() } else { format!(", expected {}", names.join(" or ")) }
}

impl CheckInfo {
    /// Looks a check up by its name.
    ///
    /// # Errors
    /// When there is none; the error names the nearest.
    pub fn find(name: &str) -> Result<&'static Self, RequestError> {
        CHECKS.iter().find(|check| check.name == name).ok_or_else(|| RequestError::UnknownCheck {
            name: name.to_owned(),
            nearest: nearest(name, CHECKS.iter().map(|check| check.name)),
        })
    }

    /// Says whether these are options of this check, without judging anything.
    ///
    /// # Errors
    /// When an option is unknown or its value is not a positive integer.
    pub fn validate(&'static self, options: &Value) -> Result<(), RequestError> {
        self.parse(options).map(drop)
    }

    pub(crate) fn parse(&'static self, options: &Value) -> Result<Options, RequestError> {
        let check = self.name;
        let empty = Map::new();
        let options = match options {
            Value::Null => &empty,
            Value::Object(options) => options,
            value => return Err(RequestError::NotAnObject { check, value: value.clone() }),
        };
        let mut given = BTreeMap::new();
        for (option, value) in options {
            if !self.options.iter().any(|(name, _)| name == option) {
                return Err(RequestError::UnknownOption {
                    check,
                    option: option.clone(),
                    nearest: nearest(option, self.options.iter().map(|(name, _)| *name)),
                });
            }
            let number = value.as_u64().filter(|number| *number > 0).ok_or_else(|| {
                RequestError::BadValue { check, option: option.clone(), value: value.clone() }
            })?;
            given.insert(option.clone(), number);
        }
        Ok(Options { given })
    }

    /// The events that this check needs and that a system does not emit.
    pub fn missing(&self, events: &[String]) -> Vec<String> {
        let lacks = |need: &&&str| !events.iter().any(|event| event == **need);
        self.needs.iter().filter(lacks).map(|need| (*need).to_owned()).collect()
    }
}

/// The names that a misspelt one most likely means: the closest two, or all when there are few.
fn nearest(name: &str, names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut near: Vec<(usize, &'static str)> =
        names.map(|known| (strsim::damerau_levenshtein(name, known), known)).collect();
    near.sort_unstable();
    near.into_iter().take(2).map(|(_, known)| known).collect()
}
