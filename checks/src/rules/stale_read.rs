//! `stale-read` (S10): how long a value had been overwritten when a read returned it.
//!
//! Rule: a read is stale by the time from the end of the first write that certainly came after the
//! one it saw, until the read was called. One write certainly came after another if it was called
//! after that one had ended, or replaced it by a compare-and-set; a write has ended once it returned
//! or somebody had seen it. So a read is at least as stale as is said, never less. A read of a
//! linearizable system is never stale at all; one that ZooKeeper answers by itself may be, and
//! promises only to be recent within a time. So without `bound-ns` stale reads are warnings with a
//! rate, and with it a longer time is a finding.
//!
//! Decided for registers whose written values are unique, as `sequential` is.
//!
//! What it cannot see: staleness among writes that overlap, and reads that never returned.

use std::collections::BTreeMap;

use usurper_history::{Header, OPERATIONS, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    client_ops::{self, Registers},
    findings::Outcome,
    phrase::{counted, duration},
    timeline::Timeline,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "stale-read",
    summary: "no read returns what had been overwritten for longer than the bound",
    source: "S10; A.4, F-026",
    needs: &[OPERATIONS],
    options: &[(
        "bound-ns",
        "how long a value may have been overwritten (default: none, stale reads are warnings)",
    )],
    choices: &[],
    make,
};

#[derive(Debug)]
struct StaleRead {
    bound_ns: Option<u64>,
}

fn make(_header: &Header, options: &Options) -> Box<dyn Check> {
    Box::new(StaleRead { bound_ns: options.get("bound-ns") })
}

impl Check for StaleRead {
    fn observe(&mut self, _line: u64, _record: &Record, _timeline: &Timeline) {}

    fn finish(self: Box<Self>, _now: u64, timeline: &Timeline) -> Outcome {
        let operations = &timeline.operations;
        let mut outcome = Outcome::default();
        let registers = match Registers::of(operations) {
            Ok(registers) => registers,
            Err(reason) => return Outcome { unknown: Some(reason), ..outcome },
        };
        if registers.reads.is_empty() {
            outcome.unknown = Some("no operation observed anything".to_owned());
            return outcome;
        }
        let overwritten = overwritten(&registers);
        let (mut stale, mut longest) = (0, 0);
        for read in &registers.reads {
            let Some((since, by)) = overwritten[read.saw] else { continue };
            let told = read.told;
            if registers.writes[by].end >= told.call.line {
                continue;
            }
            let age = told.call.t - since;
            stale += 1;
            longest = longest.max(age);
            let sentence = format!(
                "{} returned what had been overwritten for {}",
                operations.describe(told, &operations.on_key(told.key)),
                duration(age)
            );
            let core: Vec<_> = registers.writes[by].told.into_iter().chain([told]).collect();
            let finding = client_ops::finding(&core, sentence);
            match self.bound_ns {
                Some(bound) if timeline.stalls.lasted(since, told.call.t) > bound => {
                    outcome.findings.push(finding)
                }
                _ => outcome.warnings.push(finding),
            };
        }
        let reads = counted(registers.reads.len() as u64, "read");
        outcome.note = (stale > 0)
            .then(|| format!("{stale} of {reads} stale, by up to {}", duration(longest)));
        outcome
    }
}

/// When each write was certainly overwritten, and by which: the first to end of those after it.
fn overwritten(registers: &Registers<'_>) -> Vec<Option<(u64, usize)>> {
    let writes = &registers.writes;
    let mut first: Vec<Option<(u64, usize)>> = vec![None; writes.len()];
    let mut by_key: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, write) in writes.iter().enumerate() {
        by_key.entry(write.key).or_default().push(place);
    }
    for places in by_key.values_mut() {
        places.sort_by_key(|place| writes[*place].call);
        // Of those called at or after each: the one that ended first.
        let mut ends = vec![None; places.len() + 1];
        for at in (0..places.len()).rev() {
            let this = (writes[places[at]].end_ns, places[at]);
            ends[at] = Some(ends[at + 1].map_or(this, |that: (u64, usize)| this.min(that)));
        }
        for place in places.iter() {
            let after = places.partition_point(|it| writes[*it].call <= writes[*place].end);
            first[*place] = ends[after];
        }
    }
    for (place, write) in writes.iter().enumerate() {
        if let Some(replaced) = write.replaced {
            let this = (write.end_ns, place);
            first[replaced] = Some(first[replaced].map_or(this, |that| this.min(that)));
        }
    }
    first
}
