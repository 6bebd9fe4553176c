//! Which run is next: what failed in earlier nights first, then each cell in turn with new seeds,
//! round after round.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{file::Cell, shard::Shard};

/// One run of a suite, which no other run of it equals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Job {
    /// The place of its cell among the cells.
    pub(crate) cell: usize,
    pub(crate) seed: u64,
    /// It failed in an earlier suite.
    pub(crate) again: bool,
}

/// The runs of a suite that are left, in order. All shards see the same order.
#[derive(Debug)]
pub(crate) struct Queue {
    /// A cell's place and first seed and how many seeds a round has.
    cells: Vec<(usize, u64, u32)>,
    /// Rounds go on for ever; otherwise there is one.
    endless: bool,
    shard: Shard,
    /// Runs that are not to be done: because they are, or because they stand in `again`.
    skipped: BTreeSet<(usize, u64)>,
    again: VecDeque<Job>,
    round: u64,
    /// The next seed of the round, and the next cell that has so many.
    turn: u32,
    at: usize,
    /// How many runs with new seeds came before, of all shards.
    number: u64,
}

impl Queue {
    /// `failed` are the cells and seeds that failed before, `finished` those of this suite that are
    /// done already.
    pub(crate) fn new(
        cells: &[Cell],
        seed: u64,
        endless: bool,
        shard: Shard,
        failed: &[(String, u64)],
        finished: &BTreeSet<(String, u64)>,
    ) -> Self {
        let places: BTreeMap<_, _> =
            cells.iter().enumerate().map(|(place, cell)| (cell.name.as_str(), place)).collect();
        let place_of = |(cell, seed): &(String, u64)| Some((*places.get(cell.as_str())?, *seed));
        let mut again = VecDeque::new();
        let mut skipped = BTreeSet::new();
        for (cell, seed) in failed.iter().filter_map(place_of) {
            if skipped.insert((cell, seed)) {
                again.push_back(Job { cell, seed, again: true });
            }
        }
        let mut number = 0;
        again.retain(|_| {
            number += 1;
            shard.has(number - 1)
        });
        // New seeds are numbered apart: shards with different pasts still share them out.
        let done: BTreeSet<_> = finished.iter().filter_map(place_of).collect();
        again.retain(|job| !done.contains(&(job.cell, job.seed)));
        skipped.extend(done);
        let cells = cells
            .iter()
            .enumerate()
            .map(|(place, cell)| (place, first_seed(seed, &cell.name), cell.seeds))
            .collect();
        Self { cells, endless, shard, skipped, again, round: 0, turn: 0, at: 0, number: 0 }
    }

    /// How many runs are left, unless rounds go on for ever.
    pub(crate) fn left(&self) -> Option<usize> {
        let copy = Self {
            cells: self.cells.clone(),
            skipped: self.skipped.clone(),
            again: self.again.clone(),
            ..*self
        };
        (!self.endless).then(|| copy.count())
    }

    /// How many of them failed in earlier suites.
    pub(crate) fn again(&self) -> usize {
        self.again.len()
    }

    /// One of all shards' runs after the other, in turn through the cells.
    fn next_of_all(&mut self) -> Option<(usize, u64)> {
        let most = self.cells.iter().map(|(_, _, seeds)| *seeds).max().unwrap_or_default();
        if most == 0 {
            return None;
        }
        loop {
            if self.at == self.cells.len() {
                (self.at, self.turn) = (0, self.turn + 1);
            }
            if self.turn == most {
                if !self.endless {
                    return None;
                }
                (self.turn, self.round) = (0, self.round + 1);
            }
            let (cell, first, seeds) = self.cells[self.at];
            self.at += 1;
            if self.turn < seeds {
                let offset = self.round * u64::from(seeds) + u64::from(self.turn);
                return Some((cell, first.wrapping_add(offset)));
            }
        }
    }
}

