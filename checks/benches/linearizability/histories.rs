//! The histories that are measured.

use std::{fmt::Write as _, sync::Arc};

use usurper_checks::{
    linearizability::{Model, Operation},
    models::{Chains, RegisterOp, Text, TextOp, Value},
};

use crate::random::{Chance, Shape, play};

/// Reads, writes and compare-and-sets of five values.
pub(crate) fn cas_register(seed: u64, shape: Shape) -> Vec<Operation<RegisterOp>> {
    let value = |chance: &mut Chance| Value::Int(i64::try_from(chance.below(5)).expect("small"));
    play(
        &mut Chance::new(seed),
        shape,
        &Value::Nil,
        |chance| match chance.below(3) {
            0 => RegisterOp::Read(Value::Nil),
            1 => RegisterOp::Write(value(chance)),
            _ => RegisterOp::Cas { from: value(chance), to: value(chance) },
        },
        |state, asked, unknown| match asked {
            RegisterOp::Read(_) => RegisterOp::Read(state.clone()),
            RegisterOp::Cas { from, .. } if from != state && !unknown => {
                RegisterOp::CasFailed { from: from.clone() }
            }
            RegisterOp::Cas { from, to } => {
                if from == state {
                    *state = to.clone();
                }
                asked.clone()
            }
            RegisterOp::Write(value) => {
                *state = value.clone();
                asked.clone()
            }
            RegisterOp::CasFailed { .. } => unreachable!("nobody asks to fail"),
        },
    )
}

/// Changes what reads returned, after nine tenths of the history, until there is no order.
pub(crate) fn spoil(ops: &mut [Operation<RegisterOp>], reads_max: usize) {
    let from = ops.len() * 9 / 10;
    let mut changed = 0;
    for op in &mut ops[from..] {
        if let RegisterOp::Read(value) = &mut op.op {
            // In a register of five values several changes in a row make sure of it.
            *value = match value {
                Value::Int(value) if *value < 5 => Value::Int((*value + 2) % 5),
                Value::Int(value) => Value::Int(*value - 3),
                _ => Value::Int(4),
            };
            changed += 1;
            if changed == reads_max {
                return;
            }
        }
    }
}

/// After nine tenths of the history, one process writes 6 and 7 and reads 6. Nothing else touches
/// these values, so what crashed cannot explain it.
pub(crate) fn read_stale(ops: &mut Vec<Operation<RegisterOp>>) {
    for op in ops.iter_mut() {
        op.call *= 8;
        op.ret = op.ret.map(|ret| ret * 8);
    }
    let mut position = ops[ops.len() * 9 / 10].call;
    for op in [
        RegisterOp::Write(Value::Int(6)),
        RegisterOp::Write(Value::Int(7)),
        RegisterOp::Read(Value::Int(6)),
    ] {
        position += 2;
        let (call, ret) = (position, Some(position + 1));
        ops.push(Operation { process: 1_000_000, key: 0, call, ret, op });
    }
    ops.sort_unstable_by_key(|op| op.call);
}

pub(crate) fn as_jepsen_text(ops: &[Operation<RegisterOp>]) -> String {
    let mut events = Vec::new();
    for op in ops {
        let (word, value, failed) = match &op.op {
            RegisterOp::Read(value) => (":read", value.to_string(), false),
            RegisterOp::Write(value) => (":write", value.to_string(), false),
            RegisterOp::Cas { from, to } => (":cas", format!("[{from} {to}]"), false),
            // What it would have left is not kept; any other value says the same.
            RegisterOp::CasFailed { from } => (":cas", format!("[{from} 99]"), true),
        };
        if word == ":read" && op.ret.is_none() {
            continue;
        }
        let asked = if word == ":read" { "nil" } else { &value };
        events.push((op.call, format!("{}\t:invoke\t{word}\t{asked}", op.process)));
        if let Some(ret) = op.ret {
            let kind = if failed { ":fail" } else { ":ok" };
            events.push((ret, format!("{}\t{kind}\t{word}\t{value}", op.process)));
        }
    }
    events.sort();
    let mut text = String::new();
    for (_, event) in events {
        writeln!(text, "INFO  jepsen.util - {event}").expect("memory");
    }
    text
}

/// Writes of values that differ, and reads.
pub(crate) fn unique_writes(seed: u64, shape: Shape) -> Vec<Operation<RegisterOp>> {
    let mut next = 0;
    play(
        &mut Chance::new(seed),
        shape,
        &Value::Nil,
        |chance| {
            chance.one_in(2).then(|| {
                next += 1;
                Value::Int(next)
            })
        },
        |state, write, _| match write {
            Some(value) => {
                *state = value.clone();
                RegisterOp::Write(value.clone())
            }
            None => RegisterOp::Read(state.clone()),
        },
    )
}

/// All texts as one object, as if nobody knew that keys are independent.
pub(crate) struct Texts {
    pub(crate) keys: usize,
}

impl Model for Texts {
    type Op = (usize, TextOp);
    type State = Arc<[u32]>;
    type Arena = Chains;

    fn initial(&self, chains: &mut Chains) -> Self::State {
        vec![Text.initial(chains); self.keys].into()
    }

    fn step(&self, chains: &mut Chains, state: &Self::State, op: &Self::Op) -> Option<Self::State> {
        let (key, op) = op;
        let next = Text.step(chains, &state[*key], op)?;
        if next == state[*key] {
            return Some(state.clone());
        }
        let mut state = state.to_vec();
        state[*key] = next;
        Some(state.into())
    }

    fn only_observes(&self, op: &Self::Op) -> bool {
        Text.only_observes(&op.1)
    }

    fn part(&self, op: &Self::Op) -> Option<u64> {
        Some(op.0 as u64)
    }

    fn heap_bytes(&self, state: &Self::State) -> usize {
        2 * size_of_val(&**state)
    }

    fn describe(&self, op: &Self::Op) -> String {
        format!("{} of key {}", Text.describe(&op.1), op.0)
    }
}

/// Operations under keys as operations on one object.
pub(crate) fn whole(ops: &[Operation<TextOp>]) -> Vec<Operation<(usize, TextOp)>> {
    let whole = |op: &Operation<TextOp>| Operation {
        process: op.process,
        key: 0,
        call: op.call,
        ret: op.ret,
        op: (op.key as usize, op.op.clone()),
    };
    ops.iter().map(whole).collect()
}
