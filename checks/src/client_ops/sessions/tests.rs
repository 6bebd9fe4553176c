//! Random small histories against every order of their writes.

use serde_json::{Value as Json, json};
use usurper_history::{OpRecord, OpType};

use super::{Order, order};
use crate::client_ops::{
    ClientRecord, Operations,
    operations::{Function, Told},
    registers::{Registers, written},
};

/// A small generator of numbers: the tests need no more.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// A history of three clients and two keys: writes of unique values, reads and compare-and-sets of
/// whatever was or will be written.
fn draw(chance: &mut Chance, count: usize) -> Vec<OpRecord> {
    let keys = ["x", "y"];
    let mut records: Vec<OpRecord> = Vec::new();
    let mut open: Vec<Option<OpRecord>> = vec![None; 3];
    let mut process: Vec<u32> = vec![0, 1, 2];
    let mut next_process = 3;
    let (mut begun, mut value) = (0, 0);
    while begun < count || open.iter().any(Option::is_some) {
        let client = chance.below(3);
        let client = usize::try_from(client).unwrap();
        if let Some(call) = open[client].take() {
            let op_type = match chance.below(8) {
                0 => OpType::Info,
                1 if call.f == "write" => OpType::Fail,
                _ => OpType::Ok,
            };
            let answer = match (call.f.as_str(), op_type) {
                ("read", OpType::Ok) => match chance.below(value + 1) {
                    0 => Json::Null,
                    some => json!(some),
                },
                _ => call.value.clone().unwrap_or(Json::Null),
            };
            if op_type == OpType::Info {
                process[client] = next_process;
                next_process += 1;
            }
            records.push(OpRecord { op_type, value: Some(answer), ..call });
        } else if begun < count {
            begun += 1;
            let (f, asked) = match chance.below(5) {
                0 | 1 => {
                    value += 1;
                    ("write", json!(value))
                }
                2 if value > 0 => {
                    let from = chance.below(value + 1);
                    let from = if from == 0 { Json::Null } else { json!(from) };
                    value += 1;
                    ("cas", json!([from, value]))
                }
                _ => ("read", Json::Null),
            };
            let key = keys[usize::try_from(chance.below(2)).unwrap()].to_owned();
            let call = OpRecord {
                process: process[client],
                op_type: OpType::Invoke,
                f: f.to_owned(),
                key: Some(key),
                value: Some(asked),
                server: None,
                session: Some(client as u64),
                serial: None,
                error: None,
            };
            records.push(call.clone());
            open[client] = Some(call);
        }
    }
    records
}

/// Whether some order of the writes agrees with time and with every session, by trying all.
fn by_trying_all(told: &[Told]) -> bool {
    let changes =
        |told: &&Told| told.f != Function::Read && (told.is_ok() || told.outcome() == OpType::Info);
    let writes: Vec<&Told> = told.iter().filter(changes).collect();
    let mut chosen = Vec::new();
    extend(told, &writes, &mut chosen)
}

fn extend<'a>(told: &[Told], writes: &[&'a Told], chosen: &mut Vec<&'a Told>) -> bool {
    let all_done = writes.iter().all(|write| !write.is_ok() || contains(chosen, write));
    if all_done && holds(told, chosen) {
        return true;
    }
    for write in writes {
        if contains(chosen, write) {
            continue;
        }
        chosen.push(write);
        if is_legal(chosen) && extend(told, writes, chosen) {
            return true;
        }
        chosen.pop();
    }
    false
}

fn contains(chosen: &[&Told], write: &Told) -> bool {
    chosen.iter().any(|it| it.call.line == write.call.line)
}

/// The moments at which the writes took effect: each as early as it can.
fn moments(chosen: &[&Told]) -> Vec<u64> {
    let mut latest = 0;
    chosen
        .iter()
        .map(|write| {
            latest = latest.max(write.call.line);
            latest
        })
        .collect()
}

/// Whether the last write can take effect there: in time, and on the value that it asks for.
fn is_legal(chosen: &[&Told]) -> bool {
    let (last, before) = chosen.split_last().unwrap();
    let now = *moments(chosen).last().unwrap();
    let value = before.iter().rev().find(|it| it.key == last.key).map(|it| written(it));
    let asked = last.asked.get(0).map(crate::models::Value::from);
    now < last.ret() && (last.f != Function::Cas || asked == Some(value.unwrap_or_default()))
}

fn holds(told: &[Told], chosen: &[&Told]) -> bool {
    let moments = moments(chosen);
    let value_at = |place: usize, key: u32| {
        chosen[..place].iter().rev().find(|it| it.key == key).map(|it| written(it))
    };
    (0..3).all(|session| {
        let mut place = 0;
        told.iter().filter(|told| told.session == Some(session) && told.is_ok()).all(|told| {
            if told.f != Function::Read {
                let own = chosen.iter().position(|it| it.call.line == told.call.line).unwrap();
                let after = own >= place;
                place = own + 1;
                return after;
            }
            let answer = crate::models::Value::from(&told.answered);
            let fits = |at: &usize| value_at(*at, told.key).unwrap_or_default() == answer;
            let Some(at) = (place..=chosen.len()).find(fits) else { return false };
            place = at;
            at == 0 || moments[at - 1] < told.ret()
        })
    })
}

#[test]
fn random_histories_are_judged_as_by_trying_every_order() {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let (mut found, mut none, mut missed) = (0, 0, 0);
    for round in 0..20_000 {
        let records = draw(&mut chance, 3 + round % 6);
        let mut operations = Operations::default();
        for (line, op) in (2..).zip(&records) {
            operations.observe(ClientRecord { line, t: line, op });
        }
        let Ok(registers) = Registers::of(&operations) else { continue };
        let truth = by_trying_all(operations.all().unwrap());
        let text = || records.iter().map(|it| format!("{it:?}\n")).collect::<String>();
        if !registers.unwritten.is_empty() {
            assert!(!truth, "{}", text());
            continue;
        }
        match order(&registers) {
            Order::Found => {
                assert!(truth, "no order, but one was found:\n{}", text());
                found += 1;
            }
            Order::None(told, why) => {
                assert!(!truth, "an order, but none was found ({why}, {told:?}):\n{}", text());
                assert!(!told.is_empty());
                none += 1;
            }
            Order::Missed => missed += 1,
        }
    }
    assert!(found > 3_000 && none > 1_000, "{found} valid, {none} invalid");
    assert!(missed * 200 < found + none, "{missed} of {}", found + none + missed);
}
