//! Registers: random histories.

use usurper_checks::models::{FailedCas, Register, RegisterOp, Value};

use crate::{
    compare::compare,
    factor,
    kinds::{self, start, value},
    random::Chance,
    scatter::scatter,
};

fn register(failed_cas: FailedCas) -> Register {
    Register { initial: Value::Nil, failed_cas }
}

#[test]
fn random_registers_are_judged_as_the_oracle_does() {
    let mut chance = Chance::new(1);
    let (mut valid, mut invalid) = (0, 0);
    for _ in 0..3_000 * factor() {
        let operations = 4 + chance.below(5);
        let kinds = kinds::register();
        let ops = scatter::<Register>(&mut chance, operations, 4, 4, |chance, _| {
            kinds[chance.below(kinds.len())].op.clone()
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
