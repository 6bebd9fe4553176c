//! A whole history: split by key, the cheapest keys first, and one report.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    budget::Budget,
    counterexample::{Bound, Counterexample, Prefix, shrink},
    decide::{Decider, Decision, Means, Why},
    model::{Model, classify},
    operation::{NEVER, Operation, Timed, narrow},
    search::Strategy,
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
struct Job {
    key: u32,
    /// Places in the list that is checked.
    places: Vec<u32>,
}

enum Done {
    Valid,
    Unknown(Unknown),
    Invalid(Box<Counterexample>),
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
    let jobs = jobs(ops);
    let keys = jobs.len();
    let means = Means {
        budget,
        bytes_max: options.bytes_max / options.threads.max(1),
        shortcuts: options.shortcuts,
        strategy: options.strategy,
    };
    let next = AtomicUsize::new(0);
    // Jobs before the first invalid one are always finished, so threads do not change the verdict.
    let mut invalid = AtomicUsize::new(usize::MAX);
    let results = Mutex::new(Vec::with_capacity(keys));
    let work = || loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(job) = jobs.get(at) else { return };
        if at > invalid.load(Ordering::Relaxed) {
            return;
        }
        let done = one(model, ops, job, means, options.counterexample);
        if matches!(done, Done::Invalid(_)) {
            invalid.fetch_min(at, Ordering::Relaxed);
        }
        results.lock().expect("no holder panics").push((at, done));
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
    let mut results = results.into_inner().expect("no holder panics");
    results.sort_by_key(|(at, _)| *at);
    // Threads may have gone on beyond the first invalid one.
    results.truncate(results.iter().filter(|(at, _)| at <= invalid.get_mut()).count());
    let keys_valid = results.iter().filter(|(_, done)| matches!(done, Done::Valid)).count();
    let mut verdict = Verdict::Valid;
    for (_, done) in results {
        match (done, &verdict) {
            (Done::Invalid(found), _) => {
                verdict = Verdict::Invalid(found);
                break;
            }
            (Done::Unknown(unknown), Verdict::Valid) => verdict = Verdict::Unknown(unknown),
            _ => {}
        }
    }
    Report { verdict, operations: ops.len(), keys, keys_valid }
}

/// One job per key, the cheapest first: fewer operations, and fewer of unknown outcome.
fn jobs<O>(ops: &[Operation<O>]) -> Vec<Job> {
    let mut at: super::model::FastMap<u32, usize> = Default::default();
    let mut jobs: Vec<(usize, Job)> = Vec::new();
    for (place, op) in ops.iter().enumerate() {
        let sound = op.ret.is_none_or(|ret| op.call <= ret && ret < NEVER);
        assert!(sound, "an operation from {} to {:?}", op.call, op.ret);
        let job = *at.entry(op.key).or_insert_with(|| {
            jobs.push((0, Job { key: op.key, places: Vec::new() }));
            jobs.len() - 1
        });
        let (cost, job) = &mut jobs[job];
        job.places.push(narrow(place));
        *cost += if op.is_pending() { 50 } else { 1 };
    }
    jobs.sort_by_key(|(cost, job)| (*cost, job.key));
    jobs.into_iter().map(|(_, job)| job).collect()
}

fn one<M: Model>(
    model: &M,
    ops: &[Operation<M::Op>],
    job: &Job,
    means: Means<'_>,
    explain: bool,
) -> Done {
    if means.budget.is_spent() {
        return untouched(job.key);
    }
    let of_key = || job.places.iter().map(|place| &ops[*place as usize]);
    let classified = classify(of_key().map(|op| &op.op), means.budget);
    let Ok((classes, class_of)) = classified else { return untouched(job.key) };
    let timed: Vec<Timed> = of_key()
        .zip(class_of)
        .map(|(op, class)| Timed { class, call: op.call, ret: op.ret.unwrap_or(NEVER) })
        .collect();
    let whole = |place: usize| job.places[place] as usize;
    let mut decider = Decider::new(model, &classes, means);
    match decider.decide(&timed) {
        Decision::Valid => Done::Valid,
        Decision::Unknown { why, reached } => Done::Unknown(Unknown {
            key: job.key,
            why,
            verified: Prefix {
                returns: reached
                    .map_or(0, |place| timed.iter().filter(|op| op.ret < timed[place].ret).count()),
                next: reached.map(whole),
            },
        }),
        Decision::Invalid { stuck, suspects } => {
            if !explain {
                return Done::Invalid(Box::new(unexplained(
                    job.key,
                    stuck.map(|(at, _)| whole(at)),
                )));
            }
            let shrunk = shrink(&mut decider, &timed, stuck, &suspects);
            let core: Vec<(usize, Bound)> =
                shrunk.core.iter().map(|(place, bound)| (whole(*place), *bound)).collect();
            let unknown: Vec<usize> =
                core.iter().map(|(at, _)| *at).filter(|at| ops[*at].is_pending()).collect();
            let prefix = Prefix { next: shrunk.prefix.next.map(whole), ..shrunk.prefix };
            Done::Invalid(Box::new(Counterexample {
                key: job.key,
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

/// A key for which there was no time.
fn untouched(key: u32) -> Done {
    let verified = Prefix { returns: 0, next: None };
    Done::Unknown(Unknown { key, why: Why::Time, verified })
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
