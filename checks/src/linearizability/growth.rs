//! The shortcut for a value that only grows by pieces that differ.
//!
//! Each read shows the pieces in the order in which they were put, so the longest read fixes the
//! order of everything any read saw: reads must be its beginnings, and each operation has its place.
//! What no read saw comes after all of that, or did not happen if its outcome is unknown. Elle
//! infers version orders from lists in this way (Kingsbury & Alvaro, VLDB 2020). With the places
//! given, an order exists exactly if nothing returned before something of an earlier place was
//! called.

use super::{model::Shortcut, operation::Timed};

/// What an operation does to a growing value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Adds the piece that the longest read shows at this place, from 0.
    Adds(usize),
    /// Adds a piece that no read shows.
    AddsUnseen,
    /// Reads this many pieces.
    Reads(usize),
}

/// Decides a value that grew to `pieces` pieces as far as reads saw it; `growth_of` is by class,
/// `longest` is the place of a read that saw them all.
pub(crate) fn growth(
    pieces: usize,
    longest: Option<usize>,
    growth_of: &[Growth],
    ops: &[Timed],
) -> Shortcut {
    let mut adds = vec![usize::MAX; pieces];
    let mut order: Vec<(usize, bool, usize)> = Vec::new();
    for (place, op) in ops.iter().enumerate() {
        match growth_of[op.class as usize] {
            Growth::Adds(at) => {
                adds[at] = place;
                order.push((at + 1, false, place));
            }
            Growth::AddsUnseen if !op.is_pending() => order.push((pieces + 1, true, place)),
            Growth::Reads(count) if !op.is_pending() => order.push((count, true, place)),
            Growth::AddsUnseen | Growth::Reads(_) => {}
        }
    }
    if adds.contains(&usize::MAX) {
        // A piece was read, and what put it is not among these operations.
        return Shortcut::Invalid { suspects: longest.into_iter().collect() };
    }
    order.sort_unstable();
    let mut latest = (0, usize::MAX);
    for step in order.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let before = latest;
        for (.., place) in step {
            let op = &ops[*place];
            if before.1 != usize::MAX && op.ret < before.0 {
                let mut suspects = vec![before.1, *place];
                suspects.extend(longest);
                suspects.extend(
                    step.iter()
                        .map(|(version, ..)| *version)
                        .take(1)
                        .filter_map(|version| adds.get(version.wrapping_sub(1)).copied()),
                );
                suspects.sort_unstable();
                suspects.dedup();
                return Shortcut::Invalid { suspects };
            }
            if latest.1 == usize::MAX || op.call > latest.0 {
                latest = (op.call, *place);
            }
        }
    }
    Shortcut::Valid
}
