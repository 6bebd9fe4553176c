//! One order of all writes that every session agrees with.
//!
//! Writes are nodes of a graph. An edge says that one came before the other: its interval was over
//! before that of the other began, or a session met both in that order. For one key, an order exists
//! exactly if the graph has no cycle: along any linear extension, write `i` can take effect at the
//! latest call among the first `i`, and that is within its interval, because otherwise an edge would
//! say so.
//!
//! Two things are no edges. Over several keys a session's place in the order is what binds: having
//! seen a write, it may not return a value that was overwritten before that write; and what overwrote
//! it is not always known. And a compare-and-set follows at once what it replaced, whatever else was
//! written to the key. So an order is proposed, and what breaks it becomes a further edge: a forced
//! one, if only one way is left. An order that holds is a proof, and so are forced edges that
//! contradict each other. Where neither is found, nothing is said.
//!
//! Intervals become edges by way of the instants: a write leads to the first instant after its end,
//! each instant to the next, and the instant of a call to its write. So edges stay linear in number.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
};

use super::{
    operations::{Function, Told},
    registers::Registers,
};
use crate::linearizability::narrow;

/// How much may be spent on repairing an order: nodes times repairs.
const REPAIRS_TIMES_NODES_MAX: usize = 20_000_000;

/// What came of it.
#[derive(Debug)]
pub(crate) enum Order<'a> {
    Found,
    /// The operations that no order holds, in the order in which each came before the next, and why.
    None(Vec<&'a Told>, &'static str),
    /// None was found, and none was excluded.
    Missed,
}

/// A client as it told of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Session {
    Named(u64),
    Process(u32),
}

/// An operation of a session: the write that it saw or made.
#[derive(Clone, Copy, Debug)]
struct Met<'a> {
    told: &'a Told,
    write: usize,
}

/// Nodes: the writes, then the instants of their calls.
struct Graph {
    next: Vec<Vec<u32>>,
    /// When each write must have taken effect; instants have no such time.
    due: Vec<u64>,
    writes: usize,
}

/// Looks for an order of the writes that real time and every session agree with.
pub(crate) fn order<'a>(registers: &Registers<'a>) -> Order<'a> {
    if let Some((place, write)) =
        registers.writes.iter().enumerate().find(|(_, write)| write.end < write.call)
    {
        let reads = registers.reads.iter().filter(|read| read.saw == place).map(|read| read.told);
        let early = reads.filter(|told| told.ret() < write.call).chain(write.told);
        return Order::None(early.collect(), "it was seen before it was written");
    }
    let sessions = sessions(registers);
    let mut replaced_by: BTreeMap<usize, &Told> = BTreeMap::new();
    for write in &registers.writes {
        if let (Some(replaced), Some(told)) = (write.replaced, write.told)
            && let Some(other) = replaced_by.insert(replaced, told)
        {
            return Order::None(vec![other, told], "each replaced the same value");
        }
    }
    let mut graph = Graph::new(registers);
    for met in sessions.values() {
        let mut last: BTreeMap<u32, &Met<'_>> = BTreeMap::new();
        for met in met {
            let key = registers.writes[met.write].key;
            if let Some(before) = last.insert(key, met)
                && before.write != met.write
            {
                graph.next[before.write].push(narrow(met.write));
            }
        }
    }
    if let Err(cycle) = graph.sort() {
        return Order::None(explain(registers, &sessions, &cycle), BACK);
    }
    propose(registers, &sessions, graph)
}

const BACK: &str = "a session went back, or the writes took effect in two orders";

fn session(told: &Told) -> Session {
    told.session.map_or(Session::Process(told.process), Session::Named)
}

/// What each session met, in its own order. A write of unknown outcome has no place in it: it may
/// take effect later than what follows.
fn sessions<'a>(registers: &Registers<'a>) -> BTreeMap<Session, Vec<Met<'a>>> {
    let made = registers.writes.iter().enumerate().filter_map(|(write, it)| {
        it.told.filter(|told| told.is_ok()).map(|told| Met { told, write })
    });
    let saw = registers.reads.iter().map(|read| Met { told: read.told, write: read.saw });
    let mut all: Vec<Met<'a>> = made.chain(saw).collect();
    all.sort_by_key(|met| met.told.call.line);
    let mut sessions: BTreeMap<Session, Vec<Met<'a>>> = BTreeMap::new();
    for met in all {
        sessions.entry(session(met.told)).or_default().push(met);
    }
    // Operations that a session has open at once have no order; as many as can be do have one.
    for met in sessions.values_mut() {
        met.sort_by_key(|met| met.told.ret());
        let mut last = 0;
        met.retain(|met| {
            let follows = met.told.call.line > last;
            last = if follows { met.told.ret() } else { last };
            follows
        });
    }
    sessions
}

