//! Every history of a few operations, each once up to renaming.

use usurper_checks::linearizability::Operation;

/// Calls `visit` with every history of exactly `count` operations of which at most `open_max` of
/// known outcome are open at once, with or without operations of unknown outcome.
///
/// Neighbouring calls may be swapped without changing anything, and so may neighbouring returns, so
/// only one order of each is made.
pub(crate) fn every_history<O: Clone>(
    kinds: &[O],
    count: usize,
    open_max: usize,
    visit: &mut impl FnMut(&[Operation<O>]),
) {
    let mut walk = Walk { kinds, count, open_max, ops: Vec::new(), open: Vec::new(), visit };
    walk.go(1, Last::Nothing);
}

#[derive(Clone, Copy)]
enum Last {
    Nothing,
    Call { kind: usize, pending: bool },
    Return { op: usize },
}

struct Walk<'a, O, F> {
    kinds: &'a [O],
    count: usize,
    open_max: usize,
    ops: Vec<Operation<O>>,
    open: Vec<usize>,
    visit: &'a mut F,
}

impl<O: Clone, F: FnMut(&[Operation<O>])> Walk<'_, O, F> {
    fn go(&mut self, position: u64, last: Last) {
        if self.ops.len() == self.count && self.open.is_empty() {
            (self.visit)(&self.ops);
            return;
        }
        for at in 0..self.open.len() {
            let op = self.open[at];
            if matches!(last, Last::Return { op: before } if before > op) {
                continue;
            }
            self.open.remove(at);
            self.ops[op].ret = Some(position);
            self.go(position + 1, Last::Return { op });
            self.ops[op].ret = None;
            self.open.insert(at, op);
        }
        if self.ops.len() == self.count {
            return;
        }
        for kind in 0..self.kinds.len() {
            for pending in [false, true] {
                if !pending && self.open.len() == self.open_max {
                    continue;
                }
                if matches!(last, Last::Call { kind: before, pending: was }
                    if (before, was) > (kind, pending))
                {
                    continue;
                }
                let process = u32::try_from(self.ops.len()).expect("few operations");
                let op = self.kinds[kind].clone();
                self.ops.push(Operation { process, key: 0, call: position, ret: None, op });
                if !pending {
                    self.open.push(self.ops.len() - 1);
                }
                self.go(position + 1, Last::Call { kind, pending });
                if !pending {
                    self.open.pop();
                }
                self.ops.pop();
            }
        }
    }
}
