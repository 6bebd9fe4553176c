//! The `linearizable` check over the client operations of a history.
//!
//! Operations are paired and put into the words of a model, each key by what it is; [`linearizability`](crate::linearizability)
//! decides. Positions are the lines of the history: the harness writes an operation's `invoke`
//! before it sends anything and its completion after it has received everything, so the interval
//! between the two lines is never shorter than the operation was.

mod object;
mod operations;
mod registers;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::{NodeId, OpRecord};

pub use object::Object;
pub(crate) use operations::{Function, Operations, Told, changes};
pub(crate) use registers::Registers;
pub(crate) use sessions::{Order, order};

use crate::{
    linearizability::{
        Budget, Operation, Options, Pace, PairError, Prefix, Report, Spent, Unknown, Verdict, Why,
    },
    models::{FailedCas, Value},
    phrase::{counted, list},
    verdict::{Finding, Judgement},
};

/// One `op` record, where it stands and when it was made.
#[derive(Clone, Copy, Debug)]
pub struct ClientRecord<'a> {
    /// The line of the history; the header is line 1.
    pub line: u64,
    /// Nanoseconds since the run's origin.
    pub t: u64,
    pub op: &'a OpRecord,
}

/// How to judge client operations.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// What every key is; none to tell from the operations' names.
    pub object: Option<Object>,
    /// What a register holds at first.
    pub initial: Value,
    pub failed_cas: FailedCas,
    pub options: Options,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            object: None,
            initial: Value::Nil,
            failed_cas: FailedCas::DidNotHappen,
            options: Options::default(),
        }
    }
}

/// What the client operations were found to be.
#[derive(Clone, Debug)]
pub struct ClientJudgement {
    pub judgement: Judgement,
    /// Why it is unknown.
    pub reason: Option<String>,
    /// What was judged, and how a failed compare-and-set was taken.
    pub note: Option<String>,
    pub findings: Vec<Finding>,
    /// Each kind of object with the checker's own report.
    pub objects: Vec<Judged>,
}

/// The keys of one kind.
#[derive(Clone, Debug)]
pub struct Judged {
    pub object: Object,
    /// Places are those in `operations`.
    pub report: Report,
    /// The operations that were judged: the lines of call and return of each.
    pub operations: Vec<(u64, Option<u64>)>,
}

/// Client records that no client can have made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error("line {line}: `{what}` completes the `{asked}` of line {invoked}")]
    OtherOperation { line: u64, what: String, asked: String, invoked: u64 },
    #[error("line {line}: value `{value}`, expected {expected}")]
    Value { line: u64, value: String, expected: &'static str },
}

/// Judges whether client operations are linearizable, each key on its own.
///
/// A history without an operation that observed something is unknown.
///
/// # Errors
/// Records that no client can have made: a double completion, a completion without an invoke, two
/// open operations of one process, or a value that is none.
pub fn linearizable(
    records: &[ClientRecord<'_>],
    settings: &ClientSettings,
    budget: &dyn Budget,
) -> Result<ClientJudgement, ClientError> {
    let mut operations = Operations::default();
    records.iter().for_each(|record| operations.observe(*record));
    match operations.error() {
        Some(error) => Err(error.clone()),
        None => decide(&operations, settings, budget),
    }
}

/// As [`linearizable`], of operations that were collected before.
pub(crate) fn decide(
    operations: &Operations,
    settings: &ClientSettings,
    budget: &dyn Budget,
) -> Result<ClientJudgement, ClientError> {
    let mut judged = ClientJudgement {
        judgement: Judgement::Unknown,
        reason: None,
        note: None,
        findings: Vec::new(),
        objects: Vec::new(),
    };
    let told = match operations.known() {
        Ok(told) => told,
        Err(reason) => {
            judged.reason = Some(reason);
            return Ok(judged);
        }
    };
    let Ok(Sorted { objects, unfit, left_out }) = sort(operations, told, settings, budget) else {
        judged.reason = Some("the time was up before any key was looked at".to_owned());
        return Ok(judged);
    };
    let mut reasons: Vec<String> = unfit.into_iter().collect();
    let mut observations = 0;
    let mut keys = Vec::new();
    for (object, told) in objects {
        let checked = object.check(&told, settings, budget)?;
        observations += checked.observations;
        keys.push(counted(checked.report.keys as u64, object.name()));
        match &checked.report.verdict {
            Verdict::Valid => {}
            Verdict::Unknown(unknown) => {
                let key = operations.on_key(unknown.key);
                let why = match unknown.why {
                    Why::Time => "the time was up",
                    Why::Memory => "the search did not fit in memory",
                    Why::Concurrency => "too many operations were open at once",
                };
                let returns = counted(unknown.verified.returns as u64, "return");
                let twice = put_twice(object, &told, unknown.key);
                let advice = twice.map_or_else(String::new, |put| {
                    format!("; {put} twice, and where each value is new no search is needed")
                });
                reasons
                    .push(format!("{why}{key}; an order is known for the first {returns}{advice}"));
            }
            Verdict::Invalid(found) => {
                let lines: BTreeSet<u64> =
                    found.core.iter().map(|(place, _)| checked.ops[*place].0).collect();
                let of_core = |told: &&Told| lines.contains(&told.call.line);
                let core: Vec<&Told> = told.iter().copied().filter(of_core).collect();
                let key = operations.on_key(found.key);
                let sentence = format!(
                    "{}{key} (positions are lines); an order is known for its first {}",
                    found.sentence,
                    counted(found.prefix.returns as u64, "return")
                );
                judged.findings.push(finding(&core, sentence));
            }
        }
        let Checked { report, ops: operations, .. } = checked;
        judged.objects.push(Judged { object, report, operations });
    }
    judged.note = Some(format!(
        "{}; {}{}",
        list(keys),
        settings.failed_cas.name(),
        left_out.map(|words| format!("; {words}")).unwrap_or_default()
    ));
    if !judged.findings.is_empty() {
        judged.judgement = Judgement::Invalid;
    } else if !reasons.is_empty() {
        judged.reason = Some(reasons.join("; "));
    } else if observations == 0 {
        judged.reason = Some("no operation observed anything".to_owned());
    } else {
        judged.judgement = Judgement::Valid;
    }
    Ok(judged)
}

/// A value that was put into one key more than once, so that what is read does not tell which it was.
fn put_twice(object: Object, told: &[&Told], key: u32) -> Option<String> {
    let (f, put) = match object {
        Object::List => (Function::Append, "appended"),
        Object::Register => (Function::Write, "written"),
        _ => return None,
    };
    let told = told.iter().filter(|told| told.key == key);
    if told.clone().any(|told| told.f == Function::Cas) {
        return None;
    }
    let mut seen = BTreeSet::new();
    let mut values = told.filter(|told| told.f == f).map(|told| Value::from(&told.asked));
    let again = values.find(|value| !seen.insert(value.clone()))?;
    Some(format!("{again} was {put}"))
}

/// Operations by what their keys are.
struct Sorted<'a> {
    objects: BTreeMap<Object, Vec<&'a Told>>,
    /// Why some key cannot be judged.
    unfit: Option<String>,
    /// What was not looked at, and need not be.
    left_out: Option<String>,
}

