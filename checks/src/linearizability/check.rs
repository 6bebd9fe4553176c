//! A whole history: split by key, the cheapest keys first, and one report.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    budget::{Budget, Pace, Spent},
    counterexample::{Bound, Counterexample, Prefix, shrink},
    decide::{Decider, Decision, Means, Why},
    model::{Model, classify, hash},
    operation::{NEVER, Operation, Span, Timed, narrow},
    search::Strategy,
    sort::sort,
    tables::Numbers,
};

/// How to check.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// About how many bytes one search may hold. Beyond, the key's verdict is unknown.
    pub bytes_max: usize,
    /// Over how many threads keys are spread; at 1 none is started.
    pub threads: usize,
    /// Whether the models' shortcuts are tried before a search.
    pub shortcuts: bool,
    pub strategy: Strategy,
    /// Whether what is invalid is shrunk to a small counterexample. Without, the core is empty.
    pub counterexample: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bytes_max: 512 << 20,
            threads: 1,
            shortcuts: true,
            strategy: Strategy::Both,
            counterexample: true,
        }
    }
}

/// What a history was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every key's operations have an order.
    Valid,
    Invalid(Box<Counterexample>),
    /// No key is known to be invalid, and at least this one is not known to be valid.
    Unknown(Unknown),
}

/// How far a search without a verdict came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub key: u32,
    pub why: Why,
    /// The prefix of this key's history that is known to have an order.
    pub verified: Prefix,
}

/// The verdict on a history, and what was looked at for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub verdict: Verdict,
    pub operations: usize,
    pub keys: usize,
    /// How many keys are known to be valid, of those that come before an invalid one.
    pub keys_valid: usize,
}

/// The operations of one key.
#[derive(Clone, Copy)]
struct Job {
    key: u32,
    cost: u64,
    places: Span,
}

/// What is to be done, the cheapest first.
#[derive(Default)]
struct Jobs {
    jobs: Vec<Job>,
    /// Places in the list that is checked, by job.
    places: Vec<u32>,
}

enum Done {
    Valid,
    Unknown(Unknown),
    Invalid(Box<Counterexample>),
}

/// What came of the jobs so far, by their places.
#[derive(Default)]
struct Results {
    valid: Vec<usize>,
    unknown: Option<(usize, Unknown)>,
    invalid: Option<(usize, Box<Counterexample>)>,
}

impl Results {
    fn add(&mut self, at: usize, done: Done) {
        let is_first = |known: Option<usize>| known.is_none_or(|known| at < known);
        match done {
            Done::Valid => self.valid.push(at),
            Done::Unknown(unknown) if is_first(self.unknown.as_ref().map(|known| known.0)) => {
                self.unknown = Some((at, unknown));
            }
            Done::Invalid(found) if is_first(self.invalid.as_ref().map(|known| known.0)) => {
                self.invalid = Some((at, found));
            }
            Done::Unknown(_) | Done::Invalid(_) => {}
        }
    }
}

/// Checks whether the operations on each key could have taken effect one by one, each at a moment
/// between its call and its return.
///
/// See [`Pairing`](super::Pairing) for a history of which it is not known whether its positions are
/// sound.
///
/// # Panics
/// If an operation returns before its call, or at [`NEVER`].
pub fn check<M: Model>(
    model: &M,
    ops: &[Operation<M::Op>],
    options: Options,
    budget: &dyn Budget,
) -> Report {
    let mut keys = 0;
    let jobs = match jobs(ops, &mut keys, &mut Pace::new(budget)) {
        Ok(jobs) => jobs,
        Err(Spent) => {
            let key = ops.first().map_or(0, |op| op.key);
            let verdict = Verdict::Unknown(untouched(key));
            return Report { verdict, operations: ops.len(), keys, keys_valid: 0 };
        }
    };
    let means = Means {
        budget,
        bytes_max: options.bytes_max / options.threads.max(1),
        shortcuts: options.shortcuts,
        strategy: options.strategy,
    };
    let next = AtomicUsize::new(0);
    // Jobs before the first invalid one are always finished, so threads do not change the verdict.
    let invalid = AtomicUsize::new(usize::MAX);
    let results = Mutex::new(Results::default());
    let work = || loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(job) = jobs.jobs.get(at) else { return };
        if at > invalid.load(Ordering::Relaxed) {
            return;
        }
        let done = one(model, ops, job.key, job.places.of(&jobs.places), means, options);
        if matches!(done, Done::Invalid(_)) {
            invalid.fetch_min(at, Ordering::Relaxed);
        }
        let is_over = matches!(done, Done::Unknown(Unknown { why: Why::Time, .. }));
        results.lock().expect("no holder panics").add(at, done);
        if is_over {
            return;
        }
    };
    if options.threads > 1 && keys > 1 {
        std::thread::scope(|scope| {
            for _ in 0..options.threads.min(keys) {
                scope.spawn(work);
            }
        });
    } else {
        work();
    }
    let results = results.into_inner().expect("no holder panics");
    // Threads may have gone on beyond the first invalid one.
    let end = results.invalid.as_ref().map_or(usize::MAX, |(at, _)| *at);
    let keys_valid = results.valid.iter().filter(|at| **at < end).count();
    let verdict = match (results.invalid, results.unknown) {
        (Some((_, found)), _) => Verdict::Invalid(found),
        (None, Some((_, unknown))) => Verdict::Unknown(unknown),
        (None, None) => Verdict::Valid,
    };
    Report { verdict, operations: ops.len(), keys, keys_valid }
}

