//! Registers: every small history, and random larger ones.

use usurper_checks::{
    linearizability::Operation,
    models::{FailedCas, Register, RegisterOp, Value},
};

use crate::{
    compare::compare, exhaustive::every_history, factor, random::Chance, scatter::scatter,
};

fn register(failed_cas: FailedCas) -> Register {
    Register { initial: Value::Nil, failed_cas }
}

/// The register in every state that a test uses.
fn start(failed_cas: FailedCas) -> impl Fn(usize) -> Option<Register> {
    move |at| {
        let initial = if at == 0 { Value::Nil } else { value(at) };
        (at <= 12).then_some(Register { initial, failed_cas })
    }
}

fn value(at: usize) -> Value {
    Value::Int(i64::try_from(at).expect("small"))
}

fn kinds() -> Vec<RegisterOp> {
    let cas = |from, to| RegisterOp::Cas { from: value(from), to: value(to) };
    vec![
        RegisterOp::Read(Value::Nil),
        RegisterOp::Read(value(1)),
        RegisterOp::Read(value(2)),
        RegisterOp::Write(value(1)),
        RegisterOp::Write(value(2)),
        cas(1, 2),
        cas(2, 1),
        RegisterOp::CasFailed { from: value(1) },
    ]
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