impl Graph {
    /// The edges of real time, and from each write to the one that replaced it.
    fn new(registers: &Registers<'_>) -> Self {
        let writes = &registers.writes;
        let mut lines: Vec<u64> = writes.iter().map(|write| write.call).collect();
        lines.sort_unstable();
        lines.dedup();
        let mut next: Vec<Vec<u32>> = vec![Vec::new(); writes.len() + lines.len()];
        for place in 1..lines.len() {
            next[writes.len() + place - 1].push(narrow(writes.len() + place));
        }
        for (place, write) in writes.iter().enumerate() {
            let call = lines.partition_point(|line| *line < write.call);
            next[writes.len() + call].push(narrow(place));
            let end = lines.partition_point(|line| *line <= write.end);
            if end < lines.len() {
                next[place].push(narrow(writes.len() + end));
            }
            if let Some(replaced) = write.replaced {
                next[replaced].push(narrow(place));
            }
        }
        let due = writes.iter().map(|write| write.end).collect();
        Self { next, due, writes: writes.len() }
    }

    /// A linear extension; or a cycle of blocks and instants.
    fn sort(&self) -> Result<Vec<u32>, Vec<u32>> {
        let mut before = vec![0_u32; self.next.len()];
        self.next.iter().flatten().for_each(|to| before[*to as usize] += 1);
        // Instants first, so that all that may come next is known; then what is due first.
        let rank = |node: u32| (self.due.get(node as usize).copied().unwrap_or(0), node);
        let ready = (0..).zip(&before).filter(|(_, left)| **left == 0);
        let mut ready: BinaryHeap<Reverse<(u64, u32)>> =
            ready.map(|(node, _)| Reverse(rank(node))).collect();
        let mut order = Vec::new();
        let mut done = 0;
        while let Some(Reverse((_, node))) = ready.pop() {
            done += 1;
            if (node as usize) < self.writes {
                order.push(node);
            }
            for to in &self.next[node as usize] {
                before[*to as usize] -= 1;
                if before[*to as usize] == 0 {
                    ready.push(Reverse(rank(*to)));
                }
            }
        }
        if done == self.next.len() { Ok(order) } else { Err(self.cycle(&before)) }
    }

    /// A short cycle among the nodes that no extension reaches.
    fn cycle(&self, before: &[u32]) -> Vec<u32> {
        let stuck = |node: u32| before[node as usize] > 0;
        // Walking backwards from a stuck node stays among stuck ones and must come round.
        let mut prev: Vec<u32> = vec![u32::MAX; self.next.len()];
        for (from, next) in (0_u32..).zip(&self.next) {
            if stuck(from) {
                next.iter().filter(|to| stuck(**to)).for_each(|to| prev[*to as usize] = from);
            }
        }
        let mut seen = BTreeSet::new();
        let mut at = (0_u32..).zip(before).find(|(_, left)| **left > 0).map_or(0, |(node, _)| node);
        while seen.insert(at) {
            at = prev[at as usize];
        }
        self.path(at, at).unwrap_or_default()
    }

    /// The shortest way from one node to another, both included; at least one edge long.
    fn path(&self, from: u32, to: u32) -> Option<Vec<u32>> {
        let mut prev: Vec<u32> = vec![u32::MAX; self.next.len()];
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            for next in &self.next[node as usize] {
                if *next == to {
                    let mut path = vec![to];
                    let mut at = node;
                    while at != from {
                        path.push(at);
                        at = prev[at as usize];
                    }
                    path.push(from);
                    path.reverse();
                    return Some(path);
                }
                if prev[*next as usize] == u32::MAX && *next != from {
                    prev[*next as usize] = node;
                    queue.push_back(*next);
                }
            }
        }
        None
    }

    fn reaches(&self, from: u32, to: u32) -> bool {
        from == to || self.path(from, to).is_some()
    }
}

