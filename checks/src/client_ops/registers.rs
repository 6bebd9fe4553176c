//! Registers whose written values are unique: which write each read has seen.
//!
//! With that known, order is a matter of edges between writes, and no search is needed (Gibbons &
//! Korach 1997: verifying with a given reads-from map).

use std::collections::HashMap;

use super::{
    Operations,
    operations::{Function, Told},
};
use crate::{linearizability::NEVER, models::Value};

/// A value that a key came to hold, or holds at first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write<'a> {
    /// None for what the key holds at first.
    pub(crate) told: Option<&'a Told>,
    pub(crate) key: u32,
    /// It took effect after this line,
    pub(crate) call: u64,
    /// and before this one: it returned, or somebody had seen it.
    pub(crate) end: u64,
    /// When that was.
    pub(crate) end_ns: u64,
    /// The write that it replaced, if it was a compare-and-set.
    pub(crate) replaced: Option<usize>,
}

/// A read, and the write that it saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read<'a> {
    pub(crate) told: &'a Told,
    pub(crate) saw: usize,
}

/// Every register of a history: what certainly took effect, and what was seen.
#[derive(Debug, Default)]
pub(crate) struct Registers<'a> {
    pub(crate) writes: Vec<Write<'a>>,
    /// In the order of the calls.
    pub(crate) reads: Vec<Read<'a>>,
    /// Reads and successful compare-and-sets of a value that nobody can have written.
    pub(crate) unwritten: Vec<&'a Told>,
    /// Writes as places, by the operation's place among all.
    write_of: HashMap<u64, usize>,
    /// Failed compare-and-sets, which are not looked at.
    pub(crate) refused: u64,
}

/// What a write put there.
pub(crate) fn written(told: &Told) -> Value {
    match told.f {
        Function::Cas => Value::from(told.asked.get(1).unwrap_or(&serde_json::Value::Null)),
        _ => Value::from(&told.asked),
    }
}

/// What a read or a compare-and-set found there.
fn found(told: &Told) -> Value {
    match told.f {
        Function::Cas => Value::from(told.asked.get(0).unwrap_or(&serde_json::Value::Null)),
        _ => Value::from(&told.answered),
    }
}

impl<'a> Registers<'a> {
    /// Tells what was seen of which; or why that cannot be told.
    pub(crate) fn of(operations: &'a Operations) -> Result<Self, String> {
        let told = operations.known()?;
        let known: Vec<bool> =
            (told.iter()).fold(vec![false; operations.keys()], |mut it, told| {
                it[told.key as usize] |= told.f.is_known();
                it
            });
        let told: Vec<&Told> = told.iter().filter(|told| known[told.key as usize]).collect();
        let fits = |f: Function| matches!(f, Function::Read | Function::Write | Function::Cas);
        if let Some(other) = told.iter().find(|told| !fits(told.f)) {
            let (f, key) = (operations.name(other.f), operations.on_key(other.key));
            return Err(format!("only registers are judged, and `{f}`{key} is none of one"));
        }
        Self::among(operations, &told)
    }

    /// Tells it of these operations, which are all of their keys, and of registers.
    pub(crate) fn among(operations: &Operations, told: &[&'a Told]) -> Result<Self, String> {
        let mut registers = Self::default();
        // What the keys hold at first comes first.
        let mut initial = vec![usize::MAX; operations.keys()];
        // The operation that writes each value, whether it took effect or not.
        let mut writers: HashMap<(u32, Value), Option<&Told>> = HashMap::new();
        for told in told {
            let first = &mut initial[told.key as usize];
            if *first == usize::MAX {
                *first = registers.writes.len();
                registers.writes.push(Write {
                    told: None,
                    key: told.key,
                    call: 0,
                    end: 0,
                    end_ns: 0,
                    replaced: None,
                });
                writers.insert((told.key, Value::Nil), None);
            }
            if told.f == Function::Read || told.was_not_done() || told.was_refused() {
                continue;
            }
            let value = written(told);
            let name = value.to_string();
            if writers.insert((told.key, value), Some(told)).is_some() {
                let key = operations.on_key(told.key);
                return Err(format!("{name} is written twice{key}, so reads do not tell which"));
            }
        }
        for told in told {
            if told.f != Function::Read && told.is_ok() {
                registers.take_effect(told);
            }
        }
        for told in told {
            registers.refused += u64::from(told.f == Function::Cas && told.was_refused());
            if !told.is_ok() || told.f == Function::Write {
                continue;
            }
            let saw = match writers.get(&(told.key, found(told))) {
                None => {
                    registers.unwritten.push(told);
                    continue;
                }
                Some(None) => initial[told.key as usize],
                Some(Some(writer)) => registers.take_effect(writer),
            };
            registers.see(told, saw);
        }
        registers.resolve(&writers, &initial);
        Ok(registers)
    }

    fn take_effect(&mut self, told: &'a Told) -> usize {
        *self.write_of.entry(told.call.line).or_insert_with(|| {
            self.writes.push(Write {
                told: Some(told),
                key: told.key,
                call: told.call.line,
                end: told.ret(),
                end_ns: told.end.filter(|_| told.ret() < NEVER).map_or(u64::MAX, |it| it.mark.t),
                replaced: None,
            });
            self.writes.len() - 1
        })
    }

    fn see(&mut self, told: &'a Told, saw: usize) {
        let write = &mut self.writes[saw];
        write.end = write.end.min(told.ret());
        write.end_ns = write.end_ns.min(told.end.map_or(u64::MAX, |end| end.mark.t));
        match told.f {
            Function::Read => self.reads.push(Read { told, saw }),
            _ => {
                let place = self.write_of[&told.call.line];
                self.writes[place].replaced = Some(saw);
            }
        }
    }

    /// A compare-and-set of unknown outcome that somebody saw took effect, so what it replaced did.
    fn resolve(&mut self, writers: &HashMap<(u32, Value), Option<&'a Told>>, initial: &[usize]) {
        let mut place = 0;
        while let Some(write) = self.writes.get(place).copied() {
            if let Some(told) = write.told
                && told.f == Function::Cas
                && !told.is_ok()
            {
                match writers.get(&(told.key, found(told))) {
                    None => self.unwritten.push(told),
                    Some(None) => {
                        self.writes[place].replaced = Some(initial[told.key as usize]);
                    }
                    Some(Some(writer)) => {
                        let saw = self.take_effect(writer);
                        self.writes[place].replaced = Some(saw);
                    }
                }
            }
            place += 1;
        }
    }
}