/// One job per key, the cheapest first: fewer operations, and fewer of unknown outcome. Counts the
/// keys.
fn jobs<O>(ops: &[Operation<O>], keys: &mut usize, pace: &mut Pace<'_>) -> Result<Jobs, Spent> {
    let mut numbers = Numbers::new();
    let mut job_of = Vec::with_capacity(ops.len());
    // Key, number of operations, cost.
    let mut counts: Vec<(u32, usize, u64)> = Vec::new();
    for op in ops {
        pace.step()?;
        let sound = op.ret.is_none_or(|ret| op.call <= ret && ret < NEVER);
        assert!(sound, "an operation from {} to {:?}", op.call, op.ret);
        let job = numbers.of(hash(&op.key), counts.len(), |at| counts[at].0 == op.key);
        if job as usize == counts.len() {
            counts.push((op.key, 0, 0));
        }
        job_of.push(job);
        let (_, count, cost) = &mut counts[job as usize];
        *count += 1;
        *cost += if op.is_pending() { 50 } else { 1 };
        *keys = counts.len();
    }
    let (mut jobs, mut ends) = (Jobs::default(), Vec::with_capacity(counts.len()));
    let mut end = 0;
    for (key, count, cost) in counts {
        pace.step()?;
        ends.push(end);
        jobs.jobs.push(Job { key, cost, places: Span::new(end..end + count) });
        end += count;
    }
    jobs.places.resize(ops.len(), 0);
    for (place, job) in job_of.into_iter().enumerate() {
        pace.step()?;
        let end = &mut ends[job as usize];
        jobs.places[*end] = narrow(place);
        *end += 1;
    }
    sort(&mut jobs.jobs, 1, |job| (job.cost, job.key), pace)?;
    Ok(jobs)
}

fn one<M: Model>(
    model: &M,
    ops: &[Operation<M::Op>],
    key: u32,
    places: &[u32],
    means: Means<'_>,
    options: Options,
) -> Done {
    if means.budget.is_spent() {
        return Done::Unknown(untouched(key));
    }
    let begin = || beginning(model, ops, key, places, means);
    let classified = of_one_key(ops, places, &mut Pace::new(means.budget));
    let Ok((classes, timed)) = classified else { return begin() };
    let Ok(mut decider) = Decider::new(model, &classes, means) else { return begin() };
    let whole = |place: usize| places[place] as usize;
    match decider.decide(&timed) {
        Decision::Valid => Done::Valid,
        Decision::Unknown { why: Why::Time, reached: None } => begin(),
        Decision::Unknown { why, reached } => Done::Unknown(Unknown {
            key,
            why,
            verified: Prefix {
                returns: reached
                    .map_or(0, |place| timed.iter().filter(|op| op.ret < timed[place].ret).count()),
                next: reached.map(whole),
            },
        }),
        Decision::Invalid { stuck, suspects } => {
            if !options.counterexample {
                return Done::Invalid(Box::new(unexplained(key, stuck.map(|(at, _)| whole(at)))));
            }
            let shrunk = shrink(&mut decider, &timed, stuck, &suspects);
            let core: Vec<(usize, Bound)> =
                shrunk.core.iter().map(|(place, bound)| (whole(*place), *bound)).collect();
            let unknown: Vec<usize> =
                core.iter().map(|(at, _)| *at).filter(|at| ops[*at].is_pending()).collect();
            let prefix = Prefix { next: shrunk.prefix.next.map(whole), ..shrunk.prefix };
            Done::Invalid(Box::new(Counterexample {
                key,
                sentence: sentence(model, ops, &core, shrunk.since.is_some()),
                core,
                unknown,
                minimal: shrunk.minimal,
                since: shrunk.since,
                prefix,
            }))
        }
    }
}

