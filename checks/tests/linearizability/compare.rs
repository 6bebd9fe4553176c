//! Holds every way of deciding a history against the oracle, and its counterexample, too.

use usurper_checks::linearizability::{
    Bound, Counterexample, Model, Operation, Options, Shortcut, Strategy, Unlimited, Verdict, check,
};

use crate::oracle::has_order;

/// The ways that must agree.
pub(crate) const WAYS: [(bool, Strategy); 4] = [
    (true, Strategy::Both),
    (false, Strategy::DepthFirst),
    (false, Strategy::BreadthFirst),
    (false, Strategy::Both),
];

/// Checks one history in every way, and returns whether it has an order.
pub(crate) fn compare<M: Model>(
    model: &M,
    ops: &[Operation<M::Op>],
    with_start: &dyn Fn(usize) -> Option<M>,
) -> bool {
    let expected = has_order(model, ops);
    for (shortcuts, strategy) in WAYS {
        let options = Options { shortcuts, strategy, ..Options::default() };
        let report = check(model, ops, options, &Unlimited);
        let way = format!("shortcuts {shortcuts}, {strategy:?}: {ops:#?}");
        match report.verdict {
            Verdict::Valid => assert!(expected, "wrongly valid, {way}"),
            Verdict::Invalid(found) => {
                assert!(!expected, "wrongly invalid, {way}");
                if shortcuts || strategy == Strategy::Both {
                    proves(model, ops, &found, with_start);
                }
            }
            Verdict::Unknown(unknown) => panic!("{unknown:?}, {way}"),
        }
    }
    expected
}

/// The ways that differ for small histories: the shortcut, if a model has one, and both searches.
/// What has no shortcut of no operations at all has none.
pub(crate) fn ways<M: Model>(model: &M) -> &'static [(bool, Strategy)] {
    match model.shortcut(&[], &[], &Unlimited) {
        Shortcut::Inapplicable => &WAYS[1..3],
        _ => &WAYS[..3],
    }
}

/// Checks one history in some ways, but for its counterexample.
pub(crate) fn compare_verdicts<M: Model>(
    model: &M,
    ops: &[Operation<M::Op>],
    ways: &[(bool, Strategy)],
    expected: bool,
) {
    for (shortcuts, strategy) in ways {
        let options = Options {
            shortcuts: *shortcuts,
            strategy: *strategy,
            counterexample: false,
            ..Options::default()
        };
        let valid = match check(model, ops, options, &Unlimited).verdict {
            Verdict::Valid => true,
            Verdict::Invalid(_) => false,
            Verdict::Unknown(unknown) => panic!("{unknown:?}, {options:?}: {ops:#?}"),
        };
        assert_eq!(valid, expected, "{options:?}: {ops:#?}");
    }
}

/// How an operation of a counterexample is asked about.
fn relaxed<M: Model>(
    model: &M,
    ops: &[Operation<M::Op>],
    core: &[(usize, Bound)],
) -> Vec<Operation<M::Op>> {
    let relax = |(at, op): (usize, &Operation<M::Op>)| {
        let bound = core.iter().find(|(place, _)| *place == at).map(|(_, bound)| *bound);
        let mut op = op.clone();
        match bound {
            Some(Bound::Exactly) => {}
            _ if model.only_observes(&op.op) => return None,
            Some(Bound::AfterItsCall) => op.ret = None,
            None => (op.call, op.ret) = (0, None),
        }
        Some(op)
    };
    ops.iter().enumerate().filter_map(relax).collect()
}

/// Whether the counterexample proves what it says, and no less of it would.
fn proves<M: Model>(
    model: &M,
    ops: &[Operation<M::Op>],
    found: &Counterexample,
    with_start: &dyn Fn(usize) -> Option<M>,
) {
    let at_most = found.prefix.next.and_then(|at| ops[at].ret).unwrap_or(u64::MAX);
    let since = found.since.unwrap_or(0);
    let within =
        |op: &&Operation<M::Op>| op.call <= at_most && op.ret.is_none_or(|ret| ret > since);
    let places: Vec<usize> = (0..ops.len()).filter(|at| within(&&ops[*at])).collect();
    let ops: Vec<Operation<M::Op>> = places.iter().map(|at| ops[*at].clone()).collect();
    let core: Vec<(usize, Bound)> = found
        .core
        .iter()
        .map(|(at, bound)| (places.iter().position(|place| place == at).expect("in reach"), *bound))
        .collect();
    let ordered = |core: &[(usize, Bound)]| {
        let ops = relaxed(model, &ops, core);
        if found.since.is_none() {
            return has_order(model, &ops);
        }
        (0..).map_while(with_start).any(|model| has_order(&model, &ops))
    };
    assert!(!ordered(&core), "{found:#?} proves nothing of {ops:#?}");
    assert!(found.minimal, "{found:#?} of {ops:#?}");
    for at in 0..core.len() {
        let mut less = core.clone();
        less.remove(at);
        assert!(ordered(&less), "{at} of {found:#?} is not needed for {ops:#?}");
    }
}
