//! Searches that are not allowed to end.

use std::sync::atomic::{AtomicU32, Ordering};

use usurper_checks::{
    linearizability::{
        Model, OPEN_MAX, Operation, Options, Report, Strategy, Unknown, Unlimited, Verdict, Why,
        check,
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

/// A queue that counts its steps, and says how large its states are.
struct Weighed {
    steps: AtomicU32,
    heap_bytes: usize,
}

impl Model for Weighed {
    type Op = QueueOp;
    type State = <Queue as Model>::State;
    type Arena = ();

    fn initial(&self, arena: &mut ()) -> Self::State {
        Queue.initial(arena)
    }

    fn step(&self, arena: &mut (), state: &Self::State, op: &QueueOp) -> Option<Self::State> {
        self.steps.fetch_add(1, Ordering::Relaxed);
        Queue.step(arena, state, op)
    }

    fn only_observes(&self, op: &QueueOp) -> bool {
        Queue.only_observes(op)
    }

    fn describe(&self, op: &QueueOp) -> String {
        Queue.describe(op)
    }

    fn heap_bytes(&self, _: &Self::State) -> usize {
        self.heap_bytes
    }
}

/// The time between two looks is that of the steps between them, and of copying their states.
#[test]
fn few_steps_lie_between_two_looks_at_the_budget_and_fewer_of_large_states() {
    for (heap_bytes, steps_max) in [(0, 2_000), (64 << 10, 8)] {
        let model = Weighed { steps: AtomicU32::new(0), heap_bytes };
        let (looks, last, most) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        let budget = || {
            let steps = model.steps.load(Ordering::Relaxed);
            let since = steps - last.swap(steps, Ordering::Relaxed);
            most.fetch_max(since, Ordering::Relaxed);
            looks.fetch_add(1, Ordering::Relaxed) >= 200
        };
        let options = Options { bytes_max: 1 << 40, ..Options::default() };
        assert_eq!(unknown(&check(&model, &hard(), options, &budget)).0, Why::Time);
        let most = most.into_inner();
        assert!((1..=steps_max).contains(&most), "{most} steps with {heap_bytes} bytes each");
    }
}

#[test]
fn what_states_hold_counts_as_memory() {
    let model = Weighed { steps: AtomicU32::new(0), heap_bytes: 64 << 10 };
    let options = Options { bytes_max: 8 << 20, ..Options::default() };
    assert_eq!(unknown(&check(&model, &hard(), options, &Unlimited)).0, Why::Memory);
    assert!(model.steps.into_inner() < 10_000, "it stops when it is full");
}

/// A shortcut, and what is made ready for a search, look at the budget as well: wherever it ends,
/// the verdict is unknown, and never a wrong one.
#[test]
fn a_budget_that_ends_anywhere_in_a_long_pass_leaves_the_verdict_unknown() {
    let count = 20_000;
    let ops: Vec<Operation<RegisterOp>> = (0..count)
        .map(|at: u64| {
            let value = Value::Int(i64::try_from(at / 2).expect("small"));
            let op = if at.is_multiple_of(2) {
                RegisterOp::Write(value)
            } else {
                RegisterOp::Read(value)
            };
            Operation { process: 0, key: 0, call: 2 * at + 1, ret: Some(2 * at + 2), op }
        })
        .collect();
    let register = Register { initial: Value::Nil, failed_cas: FailedCas::SawAnother };
    for shortcuts in [true, false] {
        let options = Options { shortcuts, ..Options::default() };
        let looks = AtomicU32::new(0);
        let never = || {
            looks.fetch_add(1, Ordering::Relaxed);
            false
        };
        assert_eq!(check(&register, &ops, options, &never).verdict, Verdict::Valid);
        let all = looks.into_inner();
        assert!(u64::from(all) > 4 * count / 4096, "only {all} looks");
        for end in 0..all {
            let looks = AtomicU32::new(0);
            let budget = || looks.fetch_add(1, Ordering::Relaxed) >= end;
            assert_eq!(unknown(&check(&register, &ops, options, &budget)).0, Why::Time);
        }
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

/// A register operation whose hashing, comparing and copying is counted.
#[derive(Debug)]
struct Watched(RegisterOp);

/// How much was done with them, on this thread.
fn work() -> &'static std::thread::LocalKey<std::cell::Cell<usize>> {
    thread_local! {
        static WORK: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }
    &WORK
}

fn worked() {
    work().set(work().get() + 1);
}

impl Clone for Watched {
    fn clone(&self) -> Self {
        worked();
        Self(self.0.clone())
    }
}

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        worked();
        self.0 == other.0
    }
}

impl Eq for Watched {}

impl std::hash::Hash for Watched {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        worked();
        self.0.hash(hasher);
    }
}

/// A register that counts what it is asked, and has no shortcut.
struct WatchedRegister;

const REGISTER: Register = Register { initial: Value::Nil, failed_cas: FailedCas::SawAnother };

impl Model for WatchedRegister {
    type Op = Watched;
    type State = Value;
    type Arena = ();

    fn initial(&self, arena: &mut ()) -> Value {
        REGISTER.initial(arena)
    }

    fn step(&self, arena: &mut (), state: &Value, op: &Watched) -> Option<Value> {
        worked();
        REGISTER.step(arena, state, &op.0)
    }

    fn only_observes(&self, op: &Watched) -> bool {
        worked();
        REGISTER.only_observes(&op.0)
    }

    fn describe(&self, op: &Watched) -> String {
        REGISTER.describe(&op.0)
    }
}

