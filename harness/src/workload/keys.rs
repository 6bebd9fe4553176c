//! The names of the keys in use.
//!
//! Some keys wear out. A list that has grown long makes each read of it long. A lock whose taking has
//! an unknown outcome may be held by nobody who knows its token. Each addition to a counter whose
//! outcome is unknown doubles what the counter may hold. Such a key is left for good, and a new one
//! takes its place.

use super::spec::Kind;
use crate::system::Operated;
use usurper_history::OpType;

/// Elements of a list or of a set, at most.
const ELEMENTS_MAX: u32 = 500;
/// Additions of unknown outcome to a counter, at most.
const UNKNOWN_MAX: u32 = 8;

#[derive(Debug)]
pub(super) struct Keys {
    kind: Kind,
    keys: Vec<Key>,
    /// Names of keys that were left.
    left: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Key {
    /// How many have stood in this place before.
    before: u32,
    elements: u32,
    unknown: u32,
}

impl Keys {
    pub(super) fn new(kind: Kind, count: u32) -> Self {
        Self { kind, keys: vec![Key::default(); count as usize], left: Vec::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.keys.len()
    }

    /// The name of the key in this place.
    pub(super) fn name(&self, place: usize) -> String {
        match self.keys[place].before {
            0 => format!("k{}", place + 1),
            before => format!("k{}.{}", place + 1, before + 1),
        }
    }

    /// Every key that was ever used.
    pub(super) fn all(&self) -> Vec<String> {
        let current = (0..self.count()).map(|place| self.name(place));
        self.left.iter().cloned().chain(current).collect()
    }

    /// Takes note of an operation's end. Whether its key is left now.
    pub(super) fn ended(&mut self, place: usize, name: &str, f: &str, operated: &Operated) -> bool {
        if self.name(place) != name {
            return true;
        }
        let key = &mut self.keys[place];
        let changes = f != "read";
        key.elements += u32::from(changes);
        key.unknown += u32::from(changes && operated.op_type == OpType::Info);
        let worn = match self.kind {
            Kind::Register => false,
            Kind::List | Kind::Set => key.elements >= ELEMENTS_MAX,
            Kind::Counter => key.unknown >= UNKNOWN_MAX,
            Kind::Lock => key.unknown > 0,
        };
        if worn {
            self.left.push(self.name(place));
            self.keys[place] = Key { before: self.keys[place].before + 1, ..Key::default() };
        }
        worn
    }
}

#[cfg(test)]
mod tests {
    use usurper_history::OpType;

    use super::{ELEMENTS_MAX, Keys};
    use crate::{system::Operated, workload::Kind};

    fn ended(keys: &mut Keys, f: &str, op_type: OpType) -> bool {
        let name = keys.name(0);
        keys.ended(0, &name, f, &Operated::new(op_type))
    }

    #[test]
    fn a_lock_of_unknown_holder_is_left_for_another() {
        let mut keys = Keys::new(Kind::Lock, 2);
        assert!(!ended(&mut keys, "acquire", OpType::Ok));
        assert!(!ended(&mut keys, "release", OpType::Fail));
        assert!(ended(&mut keys, "acquire", OpType::Info));
        assert_eq!(keys.all(), ["k1", "k1.2", "k2"]);
        // Whoever still asked for the first one says nothing about the second.
        assert!(keys.ended(0, "k1", "release", &Operated::new(OpType::Info)));
        assert_eq!(keys.name(0), "k1.2");
    }

    #[test]
    fn a_list_does_not_grow_for_ever_and_a_register_stays() {
        let (mut list, mut register) = (Keys::new(Kind::List, 1), Keys::new(Kind::Register, 1));
        for _ in 1..ELEMENTS_MAX {
            assert!(!ended(&mut list, "append", OpType::Ok));
            assert!(!ended(&mut list, "read", OpType::Ok));
            assert!(!ended(&mut register, "write", OpType::Info));
        }
        assert!(ended(&mut list, "append", OpType::Ok));
        assert!(!ended(&mut register, "write", OpType::Info));
    }
}
