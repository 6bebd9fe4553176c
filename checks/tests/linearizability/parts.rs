//! An object in parts is judged as the parts are.

use usurper_checks::{
    linearizability::{Model, Operation, Options, Strategy, Unlimited, Verdict, check},
    models::{FailedCas, Register, RegisterOp, Value},
};

use crate::{
    compare::WAYS,
    factor,
    kinds::{self, value},
    near::{Near, near},
    random::Chance,
};

const PARTS: usize = 3;

const REGISTER: Register = Register { initial: Value::Nil, failed_cas: FailedCas::SawAnother };

/// Several registers as one object.
struct Registers {
    /// Whether the model says so.
    tells_parts: bool,
}

/// An operation on one of them, or a look at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Op {
    One(usize, RegisterOp),
    All([Value; PARTS]),
}

impl Model for Registers {
    type Op = Op;
    type State = [Value; PARTS];
    type Arena = ();

    fn initial(&self, _: &mut ()) -> Self::State {
        [Value::Nil, Value::Nil, Value::Nil]
    }

    fn step(&self, arena: &mut (), state: &Self::State, op: &Op) -> Option<Self::State> {
        match op {
            Op::All(values) => (values == state).then(|| state.clone()),
            Op::One(part, op) => {
                let mut state = state.clone();
                state[*part] = REGISTER.step(arena, &state[*part], op)?;
                Some(state)
            }
        }
    }

    fn only_observes(&self, op: &Op) -> bool {
        match op {
            Op::One(_, op) => REGISTER.only_observes(op),
            Op::All(_) => true,
        }
    }

    fn part(&self, op: &Op) -> Option<u64> {
        match op {
            Op::One(part, _) if self.tells_parts => Some(*part as u64),
            _ => None,
        }
    }

    fn describe(&self, op: &Op) -> String {
        format!("{op:?}")
    }
}

fn is_valid<M: Model>(
    model: &M,
    ops: &[Operation<M::Op>],
    shortcuts: bool,
    strategy: Strategy,
) -> bool {
    let options = Options { shortcuts, strategy, ..Options::default() };
    match check(model, ops, options, &Unlimited).verdict {
        Verdict::Valid => true,
        Verdict::Invalid(_) => false,
        Verdict::Unknown(unknown) => panic!("{unknown:?}: {ops:#?}"),
    }
}

/// Registers by themselves, at the same time, and now and then a look at all of them.
fn history(chance: &mut Chance, looks: bool) -> Vec<Operation<Op>> {
    let mut kinds = Vec::new();
    for part in 0..PARTS {
        kinds.extend(kinds::read_write().into_iter().map(|kind| crate::exhaustive::Kind {
            op: Op::One(part, kind.op),
            mentions: kind.mentions,
        }));
    }
    if looks {
        for at in 0..8 {
            let look = [at & 1, at >> 1 & 1, at >> 2 & 1].map(value);
            kinds.push(crate::exhaustive::Kind { op: Op::All(look), mentions: &[] });
        }
    }
    let how = Near {
        operations: 8 + chance.below(8),
        processes: 2 + chance.below(4),
        unknown_one_in: 8,
        wrong_one_in: 16,
    };
    near(chance, &Registers { tells_parts: true }, &kinds, how)
}

#[test]
fn parts_change_no_verdict() {
    let mut chance = Chance::new(41);
    let (mut valid, mut invalid) = (0, 0);
    for round in 0..1_000 * factor() {
        let ops = history(&mut chance, round % 2 == 0);
        let whole = Registers { tells_parts: false };
        let expected = is_valid(&whole, &ops, false, Strategy::DepthFirst);
        for (shortcuts, strategy) in WAYS {
            let found = is_valid(&Registers { tells_parts: true }, &ops, shortcuts, strategy);
            assert_eq!(found, expected, "{strategy:?}: {ops:#?}");
        }
        match expected {
            true => valid += 1,
            false => invalid += 1,
        }
    }
    assert!(valid > 100 && invalid > 100, "{valid} valid, {invalid} invalid");
}

/// Linearizability is local (Herlihy & Wing 1990, theorem 1): the verdict on an object of parts is
/// that on its parts.
#[test]
fn an_object_is_judged_as_its_parts_are() {
    let mut chance = Chance::new(42);
    for _ in 0..1_000 * factor() {
        let ops = history(&mut chance, false);
        let split: Vec<Operation<RegisterOp>> = ops
            .iter()
            .filter_map(|op| match &op.op {
                Op::One(part, one) => Some(Operation {
                    process: op.process,
                    key: u32::try_from(*part).expect("small"),
                    call: op.call,
                    ret: op.ret,
                    op: one.clone(),
                }),
                Op::All(_) => None,
            })
            .collect();
        let whole = is_valid(&Registers { tells_parts: true }, &ops, false, Strategy::Both);
        assert_eq!(whole, is_valid(&REGISTER, &split, true, Strategy::Both), "{ops:#?}");
    }
}
