//! Every history of a few operations, once up to what no verdict may depend on.
//!
//! A history of `n` operations by `p` processes, each of which waits for its answer, and whose last
//! operation may get none, is made of two things: the operations' kinds, and which of them returned
//! before which was called. Nothing else is to matter, so histories that agree in it are made once:
//!
//! - *The names of processes.* The checker reads them only to print them. At most `p` operations are
//!   open at once, those without an answer included; then `p` processes are enough, as interval
//!   graphs are coloured greedily.
//! - *The order of neighbouring calls, and of neighbouring returns.* A history is a row of runs:
//!   calls, returns, calls, … Each interval order has exactly one such row, because a run of calls
//!   with a return before and after it cannot be merged with another (this is the matrix with
//!   non-empty rows and columns of Dukes & Parviainen, Electron. J. Combin. 17 (2010), R53). Within
//!   a run calls are made in the order of their kinds, and returns in that of their calls.
//! - *Which of two equal operations is which.* Of those that are called in one run and equal, the
//!   first returns first.
//! - *The names of values*, where the alphabet is closed under renaming them. Models compare them and
//!   nothing else, so a history is made only if its values are first mentioned in ascending order. None is lost: of all renamings of a history take
//!   that whose row of kinds comes first in the order of the alphabet, in which a kind with a smaller
//!   value comes before the same with a larger one. If it mentioned a value while a smaller one was
//!   unused, exchanging the two would make an earlier row.
//!
//! Beside a history goes what the oracle knows of it: all pairs of a state and a set of open
//! operations that have taken effect, over all orders so far. That is every order, tried once for all
//! histories that begin alike. An empty set stays empty.

use usurper_checks::linearizability::{Model, Operation};

/// An operation to make histories of, and the numbers of the values it mentions, from 1, in order.
#[derive(Clone, Debug)]
pub(crate) struct Kind<O> {
    pub(crate) op: O,
    pub(crate) mentions: &'static [usize],
}

/// What to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Exactly so many operations.
    pub(crate) operations: usize,
    pub(crate) processes: usize,
    /// Whether what only observes may get no answer, too. It says nothing then.
    pub(crate) unanswered_observations: bool,
    /// Whether histories go on after a return that no order reaches. Otherwise they end there: what
    /// is open then stays without an answer, and there may be fewer operations.
    pub(crate) beyond_invalid: bool,
    /// Of the histories' beginnings, those whose number leaves this rest by that divisor.
    pub(crate) shard: (usize, usize),
}

/// A beginning of so many operations counts for the shards.
const BEGINNING: usize = 3;

/// Calls `visit` with every history, and with whether it has an order.
pub(crate) fn every_history<M: Model>(
    model: &M,
    kinds: &[Kind<M::Op>],
    bounds: Bounds,
    visit: &mut impl FnMut(&[Operation<M::Op>], bool),
) {
    let mut arena = M::Arena::default();
    let start = Reached { state: model.initial(&mut arena), done: 0 };
    let (ops, open, runs) = (Vec::new(), Vec::new(), Vec::new());
    let mut walk = Walk { model, arena, kinds, bounds, ops, open, runs, beginnings: 0, visit };
    walk.go(Place { position: 1, run: 0, last: Last::Nothing, values: 0 }, &[start]);
}

/// A state, and which operations have taken effect in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reached<S> {
    state: S,
    done: u32,
}

#[derive(Clone, Copy)]
enum Last {
    Nothing,
    Call { kind: usize, pending: bool },
    Return { op: usize },
}

#[derive(Clone, Copy)]
struct Place {
    position: u64,
    /// The number of the run.
    run: usize,
    last: Last,
    /// How many values were mentioned.
    values: usize,
}

struct Walk<'a, M: Model, F> {
    model: &'a M,
    arena: M::Arena,
    kinds: &'a [Kind<M::Op>],
    bounds: Bounds,
    ops: Vec<Operation<M::Op>>,
    open: Vec<usize>,
    /// The kind and the run in which each operation was called.
    runs: Vec<(usize, usize)>,
    beginnings: usize,
    visit: &'a mut F,
}

