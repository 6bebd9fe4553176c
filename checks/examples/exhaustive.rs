//! Holds the linearizability checker against the oracle for every history of so many operations by
//! three processes.
//!
//! ```sh
//! cargo run --release -p usurper-checks --example exhaustive -- MODEL KINDS OPERATIONS [SHARD/SHARDS]
//! ```
//!
//! A model is one of `register`, `read-write`, `chain`, `list`, `text`, `counter`, `set`, `queue` and
//! `lock`. Its kinds of operations are `all` or `few`. Shards are numbered from 0; each can run by
//! itself, and all of them make the whole.

#![expect(clippy::print_stdout, reason = "it says what it has done")]

use usurper_checks::{
    linearizability::Model,
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
    let [name, kinds, operations, rest @ ..] = words.as_slice() else {
        panic!("expected MODEL KINDS OPERATIONS [SHARD/SHARDS]")
    };
    let few = match kinds.as_str() {
        "all" => false,
        "few" => true,
        other => panic!("kinds are `all` or `few`, not `{other}`"),
    };
    let operations = operations.parse().expect("a number of operations");
    let shard = rest.first().map_or((0, 1), |shard| {
        let (shard, of) = shard.split_once('/').expect("SHARD/SHARDS");
        (shard.parse().expect("a number"), of.parse().expect("a number"))
    });
    let asked = Asked {
        few,
        bounds: Bounds { operations, processes: 3, unanswered_observations: false, shard },
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
    let (mut valid, mut invalid) = (0_u64, 0_u64);
    every_history(model, &kinds, asked.bounds, &mut |ops, expected| {
        compare::compare_verdicts(model, ops, expected);
        match expected {
            true => valid += 1,
            false => invalid += 1,
        }
    });
    println!("{valid} valid and {invalid} invalid, all agree");
}
