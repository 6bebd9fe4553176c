//! The shortcut for a value that grows by pieces that differ.
//!
//! If each piece is appended once, a read that shows pieces in a row says of each append what
//! it was appended to, and so makes it a compare-and-set whose values differ: [`zones`] decides
//! those. Elle infers version orders from lists in this way (Kingsbury & Alvaro, VLDB 2020).
//!
//! An append that no read shows is as good as a write that no read shows: nobody can have read
//! anything after it.
//!
//! [`zones`]: super::zones::zones

use super::zones::Access;

/// What comes right before each piece, by number, and a read that shows so. 0 is the value before
/// all of them.
#[derive(Debug)]
pub(crate) struct Pieces {
    after: Vec<Option<(u32, usize)>>,
}

/// Places of operations which show that there is no order.
pub(crate) type Suspects = Vec<usize>;

impl Pieces {
    pub(crate) fn new() -> Self {
        Self { after: vec![None] }
    }

    /// A number for a piece.
    pub(crate) fn add(&mut self) -> u32 {
        self.after.push(None);
        super::operation::narrow(self.after.len() - 1)
    }

    /// Notes that the read at a place shows a piece right after another one, or at the beginning.
    pub(crate) fn show(&mut self, before: u32, piece: u32, read: usize) -> Result<(), Suspects> {
        let known = &mut self.after[piece as usize];
        match *known {
            None => *known = Some((before, read)),
            Some((other, _)) if other == before => {}
            Some((_, other_read)) => return Err(vec![other_read, read]),
        }
        Ok(())
    }

    /// What the append of a piece is to [`zones`](super::zones::zones).
    pub(crate) fn access(&self, piece: u32) -> Access {
        match self.after[piece as usize] {
            Some((before, _)) => Access::Moves(before, piece),
            None => Access::Writes(piece),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.after.len()
    }
}
