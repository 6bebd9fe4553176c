//! Histories with all at once of what the others have one by one: several keys, operations without an
//! answer that take effect long after their client is gone, equal positions, and results that are not
//! right.

use std::collections::HashSet;

use usurper_checks::{
    linearizability::{Model, Operation, Options, Unlimited, Verdict, Why, check},
    models::{
        Counter, CounterOp, FailedCas, List, ListOp, Lock, LockOp, LockState, Queue, QueueOp,
        Register, RegisterOp, Set, SetOp, Text, TextOp, Value,
    },
};

use crate::{
    compare::{WAYS, compare},
    random::Chance,
};

/// What becomes of an operation while a history is played.
struct Open<O> {
    place: usize,
    /// Its result, once it has taken effect.
    result: Option<O>,
    crashed: bool,
}

/// Plays a history. `act` does a right thing to a state, with a value that is used only there.
fn play<S: Clone, O: Clone>(
    chance: &mut Chance,
    initial: &S,
    act: &dyn Fn(&mut Chance, &mut S, i64) -> O,
) -> Vec<Operation<O>> {
    let (operations, processes, keys) =
        (8 + chance.below(5), 4 + chance.below(2), 1 + chance.below(4));
    let (crash_one_in, wrong_one_in) = (3 + chance.below(8), 2 + chance.below(6));
    // Every state that each key was in.
    let mut states = vec![vec![initial.clone()]; keys];
    let mut ops: Vec<(u32, u64, Option<u64>, Option<O>)> = Vec::new();
    let mut open: Vec<Open<O>> = Vec::new();
    let mut position = 1;
    let (mut fresh, mut crashes) = (0, 0);
    loop {
        let live = open.iter().filter(|op| !op.crashed).count();
        if ops.len() == operations && live == 0 {
            break;
        }
        position += u64::from(!chance.one_in(4));
        if ops.len() < operations && live < processes && (open.is_empty() || chance.one_in(2)) {
            open.push(Open { place: ops.len(), result: None, crashed: false });
            let key = u32::try_from(chance.below(keys)).expect("small");
            ops.push((key, position, None, None));
            continue;
        }
        if open.is_empty() {
            continue;
        }
        let at = chance.below(open.len());
        let op = &mut open[at];
        let key = ops[op.place].0 as usize;
        if op.result.is_none() {
            fresh += 1;
            let known = &mut states[key];
            let result = if chance.one_in(wrong_one_in) {
                // As it would be if the last effects had been missed.
                let mut other = known[chance.below(known.len())].clone();
                act(chance, &mut other, fresh)
            } else {
                let mut state = known[known.len() - 1].clone();
                let result = act(chance, &mut state, fresh);
                known.push(state);
                result
            };
            op.result = Some(result);
        } else if !op.crashed && (crashes == CRASHES_MAX || !chance.one_in(crash_one_in)) {
            let op = open.swap_remove(at);
            (ops[op.place].2, ops[op.place].3) = (Some(position), op.result);
            continue;
        }
        if op.crashed {
            let op = open.swap_remove(at);
            ops[op.place].3 = op.result;
        } else if crashes < CRASHES_MAX && chance.one_in(crash_one_in) {
            crashes += 1;
            op.crashed = true;
        }
    }
    for op in open {
        // It never took effect.
        let mut state = initial.clone();
        ops[op.place].3 = op.result.or_else(|| Some(act(chance, &mut state, fresh + 1)));
    }
    let named = |(process, (key, call, ret, op)): (u32, (u32, u64, Option<u64>, Option<O>))| {
        Operation { process, key, call, ret, op: op.expect("all have a result") }
    };
    (0..).zip(ops).map(named).collect()
}

/// Whether operations of one key have an order: each state is looked at once with what was done.
fn has_order<M: Model>(model: &M, ops: &[&Operation<M::Op>]) -> bool {
    let mut arena = M::Arena::default();
    let initial = model.initial(&mut arena);
    let mut seen = HashSet::new();
    let mut left = vec![(0_u32, initial)];
    while let Some((done, state)) = left.pop() {
        let is_done = |at: usize| done >> at & 1 == 1;
        if (0..ops.len()).all(|at| is_done(at) || ops[at].ret.is_none()) {
            return true;
        }
        if !seen.insert((done, state.clone())) {
            continue;
        }
        for at in (0..ops.len()).filter(|at| !is_done(*at)) {
            let first = |other: usize| ops[other].ret.is_some_and(|ret| ret < ops[at].call);
            if (0..ops.len()).any(|other| !is_done(other) && first(other)) {
                continue;
            }
            if let Some(next) = model.step(&mut arena, &state, &ops[at].op) {
                left.push((done | 1 << at, next));
            }
        }
    }
    false
}

