//! The shortcut for a register whose written values differ.
//!
//! If no value is written twice, each read says which write it saw, and the operations that saw one
//! write form a cluster that must stay together. Gibbons & Korach (Testing shared memories, SIAM J.
//! Comput. 26(4), 1997, section 4) decide such a history by comparing the clusters' zones. It is
//! extended here by compare-and-set: one that succeeds ends the cluster of the value it found and
//! begins that of the value it left, so clusters joined by them form a block with a fixed inner
//! order.
//!
//! Why it is exact. Call `f` the earliest return in a block and `s` the latest call. Block A has to
//! come before block B where something of A returned before something of B was called: where
//! `A.f < B.s`. The blocks can be ordered unless this relation has a cycle. If it has one, it has one
//! of two blocks: take a shortest cycle of three or more; no two of its blocks are related but along
//! the cycle, so going round it, `A1.f < A2.s <= An.f < A1.s <= A(n-1).f < An.s <= A1.f`, which is
//! absurd. A cycle of two is either two zones with `f < s` that overlap, or a zone with `s <= f`
//! inside one with `f < s`, and both are found by sorting. Within a block everything but the order
//! of reads between two changes is given, so comparing each return with the latest call of what
//! comes earlier is enough.
//!
//! An operation of unknown outcome is in its block if something depends on it, and then never
//! returned; if nothing does, it did not happen, which takes nothing from anybody.

use super::{
    budget::{Budget, Pace, Spent},
    model::Shortcut,
    operation::Timed,
    sort::sort,
};

/// What an operation does to a register. Values are numbers below a given count; 0 is the initial
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Says nothing.
    Ignored,
    /// Says something that this shortcut cannot use, so that it may only refute.
    Unusable,
    Reads(u32),
    Writes(u32),
    /// Finds the first value and leaves the second.
    Moves(u32, u32),
}

/// What is known of one value.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    /// The operation that wrote it.
    writer: usize,
    /// The compare-and-set that found it.
    taker: usize,
    needed: bool,
}

const NOBODY: usize = usize::MAX;

/// A block: joined clusters. Places of operations beside positions say whose they are.
#[derive(Clone, Copy, Debug)]
struct Block {
    root: u32,
    /// The earliest return.
    f: (u64, usize),
    /// The latest call.
    s: (u64, usize),
}

/// Positions from 1; 0 is before everything.
fn call(op: &Timed) -> u64 {
    op.call.saturating_add(1)
}

fn ret(op: &Timed) -> u64 {
    op.ret.saturating_add(1)
}

/// Why a pass over the operations ended early.
enum Stop {
    Spent,
    /// Places of operations which show that there is no order.
    Conflict(Vec<usize>),
}

impl From<Spent> for Stop {
    fn from(_: Spent) -> Self {
        Self::Spent
    }
}

fn conflict<T>(suspects: impl Into<Vec<usize>>) -> Result<T, Stop> {
    Err(Stop::Conflict(suspects.into()))
}

struct Zones<'a> {
    ops: &'a [Timed],
    accesses: &'a [Access],
    pace: Pace<'a>,
    clusters: Vec<Cluster>,
    /// The reads of each value, flat.
    reads: Vec<usize>,
    reads_from: Vec<u32>,
}

/// Decides a register whose written values differ; elsewhere it does not apply.
///
/// There are as many accesses as operations.
pub(crate) fn zones(
    values: usize,
    accesses: &[Access],
    ops: &[Timed],
    budget: &dyn Budget,
) -> Shortcut {
    let cluster = Cluster { writer: NOBODY, taker: NOBODY, needed: false };
    let (clusters, pace) = (vec![cluster; values], Pace::new(budget));
    let (reads, reads_from) = (Vec::new(), Vec::new());
    let mut zones = Zones { ops, accesses, pace, clusters, reads, reads_from };
    let (mut differ, mut usable) = (true, true);
    let decided = zones.find_writers(&mut differ, &mut usable).map_err(Stop::from);
    if !differ {
        return Shortcut::Inapplicable;
    }
    match decided.and_then(|()| zones.decide()) {
        Err(Stop::Spent) => Shortcut::OutOfTime,
        Err(Stop::Conflict(suspects)) => {
            Shortcut::Invalid { suspects: zones.with_writers(suspects) }
        }
        Ok(()) if usable => Shortcut::Valid,
        Ok(()) => Shortcut::Inapplicable,
    }
}

