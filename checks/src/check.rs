//! What a check is, and the list of those there are.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::{Map, Value};
use usurper_history::{Header, OPERATIONS, Record};

use crate::{findings::Outcome, rules, timeline::Timeline};

/// A rule that a history is held against, one record at a time.
pub(crate) trait Check {
    /// Time has come to `now`, and what the timeline shows held until then.
    ///
    /// Called before the record of that time is taken in: here a bound runs out.
    fn advance(&mut self, _now: u64, _timeline: &Timeline) {}

    /// One more record; the timeline shows what holds from it on.
    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline);

    /// Whether there is a finding by now, whatever is still to come. A check that looks at a history
    /// as a whole knows only at its end.
    fn found(&self) -> bool {
        false
    }

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
    /// Options whose value is one of some words: name, meaning, and the words.
    pub choices: &'static [(&'static str, &'static str, &'static [&'static str])],
    pub(crate) make: fn(&Header, &Options) -> Box<dyn Check>,
}

/// Every check that there is, by name.
pub const CHECKS: &[CheckInfo] = &[
    rules::agreement::INFO,
    rules::best_candidate::INFO,
    rules::cannot_rejoin::INFO,
    rules::commit_overreach::INFO,
    rules::config_safety::INFO,
    rules::connection_storm::INFO,
    rules::crash::INFO,
    rules::disruption::INFO,
    rules::double_vote::INFO,
    rules::dual_leaders::INFO,
    rules::duplicate_apply::INFO,
    rules::election_loop::INFO,
    rules::leader_completeness::INFO,
    rules::linearizable::INFO,
    rules::log_divergence::INFO,
    rules::lost_acknowledged_write::INFO,
    rules::lost_commit::INFO,
    rules::mutual_follow::INFO,
    rules::no_leader::INFO,
    rules::persist_before_ack::INFO,
    rules::sequential::INFO,
    rules::stale_leader_heartbeat::INFO,
    rules::stale_read::INFO,
    rules::state_divergence::INFO,
    rules::term_rollback::INFO,
    rules::write_outage::INFO,
    rules::zombie_leader::INFO,
];

/// What a check may use beside the history. The checks read no clock: who judges brings one.
#[derive(Clone)]
pub struct Means {
    /// Nanoseconds since some instant. Without, no time is ever up.
    pub elapsed_ns: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
    /// Over how many threads a search is spread. The verdict does not depend on it.
    pub threads: usize,
}

impl Default for Means {
    fn default() -> Self {
        Self { elapsed_ns: None, threads: 1 }
    }
}

impl fmt::Debug for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Means").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// The options given to a check.
#[derive(Debug, Default)]
pub(crate) struct Options {
    given: BTreeMap<String, u64>,
    chosen: BTreeMap<String, &'static str>,
    pub(crate) means: Means,
}

impl Options {
    pub(crate) fn get(&self, name: &str) -> Option<u64> {
        self.given.get(name).copied()
    }

    pub(crate) fn chosen(&self, name: &str) -> Option<&'static str> {
        self.chosen.get(name).copied()
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
    #[error("option `{option}` of check `{check}` is `{value}`, expected {}", words.join(", "))]
    BadChoice { check: &'static str, option: String, value: Value, words: &'static [&'static str] },
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
        let mut parsed = Options::default();
        for (option, value) in options {
            if let Some((_, _, words)) = self.choices.iter().find(|(name, ..)| name == option) {
                let word = words.iter().find(|word| value.as_str() == Some(word));
                let word = word.ok_or_else(|| RequestError::BadChoice {
                    check,
                    option: option.clone(),
                    value: value.clone(),
                    words,
                })?;
                parsed.chosen.insert(option.clone(), word);
                continue;
            }
            let names = || self.options.iter().map(|(name, _)| *name);
            if !names().any(|name| name == option) {
                let choices = self.choices.iter().map(|(name, ..)| *name);
                return Err(RequestError::UnknownOption {
                    check,
                    option: option.clone(),
                    nearest: nearest(option, names().chain(choices)),
                });
            }
            let number = value.as_u64().filter(|number| *number > 0).ok_or_else(|| {
                RequestError::BadValue { check, option: option.clone(), value: value.clone() }
            })?;
            parsed.given.insert(option.clone(), number);
        }
        Ok(parsed)
    }

    /// Whether some check that a header asks for looks at client operations, and has what it needs.
    pub(crate) fn wants_operations(header: &Header) -> bool {
        let told = header.events.iter().any(|event| event == OPERATIONS);
        let wants = |name: &String| Self::find(name).is_ok_and(|it| it.needs.contains(&OPERATIONS));
        told && header.checks.keys().any(wants)
    }

    /// Whether it judges by what clients saw alone, whatever the nodes told of themselves.
    pub(crate) fn is_of_clients(&self) -> bool {
        self.needs == [OPERATIONS]
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