/// Long histories of several shapes, in which looks come seldom if anything at all does not take
/// them: one key and many, positions in order and not, few values and many, outcomes known and not.
fn long_histories(count: u64) -> Vec<(&'static str, Vec<Operation<Watched>>)> {
    let value = |at: u64| Value::Int(i64::try_from(at).expect("small"));
    let history = |of: &dyn Fn(u64) -> (u32, u64, Option<u64>, RegisterOp)| -> Vec<_> {
        let op = |at| {
            let (key, call, ret, op) = of(at);
            Operation { process: 0, key, call, ret, op: Watched(op) }
        };
        (0..count).map(op).collect()
    };
    let key = |at: u64| u32::try_from(at).expect("small");
    vec![
        (
            "in order",
            history(&|at| (0, 2 * at + 1, Some(2 * at + 2), RegisterOp::Write(value(at)))),
        ),
        (
            "only reads",
            history(&|at| (0, 2 * at + 1, Some(2 * at + 2), RegisterOp::Read(Value::Nil))),
        ),
        ("the other way round", {
            history(&|at| {
                let at = count - at;
                (0, 2 * at + 1, Some(2 * at + 30), RegisterOp::Write(value(at)))
            })
        }),
        ("each its key", history(&|at| (key(at), at, Some(at), RegisterOp::Write(value(1))))),
        ("crashed", {
            history(&|at| match at % 2 {
                0 => (0, at + 1, None, RegisterOp::Write(value(at))),
                _ => (0, at + 1, Some(at + 2), RegisterOp::Read(value(at - 1))),
            })
        }),
    ]
}

/// A clock that counts work instead of time, so that no machine is too slow for it.
#[test]
fn little_work_lies_between_two_looks_and_after_the_last_in_histories_of_any_shape() {
    const WORK_MAX: usize = 40_000;
    let count = 20_000;
    for (name, ops) in long_histories(count) {
        let (looks, most) = (AtomicU32::new(0), AtomicU32::new(0));
        let look = || {
            let work = u32::try_from(work().replace(0)).expect("small");
            most.fetch_max(work, Ordering::Relaxed);
            looks.fetch_add(1, Ordering::Relaxed) >= 2_000
        };
        let options = Options { bytes_max: 1 << 28, ..Options::default() };
        work().set(0);
        check(&WatchedRegister, &ops, options, &look);
        let (all, most) = (looks.into_inner(), most.into_inner() as usize);
        assert!((1..=WORK_MAX).contains(&most), "{name}: {most} between two looks");
        assert!(u64::from(all) > 4 * count / 4096, "{name}: only {all} looks");
        for end in (0..all.min(2_000)).step_by(1 + all as usize / 6) {
            let looks = AtomicU32::new(0);
            let look = || {
                let spent = looks.fetch_add(1, Ordering::Relaxed) >= end;
                if spent {
                    work().set(0);
                }
                spent
            };
            let report = check(&WatchedRegister, &ops, options, &look);
            assert_eq!(unknown(&report).0, Why::Time, "{name}, after {end} looks");
            assert!(looks.into_inner() <= end + 2, "{name}: it goes on after {end} looks");
            let after = work().get();
            assert!(after <= WORK_MAX, "{name}: {after} after {end} looks");
        }
    }
}

/// Writes and reads of one client after the other, of values that differ.
fn one_by_one(count: u64) -> Vec<Operation<RegisterOp>> {
    let op = |at: u64| {
        let value = Value::Int(i64::try_from(at / 2).expect("small"));
        let op =
            if at.is_multiple_of(2) { RegisterOp::Write(value) } else { RegisterOp::Read(value) };
        Operation { process: 0, key: 0, call: 2 * at + 1, ret: Some(2 * at + 2), op }
    };
    (0..count).map(op).collect()
}

/// However far a shortcut, or what comes before it, got.
#[test]
fn a_deadline_within_a_shortcut_leaves_a_verified_prefix() {
    let ops = one_by_one(60_000);
    let looks = |end: u32| {
        let looks = AtomicU32::new(0);
        let budget = || looks.fetch_add(1, Ordering::Relaxed) >= end;
        let report = check(&REGISTER, &ops, Options::default(), &budget);
        (report, looks.into_inner())
    };
    let (report, all) = looks(u32::MAX);
    assert_eq!(report.verdict, Verdict::Valid);
    // The first quarter of them divides the history into keys.
    for end in (all / 3..all).step_by(all as usize / 40) {
        let (report, looked) = looks(end);
        let Verdict::Unknown(Unknown { why: Why::Time, verified, .. }) = report.verdict else {
            panic!("after {end} of {all} looks: {:?}", report.verdict)
        };
        assert!(verified.returns >= 500, "after {end} of {all} looks: {verified:?}");
        assert_eq!(verified.next, Some(verified.returns), "one is done after the other");
        assert_eq!(looked, end + 1, "it goes on after {end} of {all} looks");
    }
    // One that has no order from the first operation on has no verified prefix.
    let mut wrong = one_by_one(60_000);
    wrong[1].op = RegisterOp::Read(Value::Nil);
    let looks = AtomicU32::new(0);
    let budget = || looks.fetch_add(1, Ordering::Relaxed) >= all / 2;
    let options = Options { counterexample: false, ..Options::default() };
    match check(&REGISTER, &wrong, options, &budget).verdict {
        Verdict::Unknown(Unknown { verified, .. }) => assert_eq!(verified.returns, 0),
        verdict => panic!("{verdict:?}"),
    }
}
