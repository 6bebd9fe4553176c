//! A text under one key: get, put, append. A missing text is empty.

use std::{collections::HashMap, sync::Arc};

use crate::linearizability::{
    Model, Shortcut, Timed,
    growth::{Growth, growth},
    zones::{Access, zones},
};

/// One text, empty at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text;

/// An operation on a text, with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TextOp {
    /// The whole text.
    Get(Arc<str>),
    Put(Arc<str>),
    Append(Arc<str>),
}

/// Texts as chains of what was appended, so that equal beginnings are stored once.
///
/// The same text may have two chains if it was appended in different pieces. A search then misses
/// that two states are equal, which costs it time and nothing else.
#[derive(Debug, Default)]
pub struct Chains {
    links: Vec<Link>,
    children: HashMap<(u32, Arc<str>), u32>,
}

#[derive(Debug)]
struct Link {
    /// What comes before; the first link is the empty text.
    before: u32,
    piece: Arc<str>,
    bytes: usize,
}

impl Chains {
    fn append(&mut self, before: u32, piece: &Arc<str>) -> u32 {
        if piece.is_empty() {
            return before;
        }
        if let Some(link) = self.children.get(&(before, piece.clone())) {
            return *link;
        }
        let link = crate::linearizability::narrow(self.links.len());
        let bytes = self.links[before as usize].bytes + piece.len();
        self.links.push(Link { before, piece: piece.clone(), bytes });
        self.children.insert((before, piece.clone()), link);
        link
    }

    fn is(&self, mut link: u32, mut text: &str) -> bool {
        if self.links[link as usize].bytes != text.len() {
            return false;
        }
        while !text.is_empty() {
            let last = &self.links[link as usize];
            let Some(rest) = text.strip_suffix(&*last.piece) else { return false };
            (link, text) = (last.before, rest);
        }
        true
    }
}

impl Model for Text {
    type Op = TextOp;
    type State = u32;
    type Arena = Chains;

    fn initial(&self, chains: &mut Chains) -> u32 {
        if chains.links.is_empty() {
            chains.links.push(Link { before: 0, piece: "".into(), bytes: 0 });
        }
        0
    }

    fn step(&self, chains: &mut Chains, state: &u32, op: &TextOp) -> Option<u32> {
        match op {
            TextOp::Get(text) => chains.is(*state, text).then_some(*state),
            TextOp::Put(text) => Some(chains.append(0, text)),
            TextOp::Append(piece) => Some(chains.append(*state, piece)),
        }
    }

    fn only_observes(&self, op: &TextOp) -> bool {
        matches!(op, TextOp::Get(_))
    }

    fn describe(&self, op: &TextOp) -> String {
        match op {
            TextOp::Get(text) => format!("get {}", shown(text)),
            TextOp::Put(text) => format!("put {}", shown(text)),
            TextOp::Append(piece) => format!("append {}", shown(piece)),
        }
    }

    fn shortcut(&self, classes: &[TextOp], ops: &[Timed]) -> Shortcut {
        let puts = classes.iter().any(|op| matches!(op, TextOp::Put(_)));
        let appends = classes.iter().any(|op| matches!(op, TextOp::Append(_)));
        match (puts, appends) {
            (true, true) => Shortcut::Inapplicable,
            (_, false) => {
                let mut numbers = super::value_numbers(&Arc::<str>::from(""));
                let accesses: Vec<Access> = classes
                    .iter()
                    .map(|op| match op {
                        TextOp::Get(text) => Access::Reads(numbers.of(text)),
                        TextOp::Put(text) | TextOp::Append(text) => {
                            Access::Writes(numbers.of(text))
                        }
                    })
                    .collect();
                zones(numbers.count(), &accesses, ops)
            }
            (false, true) => grows(classes, ops),
        }
    }
}

/// The shortcut where texts only grow, if no piece begins another: then a text is made of pieces in
/// one way at most.
fn grows(classes: &[TextOp], ops: &[Timed]) -> Shortcut {
    let mut ops_of = vec![0_u32; classes.len()];
    let mut some_op = vec![usize::MAX; classes.len()];
    for (place, op) in ops.iter().enumerate() {
        let returned_get =
            !op.is_pending() || !matches!(classes[op.class as usize], TextOp::Get(_));
        if returned_get {
            ops_of[op.class as usize] += 1;
            some_op[op.class as usize] = place;
        }
    }
    let mut pieces: Vec<(&str, usize)> = Vec::new();
    let mut longest: Option<(&str, usize)> = None;
    for (class, op) in classes.iter().enumerate() {
        match op {
            TextOp::Append(piece) if ops_of[class] == 1 && !piece.is_empty() => {
                pieces.push((piece, class));
            }
            TextOp::Append(_) if ops_of[class] == 0 => {}
            TextOp::Get(text) if ops_of[class] > 0 => {
                if longest.is_none_or(|(other, _)| text.len() > other.len()) {
                    longest = Some((text, class));
                }
            }
            TextOp::Get(_) => {}
            _ => return Shortcut::Inapplicable,
        }
    }
    pieces.sort_unstable();
    if pieces.windows(2).any(|pair| pair[1].0.starts_with(pair[0].0)) {
        return Shortcut::Inapplicable;
    }
    let (text, longest) = match longest {
        Some((text, class)) => (text, Some(some_op[class])),
        None => ("", None),
    };
    let wrong = |suspects: &[usize]| {
        let mut suspects: Vec<usize> = suspects.iter().copied().chain(longest).collect();
        suspects.sort_unstable();
        suspects.dedup();
        Shortcut::Invalid { suspects }
    };
    let mut growth_of = vec![Growth::AddsUnseen; classes.len()];
    let mut ends = vec![0];
    let mut rest = text;
    while !rest.is_empty() {
        // No piece begins another, so only the last one that is not greater can begin the rest.
        let after = pieces.partition_point(|(piece, _)| *piece <= rest);
        let piece = after.checked_sub(1).map(|at| pieces[at]);
        let Some((piece, class)) = piece.filter(|(piece, _)| rest.starts_with(piece)) else {
            return wrong(&[]);
        };
        if growth_of[class] != Growth::AddsUnseen {
            return wrong(&[some_op[class]]); // it was put once and is there twice
        }
        growth_of[class] = Growth::Adds(ends.len() - 1);
        rest = &rest[piece.len()..];
        ends.push(text.len() - rest.len());
    }
    for (class, op) in classes.iter().enumerate() {
        let TextOp::Get(read) = op else { continue };
        if ops_of[class] == 0 {
            growth_of[class] = Growth::Reads(0); // only of unknown outcome: it is not looked at
            continue;
        }
        match ends.binary_search(&read.len()) {
            Ok(count) if text.starts_with(&**read) => growth_of[class] = Growth::Reads(count),
            _ => return wrong(&[some_op[class]]),
        }
    }
    growth(ends.len() - 1, longest, &growth_of, ops)
}

/// A text as a sentence can hold it.
fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    let chars = text.chars().count();
    if chars <= SHOWN_MAX {
        return format!("{text:?}");
    }
    let end: String = text.chars().skip(chars - SHOWN_MAX).collect();
    format!("{chars} characters that end with {end:?}")
}
