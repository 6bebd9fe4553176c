//! Holds the linearizability checker against the oracle for every history of so many operations by
//! three processes.
//!
//! ```sh
//! cargo run --release -p usurper-checks --example exhaustive -- MODEL KINDS OPERATIONS ENDS [SHARD/SHARDS]
//! ```
//!
//! A model is one of `register`, `read-write`, `chain`, `list`, `text`, `counter`, `set`, `queue` and
//! `lock`. Its kinds of operations are `all` or `few`. With `whole`, every history has all its
//! operations. With `first`, those that have an order have, and the others end at the first return
//! that no order reaches: whatever went on from there would have no order either, so these are all
//! ways to become invalid with up to so many operations. Shards are numbered from 0; each can run
//! by itself, and all of them make the whole.

#![expect(clippy::print_stdout, reason = "it says what it has done")]

use usurper_checks::{
    linearizability::{Decider, Decision, Means, Model, NEVER, Timed, Unlimited},
    models::{Counter, FailedCas, List, Lock, Queue, Register, Set, Text},
};

#[path = "../tests/linearizability/compare.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod compare;
#[path = "../tests/linearizability/exhaustive.rs"]
mod exhaustive;
#[path = "../tests/linearizability/kinds.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod kinds;
#[path = "../tests/linearizability/oracle.rs"]
mod oracle;

use exhaustive::{Bounds, Kind, every_history};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, kinds, operations, ends, rest @ ..] = words.as_slice() else {
        panic!("expected MODEL KINDS OPERATIONS ENDS [SHARD/SHARDS]")
    };
    let few = match kinds.as_str() {
        "all" => false,
        "few" => true,
        other => panic!("kinds are `all` or `few`, not `{other}`"),
    };
    let beyond_invalid = match ends.as_str() {
        "whole" => true,
        "first" => false,
        other => panic!("histories end `whole` or `first`, not `{other}`"),
    };
    let operations = operations.parse().expect("a number of operations");
    let shard = rest.first().map_or((0, 1), |shard| {
        let (shard, of) = shard.split_once('/').expect("SHARD/SHARDS");
        (shard.parse().expect("a number"), of.parse().expect("a number"))
    });
    let asked = Asked {
        few,
        bounds: Bounds {
            operations,
            processes: 3,
            unanswered_observations: false,
            beyond_invalid,
            shard,
        },
    };
    let register = Register { initial: kinds::value(0), failed_cas: FailedCas::SawAnother };
    match name.as_str() {
        "register" => run(&register, kinds::register(), asked),
        "read-write" => run(&register, kinds::read_write(), asked),
        "chain" => run(&register, kinds::chain(), asked),
        "list" => run(&List, kinds::list(), asked),
        "text" => run(&Text, kinds::text(), asked),
        "counter" => run(&Counter { initial: 0 }, kinds::counter(), asked),
        "set" => run(&Set, kinds::set(), asked),
        "queue" => run(&Queue, kinds::queue(), asked),
        "lock" => run(&Lock, kinds::lock(), asked),
        other => panic!("no model `{other}`"),
    }
}

/// So many of the first kinds make longer histories possible.
const FEW: usize = 4;

struct Asked {
    few: bool,
    bounds: Bounds,
}

fn run<M: Model>(model: &M, mut kinds: Vec<Kind<M::Op>>, asked: Asked) {
    if asked.few {
        kinds.truncate(FEW);
        // They need not be closed under renaming values any more.
        kinds.iter_mut().for_each(|kind| kind.mentions = &[]);
    }
    let classes: Vec<M::Op> = kinds.iter().map(|kind| kind.op.clone()).collect();
    // Each remembers what the model said from one history to the next.
    let mut deciders: Vec<Decider<'_, M>> = compare::ways(model)
        .iter()
        .map(|(shortcuts, strategy)| {
            let (shortcuts, strategy) = (*shortcuts, *strategy);
            let means = Means { budget: &Unlimited, bytes_max: 1 << 26, shortcuts, strategy };
            Decider::new(model, &classes, means).expect("no time limit")
        })
        .collect();
    let mut timed = Vec::new();
    let (mut valid, mut invalid) = (0_u64, 0_u64);
    every_history(model, &kinds, asked.bounds, &mut |ops, expected| {
        timed.clear();
        timed.extend(ops.iter().map(|op| {
            let class = classes.iter().position(|class| *class == op.op).expect("one of the kinds");
            let class = u32::try_from(class).expect("few kinds");
            Timed { class, call: op.call, ret: op.ret.unwrap_or(NEVER) }
        }));
        for decider in &mut deciders {
            let decision = decider.decide(&timed);
            let agrees = match decision {
                Decision::Valid => expected,
                Decision::Invalid { .. } => !expected,
                Decision::Unknown { .. } => false,
            };
            assert!(agrees, "{decision:?} instead of {expected}: {ops:#?}");
        }
        match expected {
            true => valid += 1,
            false => invalid += 1,
        }
    });
    println!("{valid} valid and {invalid} invalid, all agree");
}
