//! `sequential` (S10, of systems that answer reads by themselves): writes take effect in one order,
//! and no session goes back in it.
//!
//! Rule: all writes stand in one order, over all keys, in which each is between its call and its
//! return. Each session has a place in that order, which never goes back: a read returns what its
//! key holds at a place at or after everything that the session has met, its own writes included, and
//! never a write that was not called yet. How far a session is behind does not matter; `stale-read`
//! measures that. It is what ZooKeeper promises: linearizable writes and the order of each client
//! (Hunt, Konar, Junqueira and Reed, USENIX ATC 2010, §2.3).
//!
//! Decided for registers whose written values are unique, because there each read tells which write
//! it has seen. A write of unknown outcome counts once somebody has seen it, from its call to that
//! moment. What has no order by forced steps is invalid, and what has one is valid by that order. In
//! between nothing is said: the general question is NP-complete (Gibbons and Korach 1997).
//!
//! What it cannot see: a failed compare-and-set, whatever it saw; a session that has several
//! operations open at once; and other objects than registers.

use usurper_history::{Header, OPERATIONS, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    client_ops::{self, Order, Registers},
    findings::Outcome,
    phrase::{counted, list},
    timeline::Timeline,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "sequential",
    summary: "writes take effect in one order, and no session goes back in it",
    source: "S10; A.4, F-026",
    needs: &[OPERATIONS],
    options: &[],
    choices: &[],
    make,
};

#[derive(Debug)]
struct Sequential;

fn make(_header: &Header, _options: &Options) -> Box<dyn Check> {
    Box::new(Sequential)
}

impl Check for Sequential {
    fn observe(&mut self, _line: u64, _record: &Record, _timeline: &Timeline) {}

    fn finish(self: Box<Self>, _now: u64, timeline: &Timeline) -> Outcome {
        let operations = &timeline.operations;
        let mut outcome = Outcome::default();
        let registers = match Registers::of(operations) {
            Ok(registers) => registers,
            Err(reason) => return Outcome { unknown: Some(reason), ..outcome },
        };
        for told in &registers.unwritten {
            let sentence = format!(
                "{} found a value that nobody had written",
                operations.describe(told, &operations.on_key(told.key))
            );
            outcome.findings.push(client_ops::finding(&[told], sentence));
        }
        if !registers.unwritten.is_empty() {
            return outcome;
        }
        match client_ops::order(&registers) {
            Order::Found if registers.reads.is_empty() => {
                outcome.unknown = Some("no operation observed anything".to_owned());
            }
            Order::Found => {
                let refused = registers.refused;
                outcome.note = (refused > 0)
                    .then(|| format!("{} not looked at", counted(refused, "failed cas")));
            }
            Order::None(told, why) => {
                let words: Vec<String> = (told.iter())
                    .map(|told| operations.describe(told, &operations.on_key(told.key)))
                    .collect();
                let sentence = format!("no order holds {}: {why}", list(words));
                outcome.findings.push(client_ops::finding(&told, sentence));
            }
            Order::Missed => {
                outcome.unknown = Some("an order was neither found nor excluded".to_owned());
            }
        }
        outcome
    }
}
