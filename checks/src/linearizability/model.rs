//! What an object does: the sequential specification that a history is held against.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::{BuildHasherDefault, Hash, Hasher},
};

use super::{
    budget::{Budget, Pace, Spent},
    operation::Timed,
    tables::Numbers,
};

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

    /// The part of the state that this operation looks at and changes; none if that is all of it.
    ///
    /// Operations on different parts must commute: in either order both are right, and leave the
    /// same state, or neither order is. A search then puts off what another part can do without.
    fn part(&self, _op: &Self::Op) -> Option<u64> {
        None
    }

    /// About how many bytes a state holds beside itself, shared ones included.
    fn heap_bytes(&self, _state: &Self::State) -> usize {
        0
    }

    /// A few words for a person: `write 3`.
    fn describe(&self, op: &Self::Op) -> String;

    /// Decides without a search, where this model and these operations allow it.
    fn shortcut(&self, _classes: &[Self::Op], _ops: &[Timed], _budget: &dyn Budget) -> Shortcut {
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
    /// The budget was spent.
    OutOfTime,
    /// There is none.
    Invalid {
        /// Places in the list of operations that are enough to show it, roughly.
        suspects: Vec<usize>,
    },
}

/// Hashing for numbers of our own making; nobody can choose them against us.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mixer {
    hash: u64,
    words: usize,
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.hash
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
        self.hash = mix(self.hash, word);
        self.words += 1;
    }
}

pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// A number for a value, equal for equal ones.
pub(crate) fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    weigh(value).0
}

/// The same, and how many words the value has: about what it costs to compare or to copy it.
fn weigh(value: &(impl Hash + ?Sized)) -> (u64, usize) {
    let mut mixer = Mixer::default();
    value.hash(&mut mixer);
    (mixer.hash, mixer.words)
}

pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<Mixer>>;

/// Equal operations get one number.
pub(crate) fn classify<'a, O: Clone + Eq + Hash + 'a>(
    ops: impl Iterator<Item = &'a O>,
    pace: &mut Pace<'_>,
) -> Result<(Vec<O>, Vec<u32>), Spent> {
    let mut classes: Vec<O> = Vec::new();
    let mut numbers = Numbers::new();
    let mut of = Vec::with_capacity(ops.size_hint().0);
    for op in ops {
        let (hash, words) = weigh(op);
        pace.steps(words)?;
        let class = numbers.of(hash, classes.len(), |at| classes[at] == *op);
        if class as usize == classes.len() {
            classes.push(op.clone());
        }
        of.push(class);
    }
    Ok((classes, of))
}

/// A model with its states numbered and its steps remembered.
pub(crate) struct Machine<'a, M: Model> {
    model: &'a M,
    classes: &'a [M::Op],
    /// What the model says of each class.
    kinds: Vec<Kind>,
    arena: M::Arena,
    states: Vec<M::State>,
    numbers: Numbers,
    heap_bytes: usize,
    /// A row per state while there are few of them, so that a step is one look-up.
    rows: Vec<u32>,
    /// Beyond, a cache of fixed size: a forgotten step is done again.
    cache: Vec<(u32, u32, u32)>,
    /// A measure of the time that steps took, beside the looking up.
    pub(crate) worked: usize,
}

/// What a search wants to know of a class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) observes: bool,
    /// How many words the operation has.
    words: u32,
    pub(crate) part: Option<u64>,
}

const ROWS_WORDS_MAX: usize = 1 << 20;
const CACHE_BITS: u32 = 16;
const UNKNOWN: u32 = u32::MAX;
const WRONG: u32 = u32::MAX - 1;
/// To copy so much of a state takes about as long as a step that is remembered.
const WORK_BYTES: usize = 64;
/// And so many words of an operation to compare.
const WORK_WORDS: usize = 8;

impl<'a, M: Model> Machine<'a, M> {
    pub(crate) fn new(
        model: &'a M,
        classes: &'a [M::Op],
        pace: &mut Pace<'_>,
    ) -> Result<Self, Spent> {
        let mut kinds = Vec::with_capacity(classes.len());
        for op in classes {
            let words = weigh(op).1;
            pace.steps(words)?;
            let words = u32::try_from(words).unwrap_or(u32::MAX);
            kinds.push(Kind { observes: model.only_observes(op), words, part: model.part(op) });
        }
        Ok(Self {
            model,
            classes,
            kinds,
            arena: M::Arena::default(),
            states: Vec::new(),
            numbers: Numbers::new(),
            heap_bytes: 0,
            rows: Vec::new(),
            cache: Vec::new(),
            worked: 0,
        })
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

    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    #[inline]
    pub(crate) fn only_observes(&self, class: u32) -> bool {
        self.kinds[class as usize].observes
    }

    /// About how many bytes the states take.
    pub(crate) fn bytes(&self) -> usize {
        let each = size_of::<M::State>() + Numbers::BYTES;
        self.states.len() * each + self.heap_bytes + self.rows.len() * 4
    }

    fn number(&mut self, state: M::State) -> u32 {
        let next = self.states.len();
        let number = self.numbers.of(hash(&state), next, |at| self.states[at] == state);
        if (number as usize) < next {
            return number;
        }
        self.heap_bytes += self.model.heap_bytes(&state);
        self.states.push(state);
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
        self.worked += self.model.heap_bytes(&from) / WORK_BYTES;
        self.worked += self.kinds[class as usize].words as usize / WORK_WORDS;
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
