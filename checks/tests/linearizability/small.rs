//! Every small history of every model; `examples/exhaustive.rs` goes further.

use std::fmt::Debug;

use usurper_checks::{
    linearizability::Model,
    models::{Counter, FailedCas, List, Lock, Queue, Register, Set, Text},
};

use crate::{
    compare::{compare, compare_verdicts, ways},
    exhaustive::{Bounds, Kind, every_history},
    kinds::{self, start, value},
    oracle::has_order,
};

/// Histories of up to `thorough` operations are held against both oracles with their
/// counterexamples, those of up to `most` against one.
fn every<M: Model + Debug>(
    model: &M,
    kinds: &[Kind<M::Op>],
    (thorough, most): (usize, usize),
    with_start: &dyn Fn(usize) -> Option<M>,
) {
    let (mut valid, mut invalid) = (0_u64, 0_u64);
    for operations in 0..=most {
        let unanswered_observations = operations <= thorough;
        let bounds = Bounds {
            operations,
            processes: 3,
            unanswered_observations,
            beyond_invalid: true,
            shard: (0, 1),
        };
        every_history(model, kinds, bounds, &mut |ops, expected| {
            if operations <= thorough {
                assert_eq!(has_order(model, ops), expected, "the oracles differ: {ops:#?}");
                compare(model, ops, with_start);
            } else {
                compare_verdicts(model, ops, ways(model), expected);
            }
            match expected {
                true => valid += 1,
                false => invalid += 1,
            }
        });
    }
    assert!(valid > 1_000 && invalid > 1_000, "{valid} valid, {invalid} invalid");
}

#[test]
fn every_small_register_is_judged_as_the_oracle_does() {
    for failed_cas in [FailedCas::SawAnother, FailedCas::DidNotHappen] {
        let register = Register { initial: value(0), failed_cas };
        every(&register, &kinds::register(), (3, 3), &start(failed_cas));
    }
}

#[test]
fn every_small_read_write_register_is_judged_as_the_oracle_does() {
    let failed_cas = FailedCas::SawAnother;
    let register = Register { initial: value(0), failed_cas };
    every(&register, &kinds::read_write(), (3, 4), &start(failed_cas));
}

#[test]
fn every_small_register_of_unique_values_is_judged_as_the_oracle_does() {
    let failed_cas = FailedCas::SawAnother;
    let register = Register { initial: value(0), failed_cas };
    every(&register, &kinds::chain(), (4, 4), &start(failed_cas));
}

#[test]
fn every_small_list_is_judged_as_the_oracle_does() {
    every(&List, &kinds::list(), (3, 4), &|_| None);
}

#[test]
fn every_small_text_is_judged_as_the_oracle_does() {
    every(&Text, &kinds::text(), (3, 3), &|_| None);
}

#[test]
fn every_small_counter_is_judged_as_the_oracle_does() {
    every(&Counter { initial: 0 }, &kinds::counter(), (3, 3), &|_| None);
}

#[test]
fn every_small_set_is_judged_as_the_oracle_does() {
    every(&Set, &kinds::set(), (3, 4), &|_| None);
}

#[test]
fn every_small_queue_is_judged_as_the_oracle_does() {
    every(&Queue, &kinds::queue(), (3, 4), &|_| None);
}

#[test]
fn every_small_lock_is_judged_as_the_oracle_does() {
    every(&Lock, &kinds::lock(), (3, 3), &|_| None);
}
