//! `lost-acknowledged-write` (S9): what a client was told is written can be read at the end.
//!
//! Rule: the final reads of a key are those that began after each of its acknowledged changes had
//! returned. A change is lost if there are final reads and none of them shows it:
//!
//! - register (unique values): each saw a write that had ended before the lost one was called;
//! - list, set: its element is in none of them, and nobody asked to remove it;
//! - counter that only goes up: each is less than what was acknowledged in sum;
//! - queue: a final `dequeue` found nothing, and the element was handed to nobody, nor may a dequeue
//!   of unknown outcome have taken it.
//!
//! One read that shows it suffices, so a replica that is behind loses nothing. A change of unknown
//! outcome, or one that failed, may be missing: only "acknowledged, then gone" is wrong.
//!
//! What it cannot see: a key without a final read, texts and locks, a write that was overwritten by
//! another since, and one that is lost and written again.

use std::collections::BTreeSet;

use usurper_history::{Header, OPERATIONS, OpType, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    client_ops::{self, Function, Operations, Registers, Told},
    findings::{Findings, Outcome},
    models::Value,
    phrase::counted,
    timeline::Timeline,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "lost-acknowledged-write",
    summary: "what clients were told is written shows in some final read of its key",
    source: "S9; F-012, F-014, F-019",
    needs: &[OPERATIONS],
    options: &[],
    choices: &[],
    make,
};

#[derive(Debug)]
struct LostAcknowledgedWrite;

fn make(_header: &Header, _options: &Options) -> Box<dyn Check> {
    Box::new(LostAcknowledgedWrite)
}

impl Check for LostAcknowledgedWrite {
    fn observe(&mut self, _line: u64, _record: &Record, _timeline: &Timeline) {}

    fn finish(self: Box<Self>, _now: u64, timeline: &Timeline) -> Outcome {
        let operations = &timeline.operations;
        let mut outcome = Outcome::default();
        let told = match operations.known() {
            Ok(told) => told,
            Err(reason) => return Outcome { unknown: Some(reason), ..outcome },
        };
        let mut by_key: Vec<Vec<&Told>> = vec![Vec::new(); operations.keys()];
        told.iter().for_each(|told| by_key[told.key as usize].push(told));
        let (mut judged, mut left_out) = (0, 0);
        for told in by_key.iter().filter(|told| told.iter().any(|it| it.f.changes() && it.is_ok()))
        {
            let key = Key::new(told);
            match key.finals.is_empty() {
                false if key.judge(operations, &mut outcome.findings) => judged += 1,
                _ => left_out += 1,
            }
        }
        if judged == 0 {
            outcome.unknown = Some("no key was read after its last acknowledged change".to_owned());
        } else if left_out > 0 {
            outcome.note = Some(format!("{} without a final read", counted(left_out, "key")));
        }
        outcome
    }
}

/// The operations of one key.
struct Key<'a> {
    told: &'a [&'a Told],
    acknowledged: Vec<&'a Told>,
    finals: Vec<&'a Told>,
}

