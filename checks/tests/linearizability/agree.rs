//! Whether a model's shortcut and the search say the same, and whether the oracle does.

use std::sync::atomic::{AtomicU64, Ordering};

use usurper_checks::{
    linearizability::{
        Budget, Model, Operation, Options, Shortcut, Timed, Unlimited, Verdict, check,
    },
    models::{FailedCas, List, Register, Text, Value},
};

use crate::{
    near::{pieces_of_text, unique_list, unique_register},
    random::Chance,
};

/// How histories fell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) valid: u64,
    pub(crate) invalid: u64,
    /// Of them all, those that a shortcut decided.
    pub(crate) by_shortcut: u64,
    /// Those that the search gave up on, so that nothing was compared.
    pub(crate) not_searched: u64,
}

/// A model that counts what its shortcut decides.
struct Counted<'a, M> {
    model: &'a M,
    decided: AtomicU64,
}

impl<M: Model> Model for Counted<'_, M> {
    type Op = M::Op;
    type State = M::State;
    type Arena = M::Arena;

    fn initial(&self, arena: &mut M::Arena) -> M::State {
        self.model.initial(arena)
    }

    fn step(&self, arena: &mut M::Arena, state: &M::State, op: &M::Op) -> Option<M::State> {
        self.model.step(arena, state, op)
    }

    fn only_observes(&self, op: &M::Op) -> bool {
        self.model.only_observes(op)
    }

    fn describe(&self, op: &M::Op) -> String {
        self.model.describe(op)
    }

    fn shortcut(&self, classes: &[M::Op], ops: &[Timed], budget: &dyn Budget) -> Shortcut {
        let shortcut = self.model.shortcut(classes, ops, budget);
        if shortcut != Shortcut::Inapplicable {
            self.decided.fetch_add(1, Ordering::Relaxed);
        }
        shortcut
    }
}

/// A search of lists can take long; there are enough that do not.
const BYTES_MAX: usize = 1 << 18;

fn agree<M: Model>(model: &M, ops: &[Operation<M::Op>], tally: &mut Tally) {
    let model = Counted { model, decided: AtomicU64::new(0) };
    let valid = |shortcuts| {
        let options = Options {
            shortcuts,
            bytes_max: BYTES_MAX,
            counterexample: false,
            ..Options::default()
        };
        match check(&model, ops, options, &Unlimited).verdict {
            Verdict::Valid => Some(true),
            Verdict::Invalid(_) => Some(false),
            Verdict::Unknown(_) => None,
        }
    };
    let (Some(quick), Some(searched)) = (valid(true), valid(false)) else {
        tally.not_searched += 1;
        return;
    };
    assert_eq!(quick, searched, "shortcut against search: {ops:#?}");
    match quick {
        true => tally.valid += 1,
        false => tally.invalid += 1,
    }
    tally.by_shortcut += model.decided.into_inner();
}

/// Holds shortcuts against the search on so many random histories of each kind.
pub(crate) fn shortcuts_agree(seed: u64, count: usize) -> [(&'static str, Tally); 3] {
    let mut chance = Chance::new(seed);
    let mut tallies = [Tally::default(); 3];
    for _ in 0..count {
        let failed_cas = [FailedCas::SawAnother, FailedCas::DidNotHappen][chance.below(2)];
        let register = Register { initial: Value::Nil, failed_cas };
        agree(&register, &unique_register(&mut chance), &mut tallies[0]);
        agree(&List, &unique_list(&mut chance), &mut tallies[1]);
        agree(&Text, &pieces_of_text(&mut chance), &mut tallies[2]);
    }
    let [registers, lists, texts] = tallies;
    [("registers", registers), ("lists", lists), ("texts", texts)]
}

#[test]
fn shortcuts_and_the_search_agree() {
    for (name, tally) in shortcuts_agree(31, 200 * crate::factor()) {
        let few = 25;
        let both = tally.valid > few && tally.invalid > few && tally.by_shortcut > few;
        assert!(both, "{name}: {tally:?}");
    }
}
