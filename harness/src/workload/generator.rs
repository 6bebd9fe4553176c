//! What one client asks for next.
//!
//! A client draws from a generator of its own, seeded by the run and its number: what it asks for
//! depends on what it was answered, and not on what others do meanwhile.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use usurper_history::OpType;

use super::{
    keys::Keys,
    spec::{Kind, Workload},
};
use crate::system::{Operated, Operation};

/// The most that is added to a counter at once.
const ADD_MAX: u64 = 5;

#[derive(Debug)]
pub(super) struct Generator {
    kind: Kind,
    /// The share of each operation, summed up.
    mix: Vec<(&'static str, u32)>,
    rng: StdRng,
    /// The next value to be written, and how far the one after it is: no two clients meet.
    value: u64,
    stride: u64,
    /// What it saw last of each key.
    seen: BTreeMap<String, Value>,
    /// The place and name of the lock that it holds, with the token.
    held: Option<(usize, String, Value)>,
}

/// An operation, and the place of its key.
pub(super) struct Drawn {
    pub(super) place: usize,
    pub(super) operation: Operation,
}

impl Generator {
    pub(super) fn new(workload: &Workload, client: u32, seed: u64) -> Self {
        let mut sum = 0;
        let share = |(name, _): &(&'static str, u32)| {
            sum += workload.mix.get(*name).copied().unwrap_or(0);
            (*name, sum)
        };
        Self {
            kind: workload.kind,
            mix: workload.kind.operations().iter().map(share).collect(),
            rng: StdRng::seed_from_u64(seed ^ (u64::from(client) + 1).rotate_right(24)),
            value: u64::from(client) + 1,
            stride: u64::from(workload.clients),
            seen: BTreeMap::new(),
            held: None,
        }
    }

    pub(super) fn next(&mut self, keys: &Keys) -> Drawn {
        if self.kind == Kind::Lock
            && let Some((place, key, token)) = self.held.take()
        {
            let operation = Operation { f: "release", key: Some(key), value: Some(token) };
            return Drawn { place, operation };
        }
        let place = self.rng.random_range(0..keys.count());
        let key = keys.name(place);
        let f = if self.kind == Kind::Lock { "acquire" } else { self.draw() };
        let value = match f {
            "write" | "append" => Some(json!(self.unique())),
            "add" if self.kind == Kind::Set => Some(json!(self.unique())),
            "add" => Some(json!(self.rng.random_range(1..=ADD_MAX))),
            "cas" => {
                let seen = self.seen.get(&key).cloned().unwrap_or(Value::Null);
                Some(json!([seen, self.unique()]))
            }
            _ => None,
        };
        Drawn { place, operation: Operation { f, key: Some(key), value } }
    }

    fn draw(&mut self) -> &'static str {
        let (last, sum) = self.mix[self.mix.len() - 1];
        let at = self.rng.random_range(0..sum);
        self.mix.iter().find(|(_, upto)| at < *upto).map_or(last, |(name, _)| *name)
    }

    fn unique(&mut self) -> u64 {
        let value = self.value;
        self.value += self.stride;
        value
    }

