//! Searches that are not allowed to end.

use std::sync::atomic::{AtomicU32, Ordering};

use usurper_checks::{
    linearizability::{
        OPEN_MAX, Operation, Options, Report, Strategy, Unlimited, Verdict, Why, check,
    },
    models::{FailedCas, Queue, QueueOp, Register, RegisterOp, Value},
};

/// Queues of equal concurrent operations have very many orders, and the last operation fits none.
fn hard() -> Vec<Operation<QueueOp>> {
    let mut ops = Vec::new();
    for round in 0..80_u64 {
        for process in 0..4_u32 {
            let value = Value::Int(i64::from(process) + 4 * i64::try_from(round).expect("small"));
            let (call, ret) = (100 * round + 1 + u64::from(process), Some(100 * round + 50));
            let op = QueueOp::Enqueue(value);
            ops.push(Operation { process, key: 0, call, ret, op });
        }
    }
    let op = QueueOp::Dequeue(Value::Int(9));
    ops.push(Operation { process: 0, key: 0, call: 9_000, ret: Some(9_001), op });
    ops
}

fn unknown(report: &Report) -> (Why, usize) {
    match &report.verdict {
        Verdict::Unknown(unknown) => (unknown.why, unknown.verified.returns),
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn a_spent_budget_leaves_the_verdict_unknown_with_a_verified_prefix() {
    for strategy in [Strategy::Both, Strategy::DepthFirst, Strategy::BreadthFirst] {
        let looks = AtomicU32::new(0);
        let budget = || looks.fetch_add(1, Ordering::Relaxed) >= 100;
        let report = check(&Queue, &hard(), Options { strategy, ..Options::default() }, &budget);
        let (why, returns) = unknown(&report);
        assert_eq!(why, Why::Time);
        assert!(returns > 0 && returns <= 320, "{strategy:?}: {returns}");
        assert!(looks.into_inner() <= 103, "it stops when it is told to");
    }
}

#[test]
fn a_budget_that_is_spent_at_once_allows_nothing() {
    let op = RegisterOp::Read(Value::Nil);
    let ops = [Operation { process: 0, key: 0, call: 1, ret: Some(2), op }];
    let register = Register { initial: Value::Nil, failed_cas: FailedCas::SawAnother };
    assert_eq!(unknown(&check(&register, &ops, Options::default(), &|| true)), (Why::Time, 0));
}

#[test]
fn a_full_memory_leaves_the_verdict_unknown_with_a_verified_prefix() {
    for strategy in [Strategy::Both, Strategy::DepthFirst, Strategy::BreadthFirst] {
        let options = Options { strategy, bytes_max: 1 << 20, ..Options::default() };
        let (why, returns) = unknown(&check(&Queue, &hard(), options, &Unlimited));
        assert_eq!(why, Why::Memory);
        assert!(returns > 0 && returns <= 320, "{strategy:?}: {returns}");
    }
}

/// More open operations than any search holds, and as many as one does.
#[test]
fn too_many_open_operations_are_unknown() {
    let writes = |count: usize| -> Vec<Operation<RegisterOp>> {
        let write = |at: usize| {
            let process = u32::try_from(at).expect("small");
            let op = RegisterOp::Write(Value::Int(1));
            Operation { process, key: 0, call: 1 + at as u64, ret: Some(10_000 + at as u64), op }
        };
        (0..count).map(write).collect()
    };
    let register = Register { initial: Value::Nil, failed_cas: FailedCas::SawAnother };
    for (count, known) in [(65, true), (200, true), (OPEN_MAX, true), (OPEN_MAX + 1, false)] {
        let report = check(&register, &writes(count), Options::default(), &Unlimited);
        match known {
            true => assert_eq!(report.verdict, Verdict::Valid),
            false => assert_eq!(unknown(&report), (Why::Concurrency, 0)),
        }
    }
}

/// For each value, a crashed write and a crashed compare-and-set can each explain one read. That
/// they explain three of 1 only seems so while they may happen at will, which is found out long
/// before the exact search has tried all 256 ways to explain the others.
#[test]
fn what_only_an_operation_of_unknown_outcome_that_happens_twice_explains_is_invalid() {
    let op = |call, ret, op| Operation { process: 0, key: 0, call, ret, op };
    let mut ops = Vec::new();
    for at in 1..=8 {
        let (from, to) = (Value::Int(0), Value::Int(at));
        ops.push(op(1, None, RegisterOp::Write(to.clone())));
        ops.push(op(1, None, RegisterOp::Cas { from, to }));
    }
    for (at, read) in (10..).step_by(10).zip((1..=8).chain([1, 1])) {
        ops.push(op(at, Some(at + 1), RegisterOp::Write(Value::Int(0))));
        ops.push(op(at + 2, Some(at + 3), RegisterOp::Read(Value::Int(read))));
    }
    let register = Register { initial: Value::Nil, failed_cas: FailedCas::SawAnother };
    let verdict = |ops: &[_]| check(&register, ops, Options::default(), &Unlimited).verdict;
    assert!(matches!(verdict(&ops), Verdict::Invalid(_)));
    assert_eq!(verdict(&ops[..ops.len() - 1]), Verdict::Valid);
    ops.push(op(9, None, RegisterOp::Write(Value::Int(1))));
    assert_eq!(verdict(&ops), Verdict::Valid, "a third crashed operation explains the third read");
}
