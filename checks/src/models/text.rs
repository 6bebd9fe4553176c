//! A text under one key: get, put, append. A missing text is empty.

use std::{collections::HashMap, sync::Arc};

use super::alphabet::Alphabet;
use crate::linearizability::{Budget, Model, Pace, Shortcut, Spent, Timed, narrow};

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

const LINK_BYTES: usize = 96;

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
        let link = narrow(self.links.len());
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

    /// One link and the way to find it again.
    fn heap_bytes(&self, _: &u32) -> usize {
        LINK_BYTES
    }

    fn describe(&self, op: &TextOp) -> String {
        match op {
            TextOp::Get(text) => format!("get {}", shown(text)),
            TextOp::Put(text) => format!("put {}", shown(text)),
            TextOp::Append(piece) => format!("append {}", shown(piece)),
        }
    }

    fn shortcut(&self, classes: &[TextOp], ops: &[Timed], budget: &dyn Budget) -> Shortcut {
        let mut pace = Pace::new(budget);
        match Alphabet::new(classes, ops, &mut pace) {
            Ok(Some(alphabet)) => alphabet.decide(&mut pace, budget).unwrap_or(Shortcut::OutOfTime),
            Ok(None) => Shortcut::Inapplicable,
            Err(Spent) => Shortcut::OutOfTime,
        }
    }
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