    /// Takes note of how the last operation ended. `left`: its key is not used any more.
    pub(super) fn ended(&mut self, drawn: &Drawn, operated: &Operated, left: bool) {
        let Operation { f, key: Some(key), value } = &drawn.operation else { return };
        if left {
            self.seen.remove(key);
        }
        match (*f, operated.op_type, &operated.value) {
            ("acquire", OpType::Ok, Some(token)) => {
                self.held = Some((drawn.place, key.clone(), token.clone()));
            }
            // A release that was certainly not done is tried again, unless the lock says that it was
            // wrong. One that may have been done is not: its token may be another's by now.
            ("release", OpType::Fail, _) if operated.error.is_some() && !left => {
                if let Some(token) = value {
                    self.held = Some((drawn.place, key.clone(), token.clone()));
                }
            }
            _ if left || self.kind != Kind::Register => {}
            ("read", OpType::Ok, Some(value)) => {
                self.seen.insert(key.clone(), value.clone());
            }
            ("write", OpType::Ok, _) => {
                self.seen.extend(value.clone().map(|value| (key.clone(), value)));
            }
            ("cas", OpType::Ok, _) => {
                let new = value.as_ref().map(|pair| pair[1].clone());
                self.seen.extend(new.map(|value| (key.clone(), value)));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};
    use usurper_history::OpType;

    use super::Generator;
    use crate::{
        system::Operated,
        workload::{Kind, Workload, WorkloadArgs, keys::Keys},
    };

    fn workload(kind: Kind) -> Workload {
        let resolved = Workload::resolve(Some(Workload::new(kind)), &WorkloadArgs::default());
        resolved.unwrap_or_else(|f| panic!("{:#}", f.error)).expect("it was given")
    }

    fn ok(value: Value) -> Operated {
        Operated { value: Some(value), ..Operated::new(OpType::Ok) }
    }

    #[test]
    fn a_client_asks_the_same_for_the_same_seed_and_not_what_another_does() {
        let of = |client, seed| {
            let workload = workload(Kind::Register);
            let (mut generator, keys) =
                (Generator::new(&workload, client, seed), Keys::new(Kind::Register, 3));
            (0..20).map(|_| format!("{:?}", generator.next(&keys).operation)).collect::<Vec<_>>()
        };
        assert_eq!(of(0, 7), of(0, 7));
        assert_ne!(of(0, 7), of(1, 7));
        assert_ne!(of(0, 7), of(0, 8));
    }

    #[test]
    fn no_value_is_written_twice() {
        let mut written = BTreeSet::new();
        let (workload, keys) = (workload(Kind::Register), Keys::new(Kind::Register, 3));
        for client in 0..workload.clients {
            let mut generator = Generator::new(&workload, client, 7);
            for _ in 0..200 {
                let operation = generator.next(&keys).operation;
                let value = match (operation.f, operation.value) {
                    ("write", Some(value)) => value,
                    ("cas", Some(pair)) => pair[1].clone(),
                    _ => continue,
                };
                assert!(written.insert(value.as_u64()), "{value} twice");
            }
        }
        assert!(written.len() > 300);
    }

    #[test]
    fn a_share_of_nothing_is_never_drawn() {
        let mut workload = workload(Kind::Register);
        workload.mix = [("cas".to_owned(), 1)].into();
        let (mut generator, keys) = (Generator::new(&workload, 0, 7), Keys::new(Kind::Register, 1));
        assert!((0..50).all(|_| generator.next(&keys).operation.f == "cas"));
    }

    #[test]
    fn a_cas_tries_what_was_seen_last() {
        let mut workload = workload(Kind::Register);
        workload.mix = [("read".to_owned(), 1)].into();
        let keys = Keys::new(Kind::Register, 1);
        let mut generator = Generator::new(&workload, 0, 7);
        let read = generator.next(&keys);
        generator.ended(&read, &ok(json!(41)), false);
        generator.mix = vec![("cas", 1)];
        let cas = generator.next(&keys);
        assert_eq!(cas.operation.value, Some(json!([41, 1])));
        generator.ended(&cas, &Operated::new(OpType::Ok), false);
        assert_eq!(generator.next(&keys).operation.value, Some(json!([1, 6])));
    }

    #[test]
    fn a_lock_is_given_back_with_its_token_and_only_by_its_holder() {
        let (workload, keys) = (workload(Kind::Lock), Keys::new(Kind::Lock, 1));
        let mut generator = Generator::new(&workload, 0, 7);
        let acquire = generator.next(&keys);
        assert_eq!(acquire.operation.f, "acquire");
        generator.ended(&acquire, &Operated::new(OpType::Fail), false);
        let acquire = generator.next(&keys);
        assert_eq!(acquire.operation.f, "acquire");
        generator.ended(&acquire, &ok(json!(12)), false);
        for refused in [true, false] {
            let release = generator.next(&keys);
            assert_eq!(
                (release.operation.f, &release.operation.value),
                ("release", &Some(json!(12)))
            );
            let op_type = if refused { OpType::Fail } else { OpType::Ok };
            let error = refused.then(|| "not leader".to_owned());
            generator.ended(&release, &Operated { error, ..Operated::new(op_type) }, false);
        }
        assert_eq!(generator.next(&keys).operation.f, "acquire");
    }
}
