//! Histories that are right or nearly so: really played, then sometimes told a little wrong.

use usurper_checks::{
    linearizability::{Model, Operation},
    models::{ListOp, RegisterOp, TextOp, Value},
};

use crate::{
    exhaustive::Kind,
    random::{Chance, Shape, play},
};

/// What a history is made by.
#[derive(Clone, Copy)]
pub(crate) struct Near {
    pub(crate) operations: usize,
    pub(crate) processes: usize,
    pub(crate) unknown_one_in: usize,
    /// One in so many operations may be any, whether it is right or not.
    pub(crate) wrong_one_in: usize,
}

/// Plays operations of some kinds: each is chosen, when it takes effect, among those that are right.
pub(crate) fn near<M: Model>(
    chance: &mut Chance,
    model: &M,
    kinds: &[Kind<M::Op>],
    how: Near,
) -> Vec<Operation<M::Op>> {
    struct Open<O> {
        process: u32,
        call: u64,
        op: Option<O>,
    }
    let mut arena = M::Arena::default();
    let mut state = model.initial(&mut arena);
    let mut open: Vec<Open<M::Op>> = Vec::new();
    let mut ops = Vec::new();
    let (mut begun, mut position) = (0, 0);
    while begun < how.operations || !open.is_empty() {
        position += 1;
        if begun < how.operations
            && open.len() < how.processes
            && (open.is_empty() || chance.one_in(2))
        {
            open.push(Open {
                process: u32::try_from(begun).expect("small"),
                call: position,
                op: None,
            });
            begun += 1;
            continue;
        }
        let at = chance.below(open.len());
        if let Some(op) = open[at].op.take() {
            let Open { process, call, .. } = open.swap_remove(at);
            ops.push(Operation { process, key: 0, call, ret: Some(position), op });
            continue;
        }
        let any = kinds[chance.below(kinds.len())].op.clone();
        let right: Vec<(M::Op, M::State)> = kinds
            .iter()
            .filter_map(|kind| Some((kind.op.clone(), model.step(&mut arena, &state, &kind.op)?)))
            .collect();
        let unknown = chance.one_in(how.unknown_one_in);
        let wrong = right.is_empty() || chance.one_in(how.wrong_one_in);
        let never = unknown && chance.one_in(2);
        let op = if wrong || never {
            any
        } else {
            let (op, next) = right[chance.below(right.len())].clone();
            state = next;
            op
        };
        if unknown {
            let Open { process, call, .. } = open.swap_remove(at);
            ops.push(Operation { process, key: 0, call, ret: None, op });
        } else {
            open[at].op = Some(op);
        }
    }
    ops.sort_by_key(|op| op.call);
    ops
}

/// Gives some observations the results of others.
fn mix_up<O: Clone>(
    chance: &mut Chance,
    ops: &mut [Operation<O>],
    observes: impl Fn(&O) -> bool,
    most: usize,
) {
    let places: Vec<usize> = (0..ops.len()).filter(|at| observes(&ops[*at].op)).collect();
    if places.is_empty() {
        return;
    }
    for _ in 0..chance.below(most + 1) {
        let (to, from) = (chance.below(places.len()), chance.below(places.len()));
        ops[places[to]].op = ops[places[from]].op.clone();
    }
}

fn shape(chance: &mut Chance) -> Shape {
    Shape {
        operations: 6 + chance.below(20),
        processes: 2 + chance.below(5),
        keys: 1,
        unknown_one_in: [0, 10][chance.below(2)],
    }
}

/// A register of which each value is written once, also by compare-and-sets.
pub(crate) fn unique_register(chance: &mut Chance) -> Vec<Operation<RegisterOp>> {
    let (shape, casses) = (shape(chance), chance.one_in(2));
    let mut next = 0;
    let mut ops = play(
        chance,
        shape,
        &Value::Nil,
        |chance| {
            next += 1;
            (chance.below(if casses { 5 } else { 3 }), next)
        },
        |state, (what, fresh), _| {
            let fresh = Value::Int(*fresh);
            match what {
                0 => {
                    *state = fresh.clone();
                    RegisterOp::Write(fresh)
                }
                3 => RegisterOp::Cas { from: std::mem::replace(state, fresh.clone()), to: fresh },
                4 => RegisterOp::CasFailed { from: fresh },
                _ => RegisterOp::Read(state.clone()),
            }
        },
    );
    let reads = |op: &RegisterOp| matches!(op, RegisterOp::Read(_));
    mix_up(chance, &mut ops, reads, 2);
    ops
}

/// A list to which each element is appended once.
pub(crate) fn unique_list(chance: &mut Chance) -> Vec<Operation<ListOp>> {
    let shape = shape(chance);
    let mut next = 0;
    let mut ops = play(
        chance,
        shape,
        &Vec::new(),
        |chance| {
            next += 1;
            chance.one_in(2).then_some(Value::Int(next))
        },
        |state: &mut Vec<Value>, append, _| match append {
            Some(value) => {
                state.push(value.clone());
                ListOp::Append(value.clone())
            }
            None => ListOp::Read(state.clone()),
        },
    );
    mix_up(chance, &mut ops, |op| matches!(op, ListOp::Read(_)), 2);
    ops
}

/// A text of pieces that do not begin each other; some are put or appended twice.
pub(crate) fn pieces_of_text(chance: &mut Chance) -> Vec<Operation<TextOp>> {
    let (shape, puts) = (shape(chance), chance.one_in(2));
    let repeats = chance.below(3);
    let mut next = 0;
    let mut ops = play(
        chance,
        shape,
        &String::new(),
        |chance| {
            next += 1;
            let piece = if chance.below(8) < repeats { 1 + chance.below(4) } else { 100 + next };
            (chance.below(if puts { 5 } else { 4 }), piece)
        },
        |state: &mut String, (what, piece), _| match what {
            0 | 1 => {
                let piece = format!("<{piece}>");
                state.push_str(&piece);
                TextOp::Append(piece.as_str().into())
            }
            4 => {
                *state = format!("({piece})");
                TextOp::Put(state.as_str().into())
            }
            _ => TextOp::Get(state.as_str().into()),
        },
    );
    mix_up(chance, &mut ops, |op| matches!(op, TextOp::Get(_)), 2);
    ops
}
