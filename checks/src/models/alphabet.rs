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
    Budget, FastMap, Pace, Shortcut, Spent, Timed, narrow, sort,
    zones::{Access, zones},
};

/// To compare two texts takes about so many steps, and to go over so many bytes takes one.
const STEPS_OF_TEXT: usize = 16;
const STEP_BYTES: usize = 16;
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
    pub(super) fn new(
        classes: &'a [TextOp],
        ops: &'a [Timed],
        pace: &mut Pace<'_>,
    ) -> Result<Option<Self>, Spent> {
        let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); classes.len()];
        for (place, op) in ops.iter().enumerate() {
            pace.step()?;
            if !op.is_pending() || !matches!(classes[op.class as usize], TextOp::Get(_)) {
                of_class[op.class as usize].push(place);
            }
        }
        let (mut pieces, mut gets) = (Vec::new(), Vec::new());
        for (op, mut of_class) in classes.iter().zip(of_class) {
            pace.step()?;
            if of_class.is_empty() {
                continue;
            }
            sort(&mut of_class, 1, |place| ops[*place].call, pace)?;
            match op {
                TextOp::Get(text) => {
                    pace.steps(of_class.len())?;
                    let rets = || of_class.iter().map(|place| ops[*place].ret);
                    let first_ret = rets().min().unwrap_or(u64::MAX);
                    let last_ret = rets().max().unwrap_or(0);
                    gets.push(Get { text, ops: of_class, node: 0, first_ret, last_ret });
                }
                TextOp::Put(text) => pieces.push(Piece { text, is_put: true, ops: of_class }),
                TextOp::Append(text) => pieces.push(Piece { text, is_put: false, ops: of_class }),
            }
        }
        let pieces = sorted(pieces, |piece| (piece.text, piece.is_put), pace)?;
        let gets = sorted(gets, |get| (get.text, false), pace)?;
        // The empty piece begins every other, even if it is the only one.
        let ambiguous = pieces.windows(2).any(|pair| pair[1].text.starts_with(pair[0].text));
        let empty = pieces.first().is_some_and(|piece| piece.text.is_empty());
        Ok((!ambiguous && !empty).then(|| {
            let root =
                Node { before: 0, piece: usize::MAX, get: usize::MAX, first_ret: 0, last_ret: 0 };
            Self { ops, pieces, gets, nodes: vec![root] }
        }))
    }

    pub(super) fn decide(
        mut self,
        pace: &mut Pace<'_>,
        budget: &dyn Budget,
    ) -> Result<Shortcut, Spent> {
        if let Err(suspects) = self.spell(pace)? {
            return Ok(Shortcut::Invalid { suspects });
        }
        self.note_times(pace)?;
        let Some(candidates) = self.candidates(pace)? else { return Ok(Shortcut::Inapplicable) };
        let choices: usize = candidates.iter().map(|some| some.len().max(1)).product();
        let mut blamed: Suspects = self.nodes.iter().skip(1).map(|node| node.get).collect();
        for choice in 0..choices {
            let accesses = self.accesses(&candidates, choice, pace)?;
            let Some((values, accesses)) = accesses else { continue };
            match zones(values, &accesses, self.ops, budget) {
                Shortcut::Invalid { suspects } if choices == 1 => blamed = suspects,
                Shortcut::Invalid { suspects } => blamed.extend(suspects),
                other => return Ok(other),
            }
        }
        sort(&mut blamed, 1, |place| *place, pace)?;
        blamed.dedup();
        Ok(Shortcut::Invalid { suspects: blamed })
    }

    /// Finds the pieces of each text that was got, or gets that nothing explains.
    fn spell(&mut self, pace: &mut Pace<'_>) -> Result<Result<(), Suspects>, Spent> {
        let mut numbers: FastMap<(u32, u32), u32> = FastMap::default();
        // All at once, because to grow takes long: each operation makes one node at most.
        numbers.reserve(self.pieces.iter().map(|piece| piece.ops.len()).sum());
        // How many nodes end with each piece.
        let mut shown = vec![0; self.pieces.len()];
        // Where the pieces of the last text end, and at which nodes. Texts are sorted, so that a
        // text and the next often have a beginning in common.
        let mut ends: Vec<(usize, u32)> = vec![(0, 0)];
        let mut last = "";
        for get in &mut self.gets {
            pace.steps(1 + last.len() / STEP_BYTES)?;
            let same = last.bytes().zip(get.text.bytes()).take_while(|(a, b)| a == b).count();
            while ends.last().is_some_and(|(end, _)| *end > same) {
                ends.pop();
            }
            loop {
                pace.steps(STEPS_OF_TEXT)?;
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
                let Some(at) = found else { return Ok(Err(vec![get.ops[0]])) };
                let piece = &self.pieces[at];
                if piece.is_put && before != 0 {
                    return Ok(Err(vec![get.ops[0]]));
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
                    return Ok(Err(of_piece.map(|node| node.get).collect()));
                }
                ends.push((end + piece.text.len(), node));
            }
            last = get.text;
        }
        Ok(Ok(()))
    }

    /// Notes for each node when it was shown.
    fn note_times(&mut self, pace: &mut Pace<'_>) -> Result<(), Spent> {
        for get in &self.gets {
            let mut at = get.node as usize;
            while at != 0 {
                pace.step()?;
                let node = &mut self.nodes[at];
                if node.first_ret <= get.first_ret && node.last_ret >= get.last_ret {
                    break; // and so for all before it
                }
                node.first_ret = node.first_ret.min(get.first_ret);
                node.last_ret = node.last_ret.max(get.last_ret);
                at = node.before as usize;
            }
        }
        Ok(())
    }

    /// The operations that may have made each node; none at all where a put may have made the same
    /// text twice, or where there are too many ways.
    fn candidates(&self, pace: &mut Pace<'_>) -> Result<Option<Vec<Vec<usize>>>, Spent> {
        let (mut candidates, mut choices) = (vec![Vec::new()], 1);
        for node in &self.nodes[1..] {
            let piece = &self.pieces[node.piece];
            pace.steps(piece.ops.len())?;
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
                choices *= some.len();
                if piece.is_put && some.len() > 1 || choices > CHOICES_MAX {
                    return Ok(None);
                }
            }
            candidates.push(some);
        }
        Ok(Some(candidates))
    }

    /// What each operation does if this choice of candidates is the truth; none if it takes one
    /// operation twice.
    fn accesses(
        &self,
        candidates: &[Vec<usize>],
        mut choice: usize,
        pace: &mut Pace<'_>,
    ) -> Result<Option<(usize, Vec<Access>)>, Spent> {
        let mut accesses = vec![Access::Ignored; self.ops.len()];
        for get in &self.gets {
            pace.steps(get.ops.len())?;
            get.ops.iter().for_each(|place| accesses[*place] = Access::Reads(get.node));
        }
        for (number, (node, some)) in self.nodes.iter().zip(candidates).enumerate().skip(1) {
            pace.step()?;
            let maker = some[choice % some.len()];
            choice /= some.len();
            if accesses[maker] != Access::Ignored {
                return Ok(None);
            }
            let number = narrow(number);
            accesses[maker] = match self.pieces[node.piece].is_put {
                true => Access::Writes(number),
                false => Access::Moves(node.before, number),
            };
        }
        let mut values = narrow(self.nodes.len());
        for place in self.pieces.iter().flat_map(|piece| &piece.ops) {
            pace.step()?;
            if accesses[*place] == Access::Ignored {
                accesses[*place] = Access::Writes(values);
                values += 1;
            }
        }
        Ok(Some((values as usize, accesses)))
    }
}

/// By text.
fn sorted<'a, T>(
    list: Vec<T>,
    key: impl Fn(&T) -> (&'a str, bool),
    pace: &mut Pace<'_>,
) -> Result<Vec<T>, Spent> {
    let mut keys: Vec<((&str, bool), usize)> = list.iter().map(&key).zip(0..).collect();
    sort(&mut keys, STEPS_OF_TEXT, |(key, _)| *key, pace)?;
    let mut list: Vec<Option<T>> = list.into_iter().map(Some).collect();
    Ok(keys.into_iter().filter_map(|(_, at)| list[at].take()).collect())
}
