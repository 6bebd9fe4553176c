//! Histories that are drawn blindly.

use usurper_checks::linearizability::{Model, Operation};

use crate::random::Chance;

/// A history of operations drawn blindly: mostly without an order.
pub(crate) fn scatter<M: Model>(
    chance: &mut Chance,
    operations: usize,
    open_max: usize,
    unknown_one_in: usize,
    mut draw: impl FnMut(&mut Chance, usize) -> M::Op,
) -> Vec<Operation<M::Op>> {
    let mut ops: Vec<Operation<M::Op>> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut position = 0;
    while ops.len() < operations || !open.is_empty() {
        position += 1;
        if ops.len() < operations && open.len() < open_max && (open.is_empty() || chance.one_in(2))
        {
            let at = ops.len();
            let process = u32::try_from(at).expect("small");
            ops.push(Operation {
                process,
                key: 0,
                call: position,
                ret: None,
                op: draw(chance, at),
            });
            if unknown_one_in == 0 || !chance.one_in(unknown_one_in) {
                open.push(at);
            }
        } else {
            let at = open.swap_remove(chance.below(open.len()));
            ops[at].ret = Some(position);
        }
    }
    ops
}
