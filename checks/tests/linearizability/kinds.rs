//! The operations that small histories are made of, for each model.
//!
//! Kinds that differ only in a value stand in the order of the values. The first few are enough to
//! make histories that fall both ways.

use std::collections::BTreeSet;

use usurper_checks::models::{
    CounterOp, FailedCas, ListOp, LockOp, QueueOp, Register, RegisterOp, SetOp, TextOp, Value,
};

use crate::exhaustive::Kind;

/// A value by number; 0 is none.
pub(crate) fn value(at: usize) -> Value {
    match at {
        0 => Value::Nil,
        at => Value::Int(i64::try_from(at).expect("small")),
    }
}

/// The register in every state that a test uses.
pub(crate) fn start(failed_cas: FailedCas) -> impl Fn(usize) -> Option<Register> {
    move |at| (at <= 12).then_some(Register { initial: value(at), failed_cas })
}

fn kind<O>(op: O, mentions: &'static [usize]) -> Kind<O> {
    Kind { op, mentions }
}

/// Reads and writes of two values.
pub(crate) fn read_write() -> Vec<Kind<RegisterOp>> {
    vec![
        kind(RegisterOp::Read(value(0)), &[]),
        kind(RegisterOp::Read(value(1)), &[1]),
        kind(RegisterOp::Read(value(2)), &[2]),
        kind(RegisterOp::Write(value(1)), &[1]),
        kind(RegisterOp::Write(value(2)), &[2]),
    ]
}

/// The same with compare-and-sets between them, and one that fails.
pub(crate) fn register() -> Vec<Kind<RegisterOp>> {
    let cas = |from, to| RegisterOp::Cas { from: value(from), to: value(to) };
    let mut kinds = read_write();
    kinds.push(kind(cas(1, 2), &[1, 2]));
    kinds.push(kind(cas(2, 1), &[2, 1]));
    kinds.push(kind(RegisterOp::CasFailed { from: value(1) }, &[1]));
    kinds.push(kind(RegisterOp::CasFailed { from: value(2) }, &[2]));
    kinds
}

/// A register of which each value may be written once, by a write or out of another one.
pub(crate) fn chain() -> Vec<Kind<RegisterOp>> {
    let cas = |from, to| RegisterOp::Cas { from: value(from), to: value(to) };
    vec![
        kind(RegisterOp::Read(value(0)), &[]),
        kind(RegisterOp::Read(value(1)), &[]),
        kind(RegisterOp::Read(value(2)), &[]),
        kind(RegisterOp::Write(value(1)), &[]),
        kind(cas(1, 2), &[]),
    ]
}

pub(crate) fn list() -> Vec<Kind<ListOp>> {
    let read = |values: &[usize]| ListOp::Read(values.iter().map(|at| value(*at)).collect());
    vec![
        kind(ListOp::Append(value(1)), &[1]),
        kind(ListOp::Append(value(2)), &[2]),
        kind(read(&[1]), &[1]),
        kind(read(&[1, 2]), &[1, 2]),
        kind(read(&[2]), &[2]),
        kind(read(&[2, 1]), &[2, 1]),
        kind(read(&[]), &[]),
    ]
}

pub(crate) fn text() -> Vec<Kind<TextOp>> {
    vec![
        kind(TextOp::Append("a".into()), &[]),
        kind(TextOp::Put("c".into()), &[]),
        kind(TextOp::Get("a".into()), &[]),
        kind(TextOp::Get("ca".into()), &[]),
        kind(TextOp::Append("b".into()), &[]),
        kind(TextOp::Get("".into()), &[]),
        kind(TextOp::Get("ab".into()), &[]),
    ]
}

pub(crate) fn counter() -> Vec<Kind<CounterOp>> {
    vec![
        kind(CounterOp::Add(1), &[]),
        kind(CounterOp::Read(0), &[]),
        kind(CounterOp::Read(1), &[]),
        kind(CounterOp::AddAndGet { add: 1, now: 2 }, &[]),
        kind(CounterOp::Add(-1), &[]),
        kind(CounterOp::AddAndGet { add: 1, now: 1 }, &[]),
    ]
}

pub(crate) fn set() -> Vec<Kind<SetOp>> {
    let contains = |at, is_there| SetOp::Contains { value: value(at), is_there };
    let all = |values: &[usize]| {
        SetOp::ReadAll(values.iter().map(|at| value(*at)).collect::<BTreeSet<_>>())
    };
    vec![
        kind(SetOp::Add(value(1)), &[]),
        kind(SetOp::Add(value(2)), &[]),
        kind(contains(1, false), &[]),
        kind(all(&[2]), &[]),
        kind(SetOp::Remove(value(1)), &[]),
        kind(contains(1, true), &[]),
        kind(all(&[1]), &[]),
    ]
}

pub(crate) fn queue() -> Vec<Kind<QueueOp>> {
    vec![
        kind(QueueOp::Enqueue(value(1)), &[1]),
        kind(QueueOp::Enqueue(value(2)), &[2]),
        kind(QueueOp::Dequeue(value(1)), &[1]),
        kind(QueueOp::Dequeue(value(2)), &[2]),
        kind(QueueOp::DequeueEmpty, &[]),
        kind(QueueOp::DequeueUnknown, &[]),
    ]
}

/// The owners are the values.
pub(crate) fn lock() -> Vec<Kind<LockOp>> {
    let acquire = |owner, token| LockOp::Acquire { owner, token };
    vec![
        kind(acquire(1, None), &[1]),
        kind(acquire(2, None), &[2]),
        kind(LockOp::Release { owner: 1 }, &[1]),
        kind(LockOp::Release { owner: 2 }, &[2]),
        kind(acquire(1, Some(1)), &[1]),
        kind(acquire(2, Some(1)), &[2]),
        kind(LockOp::Refused { owner: 1 }, &[1]),
        kind(LockOp::Refused { owner: 2 }, &[2]),
        kind(LockOp::Expire, &[]),
    ]
}