impl<'a> Key<'a> {
    fn new(told: &'a [&'a Told]) -> Self {
        let acknowledged: Vec<&Told> =
            told.iter().copied().filter(|it| it.f.changes() && it.is_ok()).collect();
        let settled = acknowledged.iter().filter(|it| it.f != Function::Dequeue);
        let settled = settled.map(|told| told.ret()).max().unwrap_or(0);
        let reads = |it: &&Told| matches!(it.f, Function::Read | Function::Dequeue) && it.is_ok();
        let finals = told.iter().copied().filter(reads);
        let finals = finals.filter(|read| read.call.line > settled).collect();
        Self { told, acknowledged, finals }
    }

    /// False where nothing can be said of this key.
    fn judge(&self, operations: &Operations, findings: &mut Findings) -> bool {
        let fits = |fs: &[Function]| self.told.iter().all(|told| fs.contains(&told.f));
        let of_elements = |it: &&Told| {
            matches!(it.f, Function::Append | Function::Remove)
                || it.answered.is_array()
                || it.f == Function::Add && !it.asked.is_i64()
        };
        let has_elements = self.told.iter().any(of_elements);
        if fits(&[Function::Read, Function::Write, Function::Cas]) {
            return self.register(operations, findings);
        } else if fits(&[Function::Enqueue, Function::Dequeue]) {
            self.queue(operations, findings);
        } else if fits(&[Function::Append, Function::Add, Function::Remove, Function::Read])
            && has_elements
        {
            self.elements(operations, findings);
        } else if fits(&[Function::Add, Function::Read]) {
            return self.counter(operations, findings);
        } else {
            return false;
        }
        true
    }

    fn register(&self, operations: &Operations, findings: &mut Findings) -> bool {
        let Ok(registers) = Registers::among(operations, self.told) else { return false };
        let finals: BTreeSet<u64> = self.finals.iter().map(|read| read.call.line).collect();
        let seen: Vec<usize> = (registers.reads.iter())
            .filter(|read| finals.contains(&read.told.call.line))
            .map(|read| read.saw)
            .collect();
        if seen.len() < finals.len() {
            // Some saw what nobody wrote: another check's matter, and no ground for this one.
            return false;
        }
        let latest = seen.iter().map(|saw| registers.writes[*saw].end).max().unwrap_or(0);
        let acknowledged = self.acknowledged.iter().filter(|told| told.call.line > latest);
        acknowledged.for_each(|told| self.lost(told, operations, findings));
        true
    }

    fn elements(&self, operations: &Operations, findings: &mut Findings) {
        let there: BTreeSet<Value> = (self.finals.iter())
            .flat_map(|read| read.answered.as_array().into_iter().flatten())
            .map(Value::from)
            .collect();
        let may_be_gone = |it: &&&Told| it.f == Function::Remove && it.outcome() != OpType::Fail;
        let removed: BTreeSet<Value> =
            self.told.iter().filter(may_be_gone).map(|told| Value::from(&told.asked)).collect();
        for told in self.acknowledged.iter().filter(|it| it.f != Function::Remove) {
            let element = Value::from(&told.asked);
            if !there.contains(&element) && !removed.contains(&element) {
                self.lost(told, operations, findings);
            }
        }
    }

    fn counter(&self, operations: &Operations, findings: &mut Findings) -> bool {
        let adds = self.told.iter().filter(|told| told.f == Function::Add);
        if adds.map(|told| told.asked.as_i64()).any(|it| it.is_none_or(|it| it < 0)) {
            return false;
        }
        let sum: i128 =
            self.acknowledged.iter().filter_map(|it| it.asked.as_i64()).map(i128::from).sum();
        let read = |told: &&Told| i128::from(told.answered.as_i64().unwrap_or(0));
        let most = self.finals.iter().map(read).max().unwrap_or(0);
        if most < sum {
            let last = self.finals[self.finals.len() - 1];
            let sentence = format!(
                "{} were acknowledged in sum{}, and no final read shows more than {most}: {}",
                sum,
                operations.on_key(last.key),
                operations.describe(last, "")
            );
            let core: Vec<&Told> = self.acknowledged.iter().copied().chain([last]).collect();
            findings.push(client_ops::finding(&core, sentence));
        }
        true
    }

    fn queue(&self, operations: &Operations, findings: &mut Findings) {
        let empty = self.finals.iter().any(|read| read.answered.is_null());
        let taken_by_whom = |it: &&&Told| it.f == Function::Dequeue && it.outcome() == OpType::Info;
        let mut may_be_taken = self.told.iter().filter(taken_by_whom).count();
        let taken: BTreeSet<Value> = (self.told.iter())
            .filter(|it| it.f == Function::Dequeue && it.is_ok())
            .map(|told| Value::from(&told.answered))
            .collect();
        for told in self.acknowledged.iter().filter(|it| it.f == Function::Enqueue) {
            if !empty || taken.contains(&Value::from(&told.asked)) {
                continue;
            }
            if may_be_taken > 0 {
                may_be_taken -= 1;
                continue;
            }
            self.lost(told, operations, findings);
        }
    }

    fn lost(&self, told: &Told, operations: &Operations, findings: &mut Findings) {
        let last = self.finals[self.finals.len() - 1];
        let on_key = operations.on_key(told.key);
        let sentence = format!(
            "{} was acknowledged, and no final read shows it; the last is {}",
            operations.describe(told, &on_key),
            operations.describe(last, "")
        );
        findings.push(client_ops::finding(&[told, last], sentence));
    }
}
