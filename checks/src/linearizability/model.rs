//! What an object does: the sequential specification that a history is held against.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::{BuildHasherDefault, Hash, Hasher},
};

use super::operation::{Timed, narrow};

/// A sequential object.
///
/// An operation is given with its result, so a step only says whether that result is right in a
/// state, and which state follows.
pub trait Model: Sync {
    /// What was asked and what came back.
    type Op: Clone + Debug + Eq + Hash + Send + Sync;
    /// A state; equal states behave alike.
    type State: Clone + Debug + Eq + Hash;
    /// Where states that share parts keep them; `()` for most.
    type Arena: Default;

    /// The state before anything happened.
    fn initial(&self, arena: &mut Self::Arena) -> Self::State;

    /// The state after an operation, or none where its result is wrong in this state.
    fn step(
        &self,
        arena: &mut Self::Arena,
        state: &Self::State,
        op: &Self::Op,
    ) -> Option<Self::State>;

    /// Whether this operation leaves every state in which it is right as it was: reads, failed
    /// compare-and-sets. A search linearizes such operations as soon as it can.
    fn only_observes(&self, op: &Self::Op) -> bool;

    /// A few words for a person: `write 3`.
    fn describe(&self, op: &Self::Op) -> String;

    /// Decides without a search, where this model and these operations allow it.
    fn shortcut(&self, _classes: &[Self::Op], _ops: &[Timed]) -> Shortcut {
        Shortcut::Inapplicable
    }

    /// Every state that any of these operations could leave or look for, if they are few. It lets a
    /// counterexample leave out a long past.
    fn states(&self, _classes: &[Self::Op]) -> Option<Vec<Self::State>> {
        None
    }
}

/// What a [`Model::shortcut`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// It does not apply; search.
    Inapplicable,
    /// There is an order.
    Valid,
    /// There is none.
    Invalid {
        /// Places in the list of operations that are enough to show it, roughly.
        suspects: Vec<usize>,
    },
}

/// Hashing for numbers of our own making; nobody can choose them against us.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = mix(self.0, word);
    }
}

pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<Mixer>>;

/// Equal operations get one number.
pub(crate) fn classify<'a, O: Clone + Eq + Hash + 'a>(
    ops: impl Iterator<Item = &'a O>,
) -> (Vec<O>, Vec<u32>) {
    let mut classes = Vec::new();
    let mut numbers: FastMap<O, u32> = FastMap::default();
    let of = ops
        .map(|op| {
            if let Some(number) = numbers.get(op) {
                return *number;
            }
            let number = narrow(classes.len());
            classes.push(op.clone());
            numbers.insert(op.clone(), number);
            number
        })
        .collect();
    (classes, of)
}

/// A model with its states numbered and its steps remembered.
pub(crate) struct Machine<'a, M: Model> {
    model: &'a M,
    classes: &'a [M::Op],
    arena: M::Arena,
    states: Vec<M::State>,
    numbers: FastMap<M::State, u32>,
    /// A row per state while there are few of them, so that a step is one look-up.
    rows: Vec<u32>,
    /// Beyond, a cache of fixed size: a forgotten step is done again.
    cache: Vec<(u32, u32, u32)>,
}

const ROWS_WORDS_MAX: usize = 1 << 20;
const CACHE_BITS: u32 = 16;
const UNKNOWN: u32 = u32::MAX;
const WRONG: u32 = u32::MAX - 1;

impl<'a, M: Model> Machine<'a, M> {
    pub(crate) fn new(model: &'a M, classes: &'a [M::Op]) -> Self {
        Self {
            model,
            classes,
            arena: M::Arena::default(),
            states: Vec::new(),
            numbers: FastMap::default(),
            rows: Vec::new(),
            cache: Vec::new(),
        }
    }

    pub(crate) fn initial(&mut self) -> u32 {
        let state = self.model.initial(&mut self.arena);
        self.number(state)
    }

    /// Every state that the model can name, as numbers.
    pub(crate) fn any_state(&mut self) -> Option<Vec<u32>> {
        let states = self.model.states(self.classes)?;
        Some(states.into_iter().map(|state| self.number(state)).collect())
    }

    pub(crate) fn only_observes(&self, class: u32) -> bool {
        self.model.only_observes(&self.classes[class as usize])
    }

    /// About how many bytes the states take.
    pub(crate) fn bytes(&self) -> usize {
        self.states.len() * (2 * size_of::<M::State>() + 24) + self.rows.len() * 4
    }

    fn number(&mut self, state: M::State) -> u32 {
        if let Some(number) = self.numbers.get(&state) {
            return *number;
        }
        let number = narrow(self.states.len());
        self.states.push(state.clone());
        self.numbers.insert(state, number);
        if self.states.len() * self.classes.len() <= ROWS_WORDS_MAX {
            self.rows.resize(self.states.len() * self.classes.len(), UNKNOWN);
        }
        number
    }

    #[inline]
    pub(crate) fn step(&mut self, state: u32, class: u32) -> Option<u32> {
        let place = state as usize * self.classes.len() + class as usize;
        match self.rows.get(place) {
            Some(&WRONG) => None,
            Some(&UNKNOWN) | None => self.step_anew(state, class, place),
            Some(&next) => Some(next),
        }
    }

    fn step_anew(&mut self, state: u32, class: u32, place: usize) -> Option<u32> {
        let in_rows = place < self.rows.len();
        let slot = (mix(u64::from(state), u64::from(class)) >> (64 - CACHE_BITS)) as usize;
        if !in_rows {
            if self.cache.is_empty() {
                self.cache.resize(1 << CACHE_BITS, (UNKNOWN, UNKNOWN, UNKNOWN));
            }
            let (known_state, known_class, next) = self.cache[slot];
            if (known_state, known_class) == (state, class) {
                return (next != WRONG).then_some(next);
            }
        }
        let from = self.states[state as usize].clone();
        let next = self.model.step(&mut self.arena, &from, &self.classes[class as usize]);
        let next = next.map(|next| self.number(next));
        let word = next.unwrap_or(WRONG);
        if in_rows {
            self.rows[place] = word;
        } else {
            self.cache[slot] = (state, class, word);
        }
        next
    }
}