impl Iterator for Queue {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        if let Some(job) = self.again.pop_front() {
            return Some(job);
        }
        loop {
            let (cell, seed) = self.next_of_all()?;
            self.number += 1;
            if self.shard.has(self.number - 1) && !self.skipped.contains(&(cell, seed)) {
                return Some(Job { cell, seed, again: false });
            }
        }
    }
}

/// A cell's first seed: it depends on the suite's seed and the cell's name alone, so that another
/// cell more or less changes nobody's seeds. Short enough to be typed again.
fn first_seed(suite: u64, cell: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ suite;
    for byte in cell.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // The finalizer of splitmix64: FNV alone leaves the high bits of short names alike.
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ (hash >> 31)) >> 36
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Job, Queue};
    use crate::suite::{file::Cell, shard::Shard};

    fn cells() -> Vec<Cell> {
        let cell = |name: &str, seeds| Cell::for_test(name, seeds);
        vec![cell("a", 2), cell("b", 0), cell("c", 3)]
    }

    fn queue(shard: &str, failed: &[(String, u64)], done: &BTreeSet<(String, u64)>) -> Queue {
        Queue::new(&cells(), 7, false, shard.parse().unwrap(), failed, done)
    }

    fn names(jobs: &[Job]) -> String {
        jobs.iter().map(|job| ["a", "b", "c"][job.cell]).collect()
    }

    #[test]
    fn cells_take_turns_and_every_run_comes_once() {
        let queue = queue("1/1", &[], &BTreeSet::new());
        assert_eq!(queue.left(), Some(5));
        let jobs: Vec<_> = queue.collect();
        assert_eq!(names(&jobs), "acacc");
        assert_eq!(jobs.iter().collect::<BTreeSet<_>>().len(), 5);
    }

    #[test]
    fn shards_are_a_partition_also_of_what_failed_before() {
        let all: Vec<_> = queue("1/1", &[], &BTreeSet::new()).collect();
        let failed = [("c".to_owned(), all[1].seed), ("c".to_owned(), 1), ("gone".to_owned(), 1)];
        let whole: Vec<_> = queue("1/1", &failed, &BTreeSet::new()).collect();
        assert_eq!(names(&whole), "ccaacc");
        assert_eq!(whole.iter().filter(|job| job.again).count(), 2);
        let mut parts = Vec::new();
        for index in 1..=4 {
            let part = queue(&format!("{index}/4"), &failed, &BTreeSet::new());
            assert_eq!(part.left(), Some(part.count()));
            parts.extend(queue(&format!("{index}/4"), &failed, &BTreeSet::new()));
        }
        parts.sort();
        let mut whole = whole;
        whole.sort();
        assert_eq!(parts, whole);
    }

    #[test]
    fn what_is_finished_is_not_done_again() {
        let all: Vec<_> = queue("1/1", &[], &BTreeSet::new()).collect();
        let done = |job: &Job| (["a", "b", "c"][job.cell].to_owned(), job.seed);
        for finished in 0..=all.len() {
            let done = all[..finished].iter().map(done).collect();
            assert_eq!(queue("1/1", &[], &done).collect::<Vec<_>>(), all[finished..]);
            assert_eq!(queue("1/1", &[], &done).left(), Some(all.len() - finished));
        }
    }

    #[test]
    fn rounds_go_on_with_new_seeds() {
        let shard: Shard = "1/1".parse().unwrap();
        let queue = Queue::new(&cells(), 7, true, shard, &[], &BTreeSet::new());
        assert_eq!(queue.left(), None);
        let jobs: BTreeSet<_> = queue.take(500).collect();
        assert_eq!(jobs.len(), 500);
    }

    #[test]
    fn seeds_depend_on_the_suites_seed_and_the_cells_name_alone() {
        let of = |cells: &[Cell], seed| {
            Queue::new(cells, seed, false, Shard::WHOLE, &[], &BTreeSet::new())
                .map(|job| (cells[job.cell].name.clone(), job.seed))
                .collect::<BTreeSet<_>>()
        };
        let all = of(&cells(), 7);
        assert!(of(&cells()[2..], 7).is_subset(&all));
        assert!(of(&cells(), 8).is_disjoint(&all));
    }
}