/// How histories fell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fallen {
    pub(crate) valid: u64,
    pub(crate) invalid: u64,
    /// Searches that were given up for their memory, so that nothing was compared.
    pub(crate) not_searched: u64,
}

/// A search of lists can take long; there are enough that do not.
const BYTES_MAX: usize = 1 << 20;
/// More operations without an answer have too many orders for the oracle.
const CRASHES_MAX: usize = 4;

/// `with_start` is the model in each state that it can name.
fn hold<M: Model, S: Clone>(
    (chance, count): (&mut Chance, usize),
    (model, with_start): (&M, &dyn Fn(usize) -> Option<M>),
    initial: &S,
    act: &dyn Fn(&mut Chance, &mut S, i64) -> M::Op,
) -> Fallen {
    let mut fallen = Fallen::default();
    for _ in 0..count {
        let ops = play(chance, initial, act);
        let of_key = |key: u32| ops.iter().filter(|op| op.key == key).collect::<Vec<_>>();
        let wrong: Vec<u32> = (0..4).filter(|key| !has_order(model, &of_key(*key))).collect();
        for (shortcuts, strategy) in WAYS {
            let threads = 1 + chance.below(64) / 63;
            let explain = chance.one_in(64);
            let options = Options {
                shortcuts,
                strategy,
                threads,
                counterexample: explain,
                bytes_max: BYTES_MAX,
            };
            match check(model, &ops, options, &Unlimited).verdict {
                Verdict::Valid => assert!(wrong.is_empty(), "wrongly valid, {options:?}: {ops:#?}"),
                Verdict::Invalid(found) => {
                    assert!(wrong.contains(&found.key), "wrongly invalid, {options:?}: {ops:#?}");
                }
                // A shortcut or both ways of searching find in few steps what one alone need not.
                Verdict::Unknown(unknown) => {
                    assert_eq!(unknown.why, Why::Memory);
                    fallen.not_searched += 1;
                }
            }
        }
        // To shrink others can take longer than a counterexample is given.
        let few = ops.len() < 10 && ops.iter().all(|op| op.key == 0);
        if few && with_start(0).is_some() && chance.one_in(8) {
            assert_eq!(compare(model, &ops, with_start), wrong.is_empty());
        }
        match wrong.is_empty() {
            true => fallen.valid += 1,
            false => fallen.invalid += 1,
        }
    }
    fallen
}

fn int(number: usize) -> Value {
    Value::Int(i64::try_from(number).expect("small"))
}

/// A register of few values, or of values that differ.
fn register(
    unique: bool,
    failed_cas: FailedCas,
) -> impl Fn(&mut Chance, &mut Value, i64) -> RegisterOp {
    move |chance, state, fresh| {
        let any = |chance: &mut Chance| match chance.below(4) {
            0 => Value::Nil,
            more => int(more),
        };
        let to = if unique { Value::Int(100 + fresh) } else { any(chance) };
        let from = match chance.below(4) {
            0 => any(chance),
            _ => state.clone(),
        };
        match chance.below(6) {
            0 | 1 => RegisterOp::Read(state.clone()),
            2 | 3 => {
                *state = to.clone();
                RegisterOp::Write(to)
            }
            4 if from == *state => {
                *state = to.clone();
                RegisterOp::Cas { from, to }
            }
            4 => RegisterOp::CasFailed { from },
            // One that failed although the value was the expected one: right if it did not happen.
            _ if failed_cas == FailedCas::DidNotHappen => RegisterOp::CasFailed { from },
            _ => RegisterOp::CasFailed { from: Value::Int(99) },
        }
    }
}

fn list(unique: bool) -> impl Fn(&mut Chance, &mut Vec<Value>, i64) -> ListOp {
    move |chance, state, fresh| {
        let value = if unique { Value::Int(fresh) } else { int(chance.below(2)) };
        match chance.below(2) {
            0 => ListOp::Read(state.clone()),
            _ => {
                state.push(value.clone());
                ListOp::Append(value)
            }
        }
    }
}

fn text(chance: &mut Chance, state: &mut String, fresh: i64) -> TextOp {
    let piece = match chance.below(3) {
        0 => ["a", "b", "ab"][chance.below(3)].to_owned(),
        _ => format!("<{fresh}>"),
    };
    match chance.below(5) {
        0 | 1 => TextOp::Get(state.as_str().into()),
        2 => {
            state.clone_from(&piece);
            TextOp::Put(piece.as_str().into())
        }
        _ => {
            state.push_str(&piece);
            TextOp::Append(piece.as_str().into())
        }
    }
}

