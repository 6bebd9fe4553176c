//! The oracle: every order of a small history is tried, with no cleverness at all.

use usurper_checks::linearizability::{Model, Operation};

/// Whether some order of the operations is right, starting from a state.
pub(crate) fn has_order<M: Model>(model: &M, ops: &[Operation<M::Op>]) -> bool {
    let mut arena = M::Arena::default();
    let state = model.initial(&mut arena);
    any_order(model, &mut arena, &state, ops, &mut vec![false; ops.len()])
}

fn any_order<M: Model>(
    model: &M,
    arena: &mut M::Arena,
    state: &M::State,
    ops: &[Operation<M::Op>],
    done: &mut Vec<bool>,
) -> bool {
    if ops.iter().zip(&*done).all(|(op, done)| *done || op.ret.is_none()) {
        return true;
    }
    for at in 0..ops.len() {
        let too_early = |(other, done): (&Operation<M::Op>, &bool)| {
            !*done && other.ret.is_some_and(|ret| ret < ops[at].call)
        };
        if done[at] || ops.iter().zip(&*done).any(too_early) {
            continue;
        }
        if let Some(next) = model.step(arena, state, &ops[at].op) {
            done[at] = true;
            let found = any_order(model, arena, &next, ops, done);
            done[at] = false;
            if found {
                return true;
            }
        }
    }
    false
}