/// Tells of each key what it is. A key of which no model knows anything is left out: a system's own
/// functions do not bear on the others. One of which only a part is known cannot be judged. One that is
/// only read is what the others are: a list that nobody has appended to yet is no register.
fn sort<'a>(
    operations: &Operations,
    told: &'a [Told],
    settings: &ClientSettings,
    budget: &dyn Budget,
) -> Result<Sorted<'a>, Spent> {
    let mut pace = Pace::new(budget);
    let mut by_key: Vec<Vec<&Told>> = vec![Vec::new(); operations.keys()];
    for told in told {
        pace.step()?;
        by_key[told.key as usize].push(told);
    }
    let mut sorted = Sorted { objects: BTreeMap::new(), unfit: None, left_out: None };
    let mut others = BTreeSet::new();
    let mut count = 0;
    let mut only_read = Vec::new();
    for told in by_key {
        let Some(first) = told.first() else { continue };
        pace.steps(told.len())?;
        if !told.iter().any(|told| told.f.is_known()) {
            count += told.len() as u64;
            others.extend(told.iter().map(|told| format!("`{}`", operations.name(told.f))));
            continue;
        }
        if settings.object.is_none() && told.iter().all(|told| told.f == Function::Read) {
            only_read.push(told);
            continue;
        }
        match Object::of(told.iter().copied(), settings.object) {
            Ok(object) => sorted.objects.entry(object).or_default().extend(told),
            Err((object, f)) => {
                let (key, f) = (operations.on_key(first.key), operations.name(f));
                let reason = format!("no model of a {} knows `{f}`{key}", object.name());
                sorted.unfit.get_or_insert(reason);
            }
        }
    }
    let readable: Vec<Object> = sorted.objects.keys().copied().filter(|it| it.is_read()).collect();
    for told in only_read {
        match readable.as_slice() {
            [object] => sorted.objects.entry(*object).or_default().extend(told),
            // What holds nothing is a register that nobody wrote, if it is anything.
            _ if told.iter().all(|told| told.answered.is_null()) => {
                sorted.objects.entry(Object::Register).or_default().extend(told);
            }
            _ => {
                let key = operations.on_key(told[0].key);
                let reason = format!("nothing tells what is read{key}: it was never written");
                sorted.unfit.get_or_insert(reason);
            }
        }
    }
    if count > 0 {
        sorted.left_out = Some(format!(
            "{} of {} {} of no model",
            counted(count, "operation"),
            list(others),
            if count == 1 { "is" } else { "are" }
        ));
    }
    Ok(sorted)
}

/// What came of a check, before it is put into words.
pub(crate) struct Checked {
    report: Report,
    /// The lines of each operation.
    ops: Vec<(u64, Option<u64>)>,
    observations: usize,
}

impl Checked {
    /// The time was up before the operations were in the words of a model.
    fn out_of_time(key: u32, operations: usize) -> Self {
        let verified = Prefix { returns: 0, next: None };
        let verdict = Verdict::Unknown(Unknown { key, why: Why::Time, verified });
        let report = Report { verdict, operations, keys: 1, keys_valid: 0 };
        Self { report, ops: Vec::new(), observations: 0 }
    }

    fn new<O>(report: Report, ops: &[Operation<O>], observations: usize) -> Self {
        let ops = ops.iter().map(|op| (op.call, op.ret)).collect();
        Self { report, ops, observations }
    }
}

/// A finding about these operations.
pub(crate) fn finding(core: &[&Told], sentence: String) -> Finding {
    let ends = || core.iter().filter_map(|told| told.end);
    let servers: BTreeSet<NodeId> = core.iter().filter_map(|told| told.server).collect();
    let lines = core.iter().map(|told| told.call.line).chain(ends().map(|end| end.mark.line));
    let times = || core.iter().map(|told| told.call.t).chain(ends().map(|end| end.mark.t));
    Finding {
        sentence,
        nodes: servers.into_iter().collect(),
        from_ns: times().min().unwrap_or(0),
        to_ns: times().max().unwrap_or(0),
        lines: crate::findings::lines(lines),
    }
}

#[cfg(test)]
mod tests;
