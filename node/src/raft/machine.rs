//! The state machine that the log is applied to: keys, counters and client sessions.
//!
//! Everything in it follows from the entries and their order alone, so that all nodes agree:
//! sessions, too, and which of them is forgotten when there are too many.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::command::{Command, Entry, Function, fnv1a};

/// The session that was used longest ago is forgotten when there are more.
const SESSIONS_MAX: usize = 10_000;

/// What an operation came to; `Err` says why it changed nothing.
pub type Answer = Result<Value, Refusal>;

/// Why an operation changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// It was looked at, and the answer is no: another value stands there, the lock is held.
    No(String),
    /// It makes no sense here.
    Wrong(String),
}

/// Keys, counters and sessions, as the entries that were applied made them.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    values: BTreeMap<String, Value>,
    sessions: BTreeMap<u64, Session>,
    /// XOR of a digest of each key with its value and each session with its state.
    digest: u64,
}

/// A state as plain data: values are JSON as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    values: Vec<(String, String)>,
    sessions: Vec<(u64, SavedSession)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedSession {
    serial: u64,
    answer: Result<String, Refusal>,
    used: u64,
}

impl Saved {
    /// The defect `snapshot-without-sessions`.
    pub(crate) fn forget_sessions(&mut self) {
        self.sessions.clear();
    }
}

#[derive(Clone, Debug)]
struct Session {
    /// The operation that was applied last, and its answer.
    serial: u64,
    answer: Answer,
    /// The index of the entry that used it last.
    used: u64,
}

impl Machine {
    /// Equal states have equal digests.
    pub fn digest(&self) -> String {
        format!("{:016x}", self.digest)
    }

    pub(crate) fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// The state as plain data.
    pub fn save(&self) -> Saved {
        let session = |(id, it): (&u64, &Session)| {
            let answer = it.answer.as_ref().map(Value::to_string).map_err(Clone::clone);
            (*id, SavedSession { serial: it.serial, answer, used: it.used })
        };
        Saved {
            values: self.values.iter().map(|(key, it)| (key.clone(), it.to_string())).collect(),
            sessions: self.sessions.iter().map(session).collect(),
        }
    }

    /// The state that was saved. Its digest follows from it.
    pub fn restore(saved: Saved) -> Self {
        let parsed = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        let mut machine = Self::default();
        for (key, text) in saved.values {
            machine.set(&key, parsed(&text));
        }
        for (id, SavedSession { serial, answer, used }) in saved.sessions {
            let answer = answer.map(|text| parsed(&text));
            machine.remember(id, Session { serial, answer, used });
        }
        machine
    }

    /// The value of a key; null if it has none.
    pub fn get(&self, key: &str) -> Value {
        self.values.get(key).cloned().unwrap_or(Value::Null)
    }

    pub(crate) fn has_session(&self, id: u64) -> bool {
        self.sessions.contains_key(&id)
    }

    pub(crate) fn forget(&mut self, id: u64) {
        if let Some(session) = self.sessions.remove(&id) {
            self.digest ^= session.digest(id);
        }
    }

    /// Whether this operation of a session would take effect, and is not one that was done before.
    pub fn is_new(&self, session: u64, serial: u64) -> bool {
        self.sessions.get(&session).is_some_and(|known| serial > known.serial)
    }

    /// Applies an entry, and says what it came to.
    pub fn apply(&mut self, entry: &Entry) -> Answer {
        let index = entry.id.index;
        match &entry.command {
            Command::Noop => Ok(Value::Null),
            Command::Configure(config) => Ok(json!(config)),
            Command::Register => {
                self.remember(index, Session { serial: 0, answer: Ok(Value::Null), used: index });
                self.forget_oldest();
                Ok(json!(index))
            }
            Command::Operate { session: None, f, key, value } => {
                self.operate(index, *f, key, value)
            }
            Command::Operate { session: Some((id, serial)), f, key, value } => {
                let Some(session) = self.sessions.get(id) else {
                    return Err(Refusal::Wrong(format!("there is no session {id}")));
                };
                if *serial < session.serial {
                    return Err(Refusal::Wrong(format!(
                        "operation {serial} of session {id} is over"
                    )));
                }
                let answer = if *serial == session.serial {
                    session.answer.clone()
                } else {
                    self.operate(index, *f, key, value)
                };
                let session = Session { serial: *serial, answer: answer.clone(), used: index };
                self.remember(*id, session);
                answer
            }
        }
    }

