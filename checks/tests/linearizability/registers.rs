//! Registers: every small history, and random larger ones.

use usurper_checks::{
    linearizability::Operation,
    models::{FailedCas, Register, RegisterOp, Value},
};

use crate::{
    compare::compare,
    exhaustive::every_history,
    factor,
    random::Chance,
    register_kinds::{FEW, kinds, start, value},
    scatter::scatter,
};

fn register(failed_cas: FailedCas) -> Register {
    Register { initial: Value::Nil, failed_cas }
}

#[test]
fn every_register_history_of_three_operations_is_judged_as_the_oracle_does() {
    for failed_cas in [FailedCas::SawAnother, FailedCas::DidNotHappen] {
        let (mut valid, mut invalid) = (0_u64, 0_u64);
        for count in 0..=3 {
            every_history(&kinds(), count, 3, &mut |ops: &[Operation<RegisterOp>]| match compare(
                &register(failed_cas),
                ops,
                &start(failed_cas),
            ) {
                true => valid += 1,
                false => invalid += 1,
            });
        }
        println!("{valid} valid, {invalid} invalid");
        assert!(valid > 1_000 && invalid > 1_000, "{valid} valid, {invalid} invalid");
    }
}

/// With fewer kinds of operations, the histories may be longer.
#[test]
fn every_register_history_of_four_operations_is_judged_as_the_oracle_does() {
    let failed_cas = FailedCas::SawAnother;
    let (mut valid, mut invalid) = (0_u64, 0_u64);
    every_history(&kinds()[..FEW], 4, 3, &mut |ops: &[Operation<RegisterOp>]| match compare(
        &register(failed_cas),
        ops,
        &start(failed_cas),
    ) {
        true => valid += 1,
        false => invalid += 1,
    });
    assert!(valid > 1_000 && invalid > 1_000, "{valid} valid, {invalid} invalid");
}

#[test]
fn random_registers_are_judged_as_the_oracle_does() {
    let mut chance = Chance::new(1);
    let (mut valid, mut invalid) = (0, 0);
    for _ in 0..3_000 * factor() {
        let operations = 4 + chance.below(5);
        let kinds = kinds();
        let ops = scatter::<Register>(&mut chance, operations, 4, 4, |chance, _| {
            kinds[chance.below(kinds.len())].clone()
        });
        let failed_cas = [FailedCas::SawAnother, FailedCas::DidNotHappen][chance.below(2)];
        match compare(&register(failed_cas), &ops, &start(failed_cas)) {
            true => valid += 1,
            false => invalid += 1,
        }
    }
    assert!(valid > 300 && invalid > 300, "{valid} valid, {invalid} invalid");
}

/// Each value is written once, so that the shortcut applies.
#[test]
fn random_registers_of_unique_values_are_judged_as_the_oracle_does() {
    let mut chance = Chance::new(2);
    let (mut valid, mut invalid) = (0, 0);
    for _ in 0..6_000 * factor() {
        let operations = 3 + chance.below(6);
        let seen = |chance: &mut Chance| match chance.below(operations.min(4)) {
            0 => Value::Nil,
            at => value(at),
        };
        let casses = chance.one_in(2);
        let mut next = 0;
        let ops = scatter::<Register>(&mut chance, operations, 4, 5, |chance, _| {
            match chance.below(if casses { 4 } else { 3 }) {
                0 => {
                    next += 1;
                    RegisterOp::Write(value(next))
                }
                3 => {
                    next += 1;
                    RegisterOp::Cas { from: seen(chance), to: value(next) }
                }
                _ => RegisterOp::Read(seen(chance)),
            }
        });
        let failed_cas = FailedCas::SawAnother;
        match compare(&register(failed_cas), &ops, &start(failed_cas)) {
            true => valid += 1,
            false => invalid += 1,
        }
    }
    assert!(valid > 500 && invalid > 500, "{valid} valid, {invalid} invalid");
}