impl Zones<'_> {
    fn decide(&mut self) -> Result<(), Stop> {
        self.collect_reads()?;
        self.find_needed()?;
        let blocks = self.blocks()?;
        overlap(blocks, &mut self.pace)
    }

    /// Says also whether each value is written once, and whether everything can be used.
    fn find_writers(&mut self, differ: &mut bool, usable: &mut bool) -> Result<(), Spent> {
        for (place, access) in self.accesses.iter().enumerate() {
            self.pace.step()?;
            match access {
                Access::Writes(value) | Access::Moves(_, value) => {
                    let cluster = &mut self.clusters[*value as usize];
                    if *value == 0 || cluster.writer != NOBODY {
                        *differ = false;
                        return Ok(());
                    }
                    cluster.writer = place;
                }
                Access::Unusable => *usable = false,
                Access::Ignored | Access::Reads(_) => {}
            }
        }
        Ok(())
    }

    fn is_read(&self, place: usize) -> Option<u32> {
        match self.accesses[place] {
            Access::Reads(value) if !self.ops[place].is_pending() => Some(value),
            _ => None,
        }
    }

    fn collect_reads(&mut self) -> Result<(), Spent> {
        let mut from = vec![0; self.clusters.len() + 1];
        for place in 0..self.ops.len() {
            self.pace.step()?;
            if let Some(value) = self.is_read(place) {
                from[value as usize + 1] += 1;
            }
        }
        for value in 1..from.len() {
            self.pace.step()?;
            from[value] += from[value - 1];
        }
        self.reads = vec![0; from[from.len() - 1] as usize];
        let mut at = from.clone();
        for place in 0..self.ops.len() {
            self.pace.step()?;
            if let Some(value) = self.is_read(place) {
                let at = &mut at[value as usize];
                self.reads[*at as usize] = place;
                *at += 1;
            }
        }
        self.reads_from = from;
        Ok(())
    }

    fn reads(&self, value: u32) -> &[usize] {
        let (from, to) = (self.reads_from[value as usize], self.reads_from[value as usize + 1]);
        &self.reads[from as usize..to as usize]
    }

    /// Marks the values that must have been there, and joins what compare-and-sets join.
    fn find_needed(&mut self) -> Result<(), Stop> {
        for place in 0..self.ops.len() {
            self.pace.step()?;
            let pending = self.ops[place].is_pending();
            match self.accesses[place] {
                Access::Reads(value) | Access::Writes(value) if !pending => {
                    self.need(value, place)?;
                }
                Access::Moves(_, to) if !pending => self.need(to, place)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A value must have been there, because of an operation; and so must what led to it.
    fn need(&mut self, value: u32, mut because: usize) -> Result<(), Stop> {
        let mut value = value;
        loop {
            let cluster = &mut self.clusters[value as usize];
            if cluster.needed || value == 0 {
                cluster.needed = true;
                return Ok(());
            }
            if cluster.writer == NOBODY {
                return conflict([because]);
            }
            cluster.needed = true;
            because = cluster.writer;
            let Access::Moves(from, _) = self.accesses[because] else { return Ok(()) };
            let source = &mut self.clusters[from as usize];
            if source.taker != NOBODY {
                return conflict([because, source.taker]);
            }
            source.taker = because;
            value = from;
        }
    }

    fn blocks(&mut self) -> Result<Vec<Block>, Stop> {
        let mut blocks = Vec::new();
        let (mut joined, mut all) = (0, 1);
        for root in 0..super::operation::narrow(self.clusters.len()) {
            self.pace.step()?;
            let cluster = self.clusters[root as usize];
            let is_root = root == 0
                || cluster.needed && matches!(self.accesses[cluster.writer], Access::Writes(_));
            all += usize::from(root > 0 && cluster.needed);
            if is_root {
                let (block, length) = self.block(root)?;
                blocks.push(block);
                joined += length;
            }
        }
        if joined == all {
            return Ok(blocks);
        }
        // What no root leads to goes round in circles: each found what another was yet to leave.
        let mut circles = Vec::new();
        for cluster in &self.clusters {
            self.pace.step()?;
            if cluster.needed
                && matches!(self.accesses.get(cluster.writer), Some(Access::Moves(..)))
            {
                circles.push(cluster.writer);
            }
        }
        conflict(circles)
    }

    /// Walks from a value that was written to those that compare-and-sets made of it.
    fn block(&mut self, root: u32) -> Result<(Block, usize), Stop> {
        let mut block = Block { root, f: (u64::MAX, NOBODY), s: (0, NOBODY) };
        if root == 0 {
            block.f = (0, NOBODY);
        }
        let (mut value, mut length) = (root, 0);
        loop {
            length += 1;
            self.pace.step()?;
            let cluster = self.clusters[value as usize];
            if cluster.writer != NOBODY {
                self.place(&mut block, &[cluster.writer])?;
            }
            self.pace.steps(self.reads(value).len())?;
            self.place(&mut block, self.reads(value))?;
            if cluster.taker == NOBODY {
                return Ok((block, length));
            }
            let Access::Moves(_, to) = self.accesses[cluster.taker] else {
                unreachable!("only a compare-and-set takes a value")
            };
            value = to;
        }
    }

    /// Adds operations to the end of a block; among themselves they have no order.
    fn place(&self, block: &mut Block, places: &[usize]) -> Result<(), Stop> {
        let latest = block.s;
        for place in places {
            let op = &self.ops[*place];
            if ret(op) < latest.0 {
                return conflict([*place, latest.1]);
            }
            block.f = block.f.min((ret(op), *place));
            block.s = block.s.max((call(op), *place));
        }
        Ok(())
    }

    /// Adds the writes that the suspects depend on, as far as time allows.
    fn with_writers(&mut self, mut suspects: Vec<usize>) -> Vec<usize> {
        let (mut seen, mut at) = (vec![false; self.ops.len()], 0);
        while at < suspects.len() && self.pace.step().is_ok() {
            let place = suspects[at];
            if place == NOBODY || std::mem::replace(&mut seen[place], true) {
                suspects.swap_remove(at);
                continue;
            }
            at += 1;
            let value = match self.accesses[place] {
                Access::Reads(value) | Access::Moves(value, _) => value,
                _ => continue,
            };
            let writer = self.clusters[value as usize].writer;
            if writer != NOBODY {
                suspects.push(writer);
            }
        }
        suspects.retain(|place| *place != NOBODY);
        suspects
    }
}

/// Looks for two blocks that each would have to come before the other.
fn overlap(blocks: Vec<Block>, pace: &mut Pace<'_>) -> Result<(), Stop> {
    let suspects = |a: &Block, b: &Block| conflict([a.f.1, a.s.1, b.f.1, b.s.1]);
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for block in blocks {
        pace.step()?;
        if block.f.0 < block.s.0 { forward.push(block) } else { backward.push(block) }
    }
    sort(&mut forward, 1, |block| (block.f.0, block.root), pace)?;
    for pair in forward.windows(2) {
        pace.step()?;
        // The first overlap is found before a longer zone could hide behind a shorter one.
        if pair[1].f.0 < pair[0].s.0 {
            return suspects(&pair[0], &pair[1]);
        }
    }
    for block in &backward {
        pace.step()?;
        let after = forward.partition_point(|zone| zone.f.0 < block.s.0);
        if let Some(zone) = after.checked_sub(1).map(|at| &forward[at])
            && block.f.0 < zone.s.0
        {
            return suspects(zone, block);
        }
    }
    Ok(())
}