fn counter(chance: &mut Chance, state: &mut i64, _: i64) -> CounterOp {
    let add = [1, 1, 2, -1][chance.below(4)];
    match chance.below(3) {
        0 => CounterOp::Read(*state),
        more => {
            *state += add;
            if more == 1 { CounterOp::Add(add) } else { CounterOp::AddAndGet { add, now: *state } }
        }
    }
}

fn set(chance: &mut Chance, state: &mut std::collections::BTreeSet<Value>, _: i64) -> SetOp {
    let value = int(chance.below(3));
    match chance.below(4) {
        0 => SetOp::ReadAll(state.clone()),
        1 => SetOp::Contains { is_there: state.contains(&value), value },
        2 => {
            state.insert(value.clone());
            SetOp::Add(value)
        }
        _ => {
            state.remove(&value);
            SetOp::Remove(value)
        }
    }
}

fn queue(chance: &mut Chance, state: &mut Vec<Value>, fresh: i64) -> QueueOp {
    let value = if chance.one_in(2) { Value::Int(fresh) } else { int(chance.below(2)) };
    match chance.below(5) {
        0 | 1 => {
            state.push(value.clone());
            QueueOp::Enqueue(value)
        }
        2 if !state.is_empty() => {
            state.remove(0);
            QueueOp::DequeueUnknown
        }
        _ if state.is_empty() => QueueOp::DequeueEmpty,
        _ => QueueOp::Dequeue(state.remove(0)),
    }
}

fn lock(chance: &mut Chance, state: &mut LockState, _: i64) -> LockOp {
    let owner = u32::try_from(chance.below(3)).expect("small");
    let freed = |state: &mut LockState| (state.owner, state.held_with) = (None, None);
    match (state.owner, state.held_with, chance.below(4)) {
        (None, _, 0) => LockOp::NotHeld { token: state.token.unwrap_or(7) },
        (None, ..) => {
            let next = state.token.unwrap_or(0) + 1 + chance.below(2) as u64;
            let token = (!chance.one_in(4)).then_some(next);
            *state =
                LockState { owner: Some(owner), held_with: token, token: token.or(state.token) };
            LockOp::Acquire { owner, token }
        }
        (Some(_), _, 0) => LockOp::Taken,
        (Some(holder), _, 1) if holder != owner => LockOp::Refused { owner },
        (Some(_), Some(token), 1 | 2) => {
            freed(state);
            LockOp::ReleaseToken { token }
        }
        (Some(owner), ..) => {
            freed(state);
            if chance.one_in(6) { LockOp::Expire } else { LockOp::Release { owner } }
        }
    }
}

/// Holds every way of deciding against the oracle on so many histories of each kind.
pub(crate) fn late_effects_agree(seed: u64, count: usize) -> Vec<(&'static str, Fallen)> {
    let mut chance = Chance::new(seed);
    let mut fallen = Vec::new();
    for (unique, failed_cas, name) in [
        (true, FailedCas::SawAnother, "unique registers, a failed cas saw another value"),
        (true, FailedCas::DidNotHappen, "unique registers, a failed cas did not happen"),
        (false, FailedCas::SawAnother, "registers, a failed cas saw another value"),
        (false, FailedCas::DidNotHappen, "registers, a failed cas did not happen"),
    ] {
        let model = Register { initial: Value::Nil, failed_cas };
        let start = |at: usize| {
            let initial = if at == 0 { Value::Nil } else { int(at) };
            (at < 200).then_some(Register { initial, failed_cas })
        };
        let act = register(unique, failed_cas);
        fallen.push((name, hold((&mut chance, count), (&model, &start), &Value::Nil, &act)));
    }
    for (unique, name) in [(true, "unique lists"), (false, "lists")] {
        fallen.push((
            name,
            hold((&mut chance, count), (&List, &|_| None), &Vec::new(), &list(unique)),
        ));
    }
    let mut add = |name, it| fallen.push((name, it));
    add("texts", hold((&mut chance, count), (&Text, &|_| None), &String::new(), &text));
    let counters = Counter::default();
    add("counters", hold((&mut chance, count), (&counters, &|_| None), &0, &counter));
    add("sets", hold((&mut chance, count), (&Set, &|_| None), &Default::default(), &set));
    add("queues", hold((&mut chance, count), (&Queue, &|_| None), &Vec::new(), &queue));
    add("locks", hold((&mut chance, count), (&Lock, &|_| None), &LockState::default(), &lock));
    fallen
}

#[test]
fn effects_long_after_the_client_is_gone_are_judged_as_the_oracle_does() {
    for (name, fallen) in late_effects_agree(41, 100 * crate::factor()) {
        let few = 3;
        let histories = fallen.valid.min(fallen.invalid);
        let both = histories > few && fallen.not_searched < histories;
        assert!(both, "{name}: {fallen:?}");
    }
}