    fn operate(&mut self, index: u64, f: Function, key: &str, value: &str) -> Answer {
        let wrong = |reason: String| Err(Refusal::Wrong(reason));
        let value: Value = match serde_json::from_str(value) {
            Ok(value) => value,
            Err(error) => return wrong(error.to_string()),
        };
        let old = self.get(key);
        match f {
            Function::Read => Ok(old),
            Function::Write => {
                self.set(key, value);
                Ok(Value::Null)
            }
            Function::Cas => {
                let pair = match value {
                    Value::Array(pair) => <[Value; 2]>::try_from(pair).ok(),
                    _ => None,
                };
                let Some([expected, new]) = pair else {
                    return wrong("`cas` takes `[expected, new]`".to_owned());
                };
                if old != expected {
                    return Err(Refusal::No(format!("`{key}` is {old}, not {expected}")));
                }
                self.set(key, new);
                Ok(Value::Null)
            }
            Function::Append => {
                let mut list = match old {
                    Value::Null => Vec::new(),
                    Value::Array(list) => list,
                    other => return wrong(format!("`{key}` is {other}, not a list")),
                };
                list.push(value);
                self.set(key, Value::Array(list));
                Ok(Value::Null)
            }
            Function::Advance => {
                let (old, step) = (old.as_u64().unwrap_or(0), value.as_u64().unwrap_or(0));
                let new = json!(old.saturating_add(step));
                self.set(key, new.clone());
                Ok(new)
            }
            // Held is the token of the holder, free is nothing. The entry's own index is a token that
            // grows from one holder to the next, whatever became of the lock in between.
            Function::Acquire if old.is_null() => {
                self.set(key, json!(index));
                Ok(json!(index))
            }
            Function::Acquire => Err(Refusal::No(format!("`{key}` is held with token {old}"))),
            Function::Release if !old.is_null() && old == value => {
                self.remove(key);
                Ok(Value::Null)
            }
            Function::Release => Err(Refusal::No(format!("`{key}` is not held with {value}"))),
            Function::Delete => {
                self.remove(key);
                Ok(Value::Null)
            }
        }
    }

    fn set(&mut self, key: &str, value: Value) {
        let digest = |value: &Value| fnv1a(&[key.as_bytes(), value.to_string().as_bytes()]);
        self.digest ^= digest(&value);
        if let Some(old) = self.values.insert(key.to_owned(), value) {
            self.digest ^= digest(&old);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(old) = self.values.remove(key) {
            self.digest ^= fnv1a(&[key.as_bytes(), old.to_string().as_bytes()]);
        }
    }

    fn remember(&mut self, id: u64, session: Session) {
        self.digest ^= session.digest(id);
        if let Some(old) = self.sessions.insert(id, session) {
            self.digest ^= old.digest(id);
        }
    }

    fn forget_oldest(&mut self) {
        if self.sessions.len() <= SESSIONS_MAX {
            return;
        }
        let oldest = self.sessions.iter().min_by_key(|(_, session)| session.used);
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.forget(id);
        }
    }
}

