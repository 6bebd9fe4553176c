//! Histories beyond those that can all be tried: drawn by chance, nearly right.

use usurper_checks::{
    linearizability::Model,
    models::{Counter, FailedCas, List, Lock, Queue, Register, Set, Text},
};

use crate::{
    compare::{compare_verdicts, ways},
    exhaustive::Kind,
    kinds::{self, value},
    near::{Near, near},
    oracle::has_order,
    random::Chance,
};

/// Valid and invalid ones.
pub(crate) type Counts = (u64, u64);

fn agree<M: Model>(chance: &mut Chance, model: &M, kinds: &[Kind<M::Op>], counts: &mut Counts) {
    let how = Near {
        operations: 8 + chance.below(4),
        processes: 2 + chance.below(3),
        unknown_one_in: 8,
        wrong_one_in: 16,
    };
    let ops = near(chance, model, kinds, how);
    let expected = has_order(model, &ops);
    compare_verdicts(model, &ops, ways(model), expected);
    match expected {
        true => counts.0 += 1,
        false => counts.1 += 1,
    }
}

/// Holds every way of deciding against the oracle on so many histories of each model.
pub(crate) fn oracle_agrees(seed: u64, count: usize) -> [(&'static str, Counts); 7] {
    let mut chance = Chance::new(seed);
    let names = ["registers", "lists", "texts", "counters", "sets", "queues", "locks"];
    let mut counts = names.map(|name| (name, (0, 0)));
    let (registers, lists, texts) = (kinds::register(), kinds::list(), kinds::text());
    let (counters, sets) = (kinds::counter(), kinds::set());
    let (queues, locks) = (kinds::queue(), kinds::lock());
    for _ in 0..count {
        let failed_cas = [FailedCas::SawAnother, FailedCas::DidNotHappen][chance.below(2)];
        let register = Register { initial: value(0), failed_cas };
        agree(&mut chance, &register, &registers, &mut counts[0].1);
        agree(&mut chance, &List, &lists, &mut counts[1].1);
        agree(&mut chance, &Text, &texts, &mut counts[2].1);
        agree(&mut chance, &Counter { initial: 0 }, &counters, &mut counts[3].1);
        agree(&mut chance, &Set, &sets, &mut counts[4].1);
        agree(&mut chance, &Queue, &queues, &mut counts[5].1);
        agree(&mut chance, &Lock, &locks, &mut counts[6].1);
    }
    counts
}

#[test]
fn nearly_right_histories_are_judged_as_the_oracle_does() {
    for (name, (valid, invalid)) in oracle_agrees(32, 300 * crate::factor()) {
        assert!(valid > 20 && invalid > 20, "{name}: {valid} valid, {invalid} invalid");
    }
}
