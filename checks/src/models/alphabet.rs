//! The shortcut for texts: which puts and appends a text shows.
//!
//! If no piece begins another, a text is made of pieces in one way at most. Each beginning of a text
//! that was got is then a value that one append made out of the value before it: a compare-and-set
//! whose values differ, and [`zones`] decides those.
//!
//! An append that no get shows is as good as a put that no get shows: until the next put, nobody can
//! have got anything, and nothing that was got can have been appended. Where a piece was appended
//! more than once, time often says which of the operations a get shows, and elsewhere the few
//! possibilities are tried.

use super::text::TextOp;
use crate::linearizability::{
    Budget, FastMap, Shortcut, Timed, narrow,
    zones::{Access, zones},
};

/// How many ways to attribute pieces that were put more than once are tried.
const CHOICES_MAX: usize = 64;

/// One piece: all operations that put it, or all that append it.
struct Piece<'a> {
    text: &'a str,
    is_put: bool,
    /// By their calls.
    ops: Vec<usize>,
}

/// A text that was got, or a beginning of one. Node 0 is the empty text.
struct Node {
    before: u32,
    piece: usize,
    /// A get that shows it.
    get: usize,
    /// When a get that shows it first returned.
    first_ret: u64,
    /// When a get that shows it last returned.
    last_ret: u64,
}

/// The gets that returned the same text.
struct Get<'a> {
    text: &'a str,
    ops: Vec<usize>,
    node: u32,
    first_ret: u64,
    last_ret: u64,
}

/// Pieces and gets, each sorted by text.
pub(super) struct Alphabet<'a> {
    ops: &'a [Timed],
    pieces: Vec<Piece<'a>>,
    gets: Vec<Get<'a>>,
    nodes: Vec<Node>,
}

/// Places of operations which show that there is no order.
type Suspects = Vec<usize>;

