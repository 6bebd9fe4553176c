//! The other objects: histories by chance, blindly drawn and really played.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use usurper_checks::{
    linearizability::{Model, Operation},
    models::{
        Counter, CounterOp, List, ListOp, Lock, LockOp, Queue, QueueOp, Set, SetOp, Text, TextOp,
        Value,
    },
};

use crate::{
    compare::compare,
    factor,
    random::{Chance, Shape, play},
    scatter::scatter,
};

/// Blind histories of up to seven operations, which must fall both ways.
fn scattered<M: Model>(seed: u64, model: &M, draw: impl Fn(&mut Chance, usize) -> M::Op) {
    let mut chance = Chance::new(seed);
    let (mut valid, mut invalid) = (0, 0);
    for _ in 0..1_500 * factor() {
        let operations = 2 + chance.below(6);
        let ops = scatter::<M>(&mut chance, operations, 4, 5, &draw);
        match compare(model, &ops, &|_| None) {
            true => valid += 1,
            false => invalid += 1,
        }
    }
    assert!(valid > 50 && invalid > 50, "{valid} valid, {invalid} invalid");
}

fn int(at: usize) -> Value {
    Value::Int(i64::try_from(at).expect("small"))
}

fn text(text: &str) -> Arc<str> {
    text.into()
}

#[test]
fn random_texts_with_puts_are_judged_as_the_oracle_does() {
    let pieces = ["a", "b", "ab", ""];
    scattered(11, &Text, |chance, _| {
        let piece = text(pieces[chance.below(pieces.len())]);
        match chance.below(4) {
            0 => TextOp::Put(piece),
            1 => TextOp::Append(piece),
            _ => TextOp::Get(text(["", "a", "b", "ab", "aab", "ba"][chance.below(6)])),
        }
    });
}

#[test]
fn random_texts_of_unique_pieces_are_judged_as_the_oracle_does() {
    scattered(12, &Text, |chance, at| match chance.below(2) {
        0 => TextOp::Append(format!("<{at}>").into()),
        _ => TextOp::Get(text(
            ["", "<0>", "<1>", "<0><1>", "<1><0>", "<0><2>", "<2"][chance.below(7)],
        )),
    });
}

/// Pieces are sometimes put twice, and pieces do not begin each other.
#[test]
fn random_texts_of_repeated_pieces_are_judged_as_the_oracle_does() {
    scattered(18, &Text, |chance, _| {
        let piece = text(["<0>", "<1>", "<2>", "<3>"][chance.below(4)]);
        match chance.below(5) {
            0 => TextOp::Put(if chance.one_in(2) { text("<4>") } else { text("<5>") }),
            1 | 2 => TextOp::Append(piece),
            3 => TextOp::Get(piece),
            _ => TextOp::Get(text(
                ["", "<4>", "<5>", "<4><0>", "<5><1>", "<0><0>", "<0><1>", "<1><0>"]
                    [chance.below(8)],
            )),
        }
    });
}

#[test]
fn random_lists_are_judged_as_the_oracle_does() {
    for unique in [false, true] {
        scattered(13, &List, |chance, at| match chance.below(2) {
            0 => ListOp::Append(int(if unique { at } else { at % 2 })),
            _ => {
                let length = chance.below(3);
                ListOp::Read((0..length).map(|_| int(chance.below(3))).collect())
            }
        });
    }
}

#[test]
fn random_counters_are_judged_as_the_oracle_does() {
    let amount = |chance: &mut Chance| i64::try_from(chance.below(4)).expect("small") - 1;
    scattered(14, &Counter { initial: 0 }, |chance, _| match chance.below(4) {
        0 => CounterOp::AddAndGet { add: amount(chance), now: amount(chance) },
        1 | 2 => CounterOp::Add(amount(chance)),
        _ => CounterOp::Read(amount(chance)),
    });
}

#[test]
fn random_sets_are_judged_as_the_oracle_does() {
    scattered(15, &Set, |chance, _| {
        let value = int(chance.below(2));
        match chance.below(6) {
            0 | 1 => SetOp::Add(value),
            2 => SetOp::Remove(value),
            3 => SetOp::ReadAll((0..chance.below(3)).map(int).collect::<BTreeSet<_>>()),
            _ => SetOp::Contains { value, is_there: chance.one_in(2) },
        }
    });
}

#[test]
fn random_queues_are_judged_as_the_oracle_does() {
    scattered(16, &Queue, |chance, _| match chance.below(5) {
        0 | 1 => QueueOp::Enqueue(int(chance.below(3))),
        2 => QueueOp::DequeueEmpty,
        3 => QueueOp::DequeueUnknown,
        _ => QueueOp::Dequeue(int(chance.below(3))),
    });
}

#[test]
fn random_locks_are_judged_as_the_oracle_does() {
    scattered(17, &Lock, |chance, at| {
        let owner = u32::try_from(chance.below(2)).expect("small");
        match chance.below(6) {
            0 | 1 => LockOp::Acquire { owner, token: chance.one_in(2).then_some(at as u64 / 2) },
            2 => LockOp::Refused { owner },
            3 => LockOp::Expire,
            _ => LockOp::Release { owner },
        }
    });
}

/// Histories that were really played have an order, also with many keys and unknown outcomes.
fn played<M: Model, Q: Clone + Debug>(
    seed: u64,
    model: &M,
    initial: &M::State,
    ask: impl Fn(&mut Chance) -> Q,
    answer: impl Fn(&mut M::State, &Q, bool) -> M::Op,
) {
    use usurper_checks::linearizability::{Options, Strategy, Unlimited, Verdict, check};
    let mut chance = Chance::new(seed);
    for round in 0..40 * factor() {
        let shape = Shape {
            operations: 12 + 2 * (round % 10),
            processes: 2 + round % 4,
            keys: 1 + round % 3,
            unknown_one_in: [0, 40][round % 2],
        };
        let ops: Vec<Operation<M::Op>> = play(&mut chance, shape, initial, &ask, &answer);
        for (shortcuts, strategy) in crate::compare::WAYS {
            let threads = 1 + round % 2;
            let options =
                Options { shortcuts, strategy, threads, bytes_max: 8 << 20, ..Options::default() };
            let verdict = check(model, &ops, options, &Unlimited).verdict;
            // One way alone may run out of memory where both together do not.
            let gave_up = matches!(verdict, Verdict::Unknown(_)) && strategy != Strategy::Both;
            assert!(gave_up || verdict == Verdict::Valid, "{verdict:?} {strategy:?} {ops:#?}");
        }
    }
}

#[test]
fn played_queues_have_an_order() {
    played(
        21,
        &Queue,
        &Arc::default(),
        |chance| chance.one_in(2).then(|| int(chance.below(1_000))),
        |state, ask, unknown| match ask {
            Some(value) => {
                *state = state.iter().cloned().chain([value.clone()]).collect();
                QueueOp::Enqueue(value.clone())
            }
            None => {
                let first = state.first().cloned();
                *state = state.iter().skip(1).cloned().collect();
                match first {
                    _ if unknown => QueueOp::DequeueUnknown,
                    Some(value) => QueueOp::Dequeue(value),
                    None => QueueOp::DequeueEmpty,
                }
            }
        },
    );
}

#[test]
fn played_counters_have_an_order() {
    played(
        22,
        &Counter { initial: 0 },
        &0,
        |chance| chance.one_in(2),
        |state, read, _| {
            if *read {
                CounterOp::Read(*state)
            } else {
                *state += 1;
                CounterOp::Add(1)
            }
        },
    );
}