impl Session {
    fn digest(&self, id: u64) -> u64 {
        let answer = format!("{:?}", self.answer);
        let numbers = [id, self.serial, self.used].map(u64::to_be_bytes).concat();
        fnv1a(&[&numbers, answer.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use usurper_history::EntryId;

    use super::{Answer, Machine, Refusal, SESSIONS_MAX};
    use crate::raft::command::{Command, Entry, Function};

    struct Applied {
        machine: Machine,
        index: u64,
    }

    impl Applied {
        fn new() -> Self {
            Self { machine: Machine::default(), index: 0 }
        }

        fn command(&mut self, command: Command) -> Answer {
            self.index += 1;
            let id = EntryId { term: 1, index: self.index };
            self.machine.apply(&Entry { id, command })
        }

        fn on(&mut self, session: Option<(u64, u64)>, f: Function, value: &Value) -> Answer {
            let (key, value) = ("x".to_owned(), value.to_string());
            self.command(Command::Operate { session, f, key, value })
        }
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let mut applied = Applied::new();
        assert_eq!(applied.on(None, Function::Read, &json!(null)), Ok(json!(null)));
        applied.on(None, Function::Write, &json!(3)).unwrap();
        assert_eq!(applied.on(None, Function::Read, &json!(null)), Ok(json!(3)));
        let other = applied.on(None, Function::Cas, &json!([4, 5]));
        assert_eq!(other, Err(Refusal::No("`x` is 3, not 4".to_owned())));
        applied.on(None, Function::Cas, &json!([3, 5])).unwrap();
        assert_eq!(applied.machine.get("x"), json!(5));
        assert!(applied.on(None, Function::Append, &json!(1)).is_err());
        let wrong = applied.on(None, Function::Cas, &json!(1));
        assert_eq!(wrong, Err(Refusal::Wrong("`cas` takes `[expected, new]`".to_owned())));
    }

    #[test]
    fn a_lock_is_held_by_one_and_its_tokens_grow() {
        let mut applied = Applied::new();
        let nothing = json!(null);
        let first = applied.on(None, Function::Acquire, &nothing).unwrap();
        let held = applied.on(None, Function::Acquire, &nothing);
        assert!(matches!(held, Err(Refusal::No(_))), "{held:?}");
        let stranger = applied.on(None, Function::Release, &json!(99));
        assert!(matches!(stranger, Err(Refusal::No(_))), "{stranger:?}");
        applied.on(None, Function::Release, &first).unwrap();
        // Neither a free lock nor one that somebody else took since is given back.
        assert!(applied.on(None, Function::Release, &nothing).is_err());
        let second = applied.on(None, Function::Acquire, &nothing).unwrap();
        assert!(second.as_u64() > first.as_u64(), "{first} {second}");
        assert!(applied.on(None, Function::Release, &first).is_err());
    }

    #[test]
    fn a_key_that_was_removed_leaves_no_trace() {
        let (mut applied, empty) = (Applied::new(), Machine::default());
        applied.on(None, Function::Write, &json!(1)).unwrap();
        applied.on(None, Function::Delete, &json!(null)).unwrap();
        assert_eq!(applied.machine.get("x"), json!(null));
        assert_eq!(applied.machine.digest(), empty.digest());
    }

    #[test]
    fn a_list_grows_at_its_end_and_a_counter_by_its_step() {
        let mut applied = Applied::new();
        applied.on(None, Function::Append, &json!("a")).unwrap();
        applied.on(None, Function::Append, &json!("b")).unwrap();
        assert_eq!(applied.machine.get("x"), json!(["a", "b"]));
        let mut applied = Applied::new();
        applied.on(None, Function::Advance, &json!(2)).unwrap();
        assert_eq!(applied.on(None, Function::Advance, &json!(5)), Ok(json!(7)));
    }

    #[test]
    fn an_operation_that_is_sent_twice_is_applied_once() {
        let mut applied = Applied::new();
        let session = applied.command(Command::Register).unwrap().as_u64().unwrap();
        for _ in 0..2 {
            let answer = applied.on(Some((session, 1)), Function::Advance, &json!(1));
            assert_eq!(answer, Ok(json!(1)));
        }
        assert_eq!(applied.on(Some((session, 2)), Function::Advance, &json!(1)), Ok(json!(2)));
        let late = applied.on(Some((session, 1)), Function::Advance, &json!(1));
        let over = "operation 1 of session 1 is over".to_owned();
        assert_eq!(late, Err(Refusal::Wrong(over)));
    }

    #[test]
    fn an_unknown_session_changes_nothing() {
        let mut applied = Applied::new();
        assert!(applied.on(Some((7, 1)), Function::Write, &json!(1)).is_err());
        assert_eq!(applied.machine.get("x"), json!(null));
    }

    #[test]
    fn the_session_used_longest_ago_is_forgotten() {
        let mut applied = Applied::new();
        for _ in 0..SESSIONS_MAX {
            applied.command(Command::Register).unwrap();
        }
        applied.on(Some((1, 1)), Function::Write, &json!(1)).unwrap();
        applied.command(Command::Register).unwrap();
        assert!(applied.on(Some((1, 2)), Function::Write, &json!(2)).is_ok());
        assert!(applied.on(Some((2, 1)), Function::Write, &json!(3)).is_err());
    }

    #[test]
    fn a_saved_state_is_restored_with_its_sessions() {
        let mut applied = Applied::new();
        let session = applied.command(Command::Register).unwrap().as_u64().unwrap();
        applied.on(None, Function::Write, &json!({"a": [1, "b"]})).unwrap();
        applied.on(Some((session, 1)), Function::Cas, &json!([1, 2])).unwrap_err();
        let saved = applied.machine.save();
        let mut restored =
            Applied { machine: Machine::restore(saved.clone()), index: applied.index };
        assert_eq!(restored.machine.digest(), applied.machine.digest());
        assert_eq!(restored.machine.save(), saved);
        // What was refused once is refused again, from memory.
        restored.on(None, Function::Write, &json!(1)).unwrap();
        restored.on(Some((session, 1)), Function::Cas, &json!([1, 2])).unwrap_err();
        assert_eq!(restored.machine.get("x"), json!(1));
        let mut without = saved;
        without.forget_sessions();
        assert_ne!(Machine::restore(without).digest(), applied.machine.digest());
    }

    #[test]
    fn the_digest_is_of_the_state_and_not_of_the_way_there() {
        let (mut one, mut other) = (Applied::new(), Applied::new());
        one.on(None, Function::Write, &json!(1)).unwrap();
        assert_ne!(one.machine.digest(), other.machine.digest());
        other.on(None, Function::Write, &json!(2)).unwrap();
        other.on(None, Function::Write, &json!(1)).unwrap();
        assert_eq!(one.machine.digest(), other.machine.digest());
    }
}