impl<'a> Alphabet<'a> {
    /// None if a piece begins another, so that texts are ambiguous.
    pub(super) fn new(classes: &'a [TextOp], ops: &'a [Timed]) -> Option<Self> {
        let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); classes.len()];
        for (place, op) in ops.iter().enumerate() {
            if !op.is_pending() || !matches!(classes[op.class as usize], TextOp::Get(_)) {
                of_class[op.class as usize].push(place);
            }
        }
        let (mut pieces, mut gets) = (Vec::new(), Vec::new());
        for (op, mut of_class) in classes.iter().zip(of_class) {
            if of_class.is_empty() {
                continue;
            }
            of_class.sort_unstable_by_key(|place| ops[*place].call);
            match op {
                TextOp::Get(text) => {
                    let rets = || of_class.iter().map(|place| ops[*place].ret);
                    let first_ret = rets().min().unwrap_or(u64::MAX);
                    let last_ret = rets().max().unwrap_or(0);
                    gets.push(Get { text, ops: of_class, node: 0, first_ret, last_ret });
                }
                TextOp::Put(text) => pieces.push(Piece { text, is_put: true, ops: of_class }),
                TextOp::Append(text) => pieces.push(Piece { text, is_put: false, ops: of_class }),
            }
        }
        pieces.sort_unstable_by_key(|piece| (piece.text, piece.is_put));
        gets.sort_unstable_by_key(|get| get.text);
        // The empty piece begins every other, even if it is the only one.
        let ambiguous = pieces.windows(2).any(|pair| pair[1].text.starts_with(pair[0].text));
        let empty = pieces.first().is_some_and(|piece| piece.text.is_empty());
        (!ambiguous && !empty).then(|| {
            let root =
                Node { before: 0, piece: usize::MAX, get: usize::MAX, first_ret: 0, last_ret: 0 };
            Self { ops, pieces, gets, nodes: vec![root] }
        })
    }

    pub(super) fn decide(mut self, budget: &dyn Budget) -> Shortcut {
        if let Err(suspects) = self.spell() {
            return Shortcut::Invalid { suspects };
        }
        self.note_times();
        let Some(candidates) = self.candidates() else { return Shortcut::Inapplicable };
        let choices = candidates.iter().try_fold(1_usize, |all, some| {
            all.checked_mul(some.len().max(1)).filter(|all| *all <= CHOICES_MAX)
        });
        let Some(choices) = choices else { return Shortcut::Inapplicable };
        let mut blamed: Suspects = self.nodes.iter().skip(1).map(|node| node.get).collect();
        for choice in 0..choices {
            let Some((values, accesses)) = self.accesses(&candidates, choice) else { continue };
            match zones(values, &accesses, self.ops, budget) {
                Shortcut::Invalid { suspects } if choices == 1 => blamed = suspects,
                Shortcut::Invalid { suspects } => blamed.extend(suspects),
                other => return other,
            }
        }
        blamed.sort_unstable();
        blamed.dedup();
        Shortcut::Invalid { suspects: blamed }
    }

    /// Finds the pieces of each text that was got. An error is a list of gets that nothing explains.
    fn spell(&mut self) -> Result<(), Suspects> {
        let mut numbers: FastMap<(u32, u32), u32> = FastMap::default();
        // How many nodes end with each piece.
        let mut shown = vec![0; self.pieces.len()];
        // Where the pieces of the last text end, and at which nodes. Texts are sorted, so that a
        // text and the next often have a beginning in common.
        let mut ends: Vec<(usize, u32)> = vec![(0, 0)];
        let mut last = "";
        for get in &mut self.gets {
            let same = last.bytes().zip(get.text.bytes()).take_while(|(a, b)| a == b).count();
            while ends.last().is_some_and(|(end, _)| *end > same) {
                ends.pop();
            }
            loop {
                let (end, before) = *ends.last().expect("nothing ends before 0");
                let rest = &get.text[end..];
                if rest.is_empty() {
                    get.node = before;
                    break;
                }
                // No piece begins another, so only the last that is not greater can begin the rest.
                let after = self.pieces.partition_point(|piece| piece.text <= rest);
                let found =
                    after.checked_sub(1).filter(|at| rest.starts_with(self.pieces[*at].text));
                let Some(at) = found else { return Err(vec![get.ops[0]]) };
                let piece = &self.pieces[at];
                if piece.is_put && before != 0 {
                    return Err(vec![get.ops[0]]);
                }
                let node = *numbers.entry((before, narrow(at))).or_insert_with(|| {
                    shown[at] += 1;
                    let (first_ret, last_ret) = (u64::MAX, 0);
                    self.nodes.push(Node {
                        before,
                        piece: at,
                        get: get.ops[0],
                        first_ret,
                        last_ret,
                    });
                    narrow(self.nodes.len() - 1)
                });
                if shown[at] > piece.ops.len() {
                    let of_piece = self.nodes.iter().filter(|node| node.piece == at);
                    return Err(of_piece.map(|node| node.get).collect());
                }
                ends.push((end + piece.text.len(), node));
            }
            last = get.text;
        }
        Ok(())
    }

    /// Notes for each node when it was shown.
    fn note_times(&mut self) {
        for get in &self.gets {
            let mut at = get.node as usize;
            while at != 0 {
                let node = &mut self.nodes[at];
                if node.first_ret <= get.first_ret && node.last_ret >= get.last_ret {
                    break; // and so for all before it
                }
                node.first_ret = node.first_ret.min(get.first_ret);
                node.last_ret = node.last_ret.max(get.last_ret);
                at = node.before as usize;
            }
        }
    }

    /// The operations that may have made each node; none at all where a put may have made the same
    /// text twice.
    fn candidates(&self) -> Option<Vec<Vec<usize>>> {
        let mut candidates = vec![Vec::new()];
        for node in &self.nodes[1..] {
            let piece = &self.pieces[node.piece];
            let mut some = piece.ops.clone();
            if some.len() > 1 {
                // What was called after a get had shown it did not make it. An append makes one text
                // out of another, and that happens once. A put makes the same text each time, and
                // one get may show the one and another the other.
                let too_late = if piece.is_put { node.last_ret } else { node.first_ret };
                some.retain(|place| self.ops[*place].call <= too_late);
                if some.is_empty() {
                    some.push(piece.ops[0]); // it was too late as well, which will be found
                }
                if piece.is_put && some.len() > 1 {
                    return None;
                }
            }
            candidates.push(some);
        }
        Some(candidates)
    }

    /// What each operation does if this choice of candidates is the truth; none if it takes one
    /// operation twice.
    fn accesses(
        &self,
        candidates: &[Vec<usize>],
        mut choice: usize,
    ) -> Option<(usize, Vec<Access>)> {
        let mut accesses = vec![Access::Ignored; self.ops.len()];
        for get in &self.gets {
            get.ops.iter().for_each(|place| accesses[*place] = Access::Reads(get.node));
        }
        for (number, (node, some)) in self.nodes.iter().zip(candidates).enumerate().skip(1) {
            let maker = some[choice % some.len()];
            choice /= some.len();
            if accesses[maker] != Access::Ignored {
                return None;
            }
            let number = narrow(number);
            accesses[maker] = match self.pieces[node.piece].is_put {
                true => Access::Writes(number),
                false => Access::Moves(node.before, number),
            };
        }
        let mut values = narrow(self.nodes.len());
        for place in self.pieces.iter().flat_map(|piece| &piece.ops) {
            if accesses[*place] == Access::Ignored {
                accesses[*place] = Access::Writes(values);
                values += 1;
            }
        }
        Some((values as usize, accesses))
    }
}