/// The kinds of operations of one key, and the operations.
fn of_one_key<O: Clone + Eq + std::hash::Hash>(
    ops: &[Operation<O>],
    places: &[u32],
    pace: &mut Pace<'_>,
) -> Result<(Vec<O>, Vec<Timed>), Spent> {
    let op = |place: &u32| &ops[*place as usize];
    let (classes, class_of) = classify(places.iter().map(|place| &op(place).op), pace)?;
    let mut timed = Vec::with_capacity(places.len());
    for (place, class) in places.iter().zip(class_of) {
        pace.step()?;
        let Operation { call, ret, .. } = *op(place);
        timed.push(Timed { class, call, ret: ret.unwrap_or(NEVER) });
    }
    Ok((classes, timed))
}

/// With so many first operations of a key it is tried, once the time is up, to say something about it.
const BEGINNINGS: [usize; 3] = [4096, 512, 64];
/// And it is given up after so many looks at the budget, about a millisecond apart at most.
const BEGINNING_LOOKS: usize = 8;

/// How far a key is known to be right for whose whole there was no time: the few milliseconds that
/// this takes are within what a deadline may be overshot by.
fn beginning<M: Model>(
    model: &M,
    ops: &[Operation<M::Op>],
    key: u32,
    places: &[u32],
    means: Means<'_>,
) -> Done {
    let ret = |place: &u32| ops[*place as usize].ret;
    for size in BEGINNINGS {
        let (first, rest) = places.split_at(size.min(places.len()));
        // What is called later comes after all that has returned before.
        let end = rest.iter().map(|place| ops[*place as usize].call).min().unwrap_or(NEVER);
        let looks = AtomicUsize::new(0);
        let budget = || looks.fetch_add(1, Ordering::Relaxed) >= BEGINNING_LOOKS;
        let Ok((classes, mut timed)) = of_one_key(ops, first, &mut Pace::new(&budget)) else {
            continue;
        };
        timed.iter_mut().filter(|op| op.ret >= end).for_each(|op| op.ret = NEVER);
        let Ok(mut decider) = Decider::new(model, &classes, Means { budget: &budget, ..means })
        else {
            continue;
        };
        let end = match decider.decide(&timed) {
            Decision::Valid if rest.is_empty() => return Done::Valid,
            Decision::Valid => end,
            Decision::Unknown { reached: Some(place), .. } => timed[place].ret,
            Decision::Unknown { .. } | Decision::Invalid { .. } => continue,
        };
        let is_before = |place: &&u32| ret(place).is_some_and(|ret| ret < end);
        let returns = places.iter().filter(is_before).count();
        let others = places.iter().filter(|place| ret(place).is_some() && !is_before(place));
        let next = others.min_by_key(|place| ret(place)).map(|place| *place as usize);
        let verified = Prefix { returns, next };
        return Done::Unknown(Unknown { key, why: Why::Time, verified });
    }
    Done::Unknown(untouched(key))
}

/// A key for which there was no time.
fn untouched(key: u32) -> Unknown {
    Unknown { key, why: Why::Time, verified: Prefix { returns: 0, next: None } }
}

fn unexplained(key: u32, stuck: Option<usize>) -> Counterexample {
    Counterexample {
        key,
        core: Vec::new(),
        unknown: Vec::new(),
        minimal: false,
        since: None,
        prefix: Prefix { returns: 0, next: stuck },
        sentence: "no order holds all operations".to_owned(),
    }
}

/// How many operations a sentence spells out.
const WORDED_MAX: usize = 8;

fn sentence<M: Model>(
    model: &M,
    ops: &[Operation<M::Op>],
    core: &[(usize, Bound)],
    any_start: bool,
) -> String {
    let mut words: Vec<String> = core
        .iter()
        .take(WORDED_MAX)
        .map(|(at, bound)| {
            let op = &ops[*at];
            let what = model.describe(&op.op);
            match (op.ret, bound) {
                (Some(ret), Bound::Exactly) => {
                    format!("{what} (process {}, {} to {ret})", op.process, op.call)
                }
                (Some(_), Bound::AfterItsCall) => {
                    format!("{what} (process {}, not before {})", op.process, op.call)
                }
                (None, _) => {
                    let (process, call) = (op.process, op.call);
                    format!("{what} (process {process}, outcome unknown, not before {call})")
                }
            }
        })
        .collect();
    if core.len() > WORDED_MAX {
        words.push(format!("{} more", core.len() - WORDED_MAX));
    }
    let words = crate::phrase::list(words);
    let rest = match any_start {
        true => "whatever the state before them and whatever else happened",
        false => "whatever else happened",
    };
    match core.len() {
        1 => format!("{words} cannot have happened, {rest}"),
        _ => format!("no order holds {words}, {rest}"),
    }
}