/// The operations behind a cycle: its writes, and of a session's edge the two operations in which
/// it met them.
fn explain<'a>(
    registers: &Registers<'a>,
    sessions: &BTreeMap<Session, Vec<Met<'a>>>,
    cycle: &[u32],
) -> Vec<&'a Told> {
    let writes = cycle.iter().filter_map(|node| registers.writes.get(*node as usize));
    let mut told: Vec<&Told> = writes.filter_map(|write| write.told).collect();
    for met in sessions.values() {
        let mut last: BTreeMap<u32, &Met<'_>> = BTreeMap::new();
        for met in met {
            let key = registers.writes[met.write].key;
            let Some(before) = last.insert(key, met) else { continue };
            let edge = [narrow(before.write), narrow(met.write)];
            if edge[0] != edge[1] && cycle.windows(2).any(|pair| pair == edge) {
                told.extend([before.told, met.told]);
            }
        }
    }
    told.sort_by_key(|told| told.call.line);
    told.dedup_by_key(|told| told.call.line);
    told
}

/// What a proposed order breaks: `over` stands between `first` and `then` and may not, so it comes
/// after `then` or before `first`.
struct Broken<'a> {
    first: usize,
    over: usize,
    then: usize,
    told: Vec<&'a Told>,
    why: &'static str,
}

fn propose<'a>(
    registers: &Registers<'a>,
    sessions: &BTreeMap<Session, Vec<Met<'a>>>,
    mut graph: Graph,
) -> Order<'a> {
    let repairs_max = REPAIRS_TIMES_NODES_MAX / graph.next.len().max(1);
    // As long as every edge is forced, what contradicts them is proven.
    let mut forced = true;
    for _ in 0..=repairs_max {
        let Ok(sorted) = graph.sort() else { return Order::Missed };
        let Some(broken) = first_broken(registers, sessions, &sorted) else {
            return Order::Found;
        };
        let Broken { first, over, then, .. } = broken;
        let [first, over, then] = [first, over, then].map(narrow);
        let may_follow = !graph.reaches(over, then);
        let may_precede = !graph.reaches(first, over);
        match (may_follow, may_precede) {
            (false, false) if forced => return Order::None(broken.told, broken.why),
            (false, false) => return Order::Missed,
            (true, other) => {
                forced &= !other;
                graph.next[then as usize].push(over);
            }
            (false, true) => graph.next[over as usize].push(first),
        }
    }
    Order::Missed
}

fn first_broken<'a>(
    registers: &Registers<'a>,
    sessions: &BTreeMap<Session, Vec<Met<'a>>>,
    sorted: &[u32],
) -> Option<Broken<'a>> {
    let writes = &registers.writes;
    let mut position = vec![0_usize; writes.len()];
    // What overwrote each write.
    let mut over: Vec<Option<usize>> = vec![None; writes.len()];
    let mut last_of_key: BTreeMap<u32, usize> = BTreeMap::new();
    for (at, place) in sorted.iter().map(|place| *place as usize).enumerate() {
        position[place] = at;
        if let Some(before) = last_of_key.insert(writes[place].key, place) {
            over[before] = Some(place);
        }
    }
    let told_of = |places: &[usize]| -> Vec<&'a Told> {
        let mut told: Vec<_> = places.iter().filter_map(|place| writes[*place].told).collect();
        told.sort_by_key(|told| told.call.line);
        told
    };
    for (then, write) in writes.iter().enumerate() {
        if let Some(first) = write.replaced
            && let Some(between) = over[first]
            && between != then
        {
            let told = told_of(&[first, between, then]);
            let why = "the first had been overwritten when it was replaced";
            return Some(Broken { first, over: between, then, told, why });
        }
    }
    for met in sessions.values() {
        let mut at: Option<&Met<'_>> = None;
        for met in met {
            if let Some(last) = at
                && met.told.f == Function::Read
                && let Some(between) = over[met.write]
                && position[between] <= position[last.write]
            {
                let mut told = told_of(&[met.write, between, last.write]);
                told.extend([last.told, met.told]);
                told.sort_by_key(|told| told.call.line);
                told.dedup_by_key(|told| told.call.line);
                let (first, then) = (met.write, last.write);
                let why = "a session went back to what had been overwritten";
                return Some(Broken { first, over: between, then, told, why });
            }
            if at.is_none_or(|last| position[met.write] > position[last.write]) {
                at = Some(met);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
