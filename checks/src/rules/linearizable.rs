//! `linearizable` (S10): clients see one copy of the data, and never an old one.
//!
//! Rule: for each key there is an order of its operations in which every answer is right, and in
//! which each operation stands between its call and its return (Herlihy & Wing 1990). A key is
//! judged on its own, which loses nothing (their theorem 1), by what it is: a register, text, list,
//! counter, set, queue or lock, told from the names of its operations unless `model` says so. A lock
//! is held by one at a time, and each token is larger than all before (fencing: Chubby, OSDI 2006,
//! §2.4).
//!
//! An operation that ended in `info`, or never, may take effect at any later time, or never. One
//! that failed with an error did not happen. One that failed without got the system's plain no: a
//! refused `acquire` or `release` tells of the state; a failed `cas` does so unless `failed-cas` says
//! that it tells nothing (`did-not-happen`, as in Jepsen).
//!
//! Positions are lines: an `invoke` is recorded before anything is sent, a completion after the
//! answer came, so that an interval is never shorter than the truth.
//!
//! What it cannot see: order between keys beyond what each key's real-time order implies, and what
//! nobody read. A key whose operations no model knows is left out, and a key of which a model knows
//! only some is unknown. Beyond the time or memory that it is given, it is unknown, with the largest
//! part that has an order.

use usurper_history::{Header, OPERATIONS, Record};

use crate::{
    check::{Check, CheckInfo, Means, Options},
    client_ops::{self, ClientSettings, Object},
    findings::Outcome,
    linearizability,
    models::FailedCas,
    timeline::Timeline,
    verdict::Judgement,
};

const SAW_ANOTHER: &str = "saw-another";
const DID_NOT_HAPPEN: &str = "did-not-happen";
const TIME_LIMIT_NS: u64 = 60_000_000_000;
const MEMORY_BYTES: u64 = 512 << 20;

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "linearizable",
    summary: "each key's operations took effect one by one, each between its call and its return",
    source: "S10; F-026, F-034",
    needs: &[OPERATIONS],
    options: &[
        ("time-limit-ns", "how long to search before the verdict is unknown (default: 60 s)"),
        ("memory-bytes", "how much memory one key's search may take (default: 512 MiB)"),
    ],
    choices: &[
        (
            "model",
            "what every key is (default: told from the operations' names)",
            &["register", "text", "list", "counter", "set", "queue", "lock"],
        ),
        (
            "failed-cas",
            "what a cas means that failed without an error (default: saw-another)",
            &[SAW_ANOTHER, DID_NOT_HAPPEN],
        ),
    ],
    make,
};

#[derive(Debug)]
struct Linearizable {
    settings: ClientSettings,
    limit_ns: u64,
    means: Means,
}

fn make(_header: &Header, options: &Options) -> Box<dyn Check> {
    let model = options.chosen("model");
    let bytes = options.get("memory-bytes").unwrap_or(MEMORY_BYTES);
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let threads = options.means.threads.max(1);
    let defaults = linearizability::Options::default();
    Box::new(Linearizable {
        settings: ClientSettings {
            object: Object::ALL.into_iter().find(|object| Some(object.name()) == model),
            failed_cas: match options.chosen("failed-cas") {
                Some(DID_NOT_HAPPEN) => FailedCas::DidNotHappen,
                _ => FailedCas::SawAnother,
            },
            // The bytes are shared among the threads; how many there are must not tell.
            options: linearizability::Options {
                bytes_max: bytes.saturating_mul(threads),
                threads,
                ..defaults
            },
            ..ClientSettings::default()
        },
        limit_ns: options.get("time-limit-ns").unwrap_or(TIME_LIMIT_NS),
        means: options.means.clone(),
    })
}

impl Check for Linearizable {
    fn observe(&mut self, _line: u64, _record: &Record, _timeline: &Timeline) {}

    fn finish(self: Box<Self>, _now: u64, timeline: &Timeline) -> Outcome {
        let elapsed = || self.means.elapsed_ns.as_ref().map_or(0, |elapsed| elapsed());
        let until = elapsed().saturating_add(self.limit_ns);
        let budget = || elapsed() >= until;
        let mut outcome = Outcome::default();
        match client_ops::decide(&timeline.operations, &self.settings, &budget) {
            Err(error) => outcome.error = Some(error),
            Ok(judged) => {
                for finding in judged.findings {
                    outcome.findings.push(finding);
                }
                outcome.note = judged.note;
                if judged.judgement == Judgement::Unknown {
                    outcome.unknown =
                        Some(judged.reason.unwrap_or_else(|| "nothing was decided".to_owned()));
                }
            }
        }
        outcome
    }
}