impl<M: Model, F: FnMut(&[Operation<M::Op>], bool)> Walk<'_, M, F> {
    fn go(&mut self, place: Place, reached: &[Reached<M::State>]) {
        let is_whole = self.ops.len() == self.bounds.operations && self.open.is_empty();
        if is_whole || reached.is_empty() && !self.bounds.beyond_invalid {
            // A history that ends before shards begin belongs to the first one.
            if self.ops.len() >= self.beginning() || self.bounds.shard.0 == 0 {
                (self.visit)(&self.ops, !reached.is_empty());
            }
            return;
        }
        self.returns(place, reached);
        if self.ops.len() < self.bounds.operations {
            self.calls(place, reached);
        }
    }

    fn beginning(&self) -> usize {
        BEGINNING.min(self.bounds.operations)
    }

    fn returns(&mut self, place: Place, reached: &[Reached<M::State>]) {
        let run = place.run + usize::from(!matches!(place.last, Last::Return { .. }));
        for at in 0..self.open.len() {
            let op = self.open[at];
            if matches!(place.last, Last::Return { op: before } if before > op) {
                continue;
            }
            if self.open[..at].iter().any(|other| self.runs[*other] == self.runs[op]) {
                continue; // an equal one returns first
            }
            let after = self.after_return(op, reached);
            self.open.remove(at);
            self.ops[op].ret = Some(place.position);
            let (position, last) = (place.position + 1, Last::Return { op });
            self.go(Place { position, run, last, ..place }, &after);
            self.ops[op].ret = None;
            self.open.insert(at, op);
        }
    }

    fn calls(&mut self, place: Place, reached: &[Reached<M::State>]) {
        let unanswered = self.ops.iter().filter(|op| op.ret.is_none()).count();
        if unanswered == self.bounds.processes {
            return;
        }
        let run = place.run + usize::from(matches!(place.last, Last::Return { .. }));
        for kind in 0..self.kinds.len() {
            let mut values = place.values;
            let grows = |value: &usize| {
                values = values.max(*value.min(&(values + 1)));
                *value <= values
            };
            if !self.kinds[kind].mentions.iter().all(grows) {
                continue;
            }
            let op = &self.kinds[kind].op;
            let answered = !self.bounds.unanswered_observations && self.model.only_observes(op);
            for pending in [false, true] {
                if pending && answered {
                    continue;
                }
                if matches!(place.last, Last::Call { kind: before, pending: was }
                    if (before, was) > (kind, pending))
                {
                    continue;
                }
                if self.ops.len() + 1 == self.beginning() {
                    self.beginnings += 1;
                    if self.beginnings % self.bounds.shard.1 != self.bounds.shard.0 {
                        continue;
                    }
                }
                let process = u32::try_from(self.ops.len()).expect("few operations");
                let op = self.kinds[kind].op.clone();
                let call = place.position;
                self.ops.push(Operation { process, key: 0, call, ret: None, op });
                self.runs.push((kind, run));
                if !pending {
                    self.open.push(self.ops.len() - 1);
                }
                let (position, last) = (place.position + 1, Last::Call { kind, pending });
                self.go(Place { position, run, last, values }, reached);
                if !pending {
                    self.open.pop();
                }
                self.runs.pop();
                self.ops.pop();
            }
        }
    }

    /// What can be reached if an operation has taken effect by now.
    fn after_return(&mut self, op: usize, reached: &[Reached<M::State>]) -> Vec<Reached<M::State>> {
        // There are a few dozen at most.
        let mut known: Vec<Reached<M::State>> = reached.to_vec();
        let (mut after, mut at) = (Vec::new(), 0);
        while let Some(from) = known.get(at).cloned() {
            at += 1;
            if from.done >> op & 1 == 1 {
                after.push(from);
                continue;
            }
            for (next, operation) in self.ops.iter().enumerate() {
                if operation.ret.is_some() || from.done >> next & 1 == 1 {
                    continue;
                }
                if let Some(state) = self.model.step(&mut self.arena, &from.state, &operation.op) {
                    let to = Reached { state, done: from.done | 1 << next };
                    if !known.contains(&to) {
                        known.push(to);
                    }
                }
            }
        }
        after
    }
}
