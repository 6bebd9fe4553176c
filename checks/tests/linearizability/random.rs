//! Histories by chance, the same for the same seed.

use usurper_checks::linearizability::Operation;

/// A generator of numbers (xorshift64*, Vigna 2014).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// How a random history is made.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) operations: usize,
    pub(crate) processes: usize,
    pub(crate) keys: usize,
    /// One in this many operations has an unknown outcome; its process goes on under another name.
    pub(crate) unknown_one_in: usize,
}

/// Plays processes against real objects: each operation takes effect at a random moment between its
/// call and its return, so the history has an order.
///
/// `ask` draws what to do; `answer` does it to the state and gives the operation with its result.
pub(crate) fn play<S: Clone, Q: Clone, O>(
    chance: &mut Chance,
    shape: Shape,
    initial: &S,
    mut ask: impl FnMut(&mut Chance) -> Q,
    mut answer: impl FnMut(&mut S, &Q, bool) -> O,
) -> Vec<Operation<O>> {
    struct Open<Q, O> {
        key: u32,
        call: u64,
        ask: Q,
        answer: Option<O>,
        name: u32,
    }
    let number = |n: usize| u32::try_from(n).expect("small");
    let mut states = vec![initial.clone(); shape.keys];
    let mut open: Vec<Option<Open<Q, O>>> = (0..shape.processes).map(|_| None).collect();
    let mut names: Vec<u32> = (0..number(shape.processes)).collect();
    let mut done = Vec::new();
    let (mut begun, mut position) = (0, 0);
    while begun < shape.operations || open.iter().any(Option::is_some) {
        let process = chance.below(shape.processes);
        position += 1;
        match open[process].take() {
            None if begun < shape.operations => {
                begun += 1;
                let key = number(chance.below(shape.keys));
                let (call, name) = (position, names[process]);
                open[process] = Some(Open { key, call, ask: ask(chance), answer: None, name });
            }
            None => {}
            Some(mut op) if op.answer.is_none() => {
                let unknown = shape.unknown_one_in > 0 && chance.one_in(shape.unknown_one_in);
                let happens = !unknown || chance.one_in(2);
                let state = &mut states[op.key as usize];
                let result = if happens {
                    answer(state, &op.ask, unknown)
                } else {
                    answer(&mut state.clone(), &op.ask, true)
                };
                if unknown {
                    names[process] += number(shape.processes);
                    done.push(Operation {
                        process: op.name,
                        key: op.key,
                        call: op.call,
                        ret: None,
                        op: result,
                    });
                } else {
                    op.answer = Some(result);
                    open[process] = Some(op);
                }
            }
            Some(op) => {
                let result = op.answer.expect("answered");
                let ret = Some(position);
                done.push(Operation {
                    process: op.name,
                    key: op.key,
                    call: op.call,
                    ret,
                    op: result,
                });
            }
        }
    }
    done.sort_by_key(|op| op.call);
    done
}
