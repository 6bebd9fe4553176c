//! The client operations of a history in a compact form: calls with how they ended.
//!
//! Many checks look at the operations, and most need all of them before they can say anything.
//! They are kept once, with functions as numbers and keys by number, and within a bound.

use std::{collections::HashMap, fmt};

use serde_json::Value as Json;
use usurper_history::{NodeId, OpRecord, OpType};

use super::{ClientError, ClientRecord};
use crate::{
    linearizability::{NEVER, Pairing, narrow},
    models::Value,
    phrase::counted,
    timeline::Mark,
};

/// About how many bytes of operations are kept; beyond, nothing can be said about them.
const BYTES_MAX: usize = 2 << 30;
/// How many names that belong to no model are told apart.
const OTHERS_MAX: usize = 64;

/// What an operation does, as far as some model knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Function {
    Acquire,
    Add,
    Append,
    Cas,
    Dequeue,
    Enqueue,
    Get,
    Put,
    Read,
    Release,
    Remove,
    Write,
    /// Known to no model; which one stands in a list of names.
    Other(u8),
}

const FUNCTIONS: [(&str, Function); 12] = [
    ("acquire", Function::Acquire),
    ("add", Function::Add),
    ("append", Function::Append),
    ("cas", Function::Cas),
    ("dequeue", Function::Dequeue),
    ("enqueue", Function::Enqueue),
    ("get", Function::Get),
    ("put", Function::Put),
    ("read", Function::Read),
    ("release", Function::Release),
    ("remove", Function::Remove),
    ("write", Function::Write),
];

/// Whether an operation of this name can change what others see, as far as a model knows.
pub(crate) fn changes(name: &str) -> bool {
    let known = FUNCTIONS.binary_search_by_key(&name, |(known, _)| known);
    known.is_ok_and(|place| FUNCTIONS[place].1.changes())
}

impl Function {
    pub(crate) fn changes(self) -> bool {
        !matches!(self, Self::Get | Self::Read | Self::Other(_))
    }

    /// Whether what counts is what came back, not what was asked.
    fn answers(self) -> bool {
        matches!(self, Self::Acquire | Self::Dequeue | Self::Get | Self::Read)
    }

    pub(crate) fn is_known(self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

/// An operation, as its records tell it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) process: u32,
    pub(crate) key: u32,
    pub(crate) f: Function,
    pub(crate) server: Option<NodeId>,
    pub(crate) session: Option<u64>,
    pub(crate) call: Mark,
    /// How it ended; none if it never did.
    pub(crate) end: Option<End>,
    pub(crate) asked: Json,
    pub(crate) answered: Json,
}

/// The end of an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) mark: Mark,
    op_type: OpType,
    /// The client failed for another reason than the system's plain no.
    has_error: bool,
}

impl Told {
    /// How it ended; `info` if it never did.
    pub(crate) fn outcome(&self) -> OpType {
        self.end.map_or(OpType::Info, |end| end.op_type)
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.outcome() == OpType::Ok
    }

    /// The line of its return; never, as long as it may still take effect.
    pub(crate) fn ret(&self) -> u64 {
        match self.end {
            Some(end) if end.op_type != OpType::Info => end.mark.line,
            _ => NEVER,
        }
    }

    /// Whether it certainly never took effect, and does not tell of any state either.
    pub(crate) fn was_not_done(&self) -> bool {
        self.outcome() == OpType::Fail && self.end.is_some_and(|end| end.has_error)
    }

    /// Whether the system answered with a plain no.
    pub(crate) fn was_refused(&self) -> bool {
        self.outcome() == OpType::Fail && !self.was_not_done()
    }
}

/// Every operation of a history, in the order of the calls.
pub(crate) struct Operations {
    active: bool,
    told: Vec<Told>,
    /// The operation that each process has open, as a place in `told`.
    open: Pairing<u32>,
    keys: Vec<Option<String>>,
    numbers: HashMap<Option<String>, u32>,
    others: Vec<String>,
    bytes: usize,
    full: bool,
    error: Option<ClientError>,
}

impl Default for Operations {
    fn default() -> Self {
        Self::new(true)
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").field("count", &self.told.len()).finish_non_exhaustive()
    }
}

impl Operations {
    /// `active` says whether anybody will ask for them.
    pub(crate) fn new(active: bool) -> Self {
        Self {
            active,
            told: Vec::new(),
            open: Pairing::default(),
            keys: Vec::new(),
            numbers: HashMap::new(),
            others: Vec::new(),
            bytes: 0,
            full: false,
            error: None,
        }
    }

    /// Takes in one more record. After the first impossible one nothing more is.
    pub(crate) fn observe(&mut self, record: ClientRecord<'_>) {
        if !self.active || self.full || self.error.is_some() {
            return;
        }
        self.error = self.take(record).err();
        if self.bytes > BYTES_MAX {
            self.full = true;
            self.told = Vec::new();
        }
    }

    fn take(&mut self, ClientRecord { line, t, op }: ClientRecord<'_>) -> Result<(), ClientError> {
        let mark = Mark { t, line };
        if op.op_type == OpType::Invoke {
            self.open.invoke(op.process, line, narrow(self.told.len()))?;
            let told = Told {
                process: op.process,
                key: self.key(op),
                f: self.function(&op.f),
                server: op.server,
                session: op.session,
                call: mark,
                end: None,
                asked: op.value.clone().unwrap_or(Json::Null),
                answered: Json::Null,
            };
            self.bytes += size_of::<Told>() + bytes_of(&told.asked);
            self.told.push(told);
            return Ok(());
        }
        let (invoked, place) = self.open.complete(op.process, line)?;
        let f = self.function(&op.f);
        let Told { f: asked, key, .. } = self.told[place as usize];
        if f != asked || op.key.is_some() && op.key != self.keys[key as usize] {
            let (what, asked) = (op.f.clone(), self.name(asked).to_owned());
            return Err(ClientError::OtherOperation { line, what, asked, invoked });
        }
        let told = &mut self.told[place as usize];
        // What changes something ends as what was asked for, if it says of what at all.
        if asked.changes()
            && !asked.answers()
            && asked != Function::Release
            && let Some(value) = op.value.as_ref().filter(|value| **value != told.asked)
        {
            let what = format!("{} {value}", op.f);
            let asked = format!("{} {}", op.f, told.asked);
            return Err(ClientError::OtherOperation { line, what, asked, invoked });
        }
        told.end = Some(End { mark, op_type: op.op_type, has_error: op.error.is_some() });
        if op.op_type == OpType::Ok {
            told.answered = op.value.clone().unwrap_or(Json::Null);
            self.bytes += bytes_of(&told.answered);
        }
        Ok(())
    }

    fn key(&mut self, op: &OpRecord) -> u32 {
        if let Some(number) = self.numbers.get(&op.key) {
            return *number;
        }
        let number = narrow(self.keys.len());
        self.keys.push(op.key.clone());
        self.numbers.insert(op.key.clone(), number);
        self.bytes += 2 * (op.key.as_ref().map_or(0, String::len) + size_of::<Option<String>>());
        number
    }

    fn function(&mut self, name: &str) -> Function {
        if let Ok(place) = FUNCTIONS.binary_search_by_key(&name, |(known, _)| known) {
            return FUNCTIONS[place].1;
        }
        let place = self.others.iter().position(|known| known == name).unwrap_or_else(|| {
            if self.others.len() < OTHERS_MAX {
                self.others.push(name.to_owned());
            }
            self.others.len() - 1
        });
        Function::Other(u8::try_from(place).expect("few names are told apart"))
    }

    /// The first record that no client can have made.
    pub(crate) fn error(&self) -> Option<&ClientError> {
        self.error.as_ref()
    }

    /// All of them, or why they cannot be had.
    pub(crate) fn all(&self) -> Result<&[Told], String> {
        if self.full {
            return Err(format!(
                "the client operations take more than {BYTES_MAX} bytes, the most that is kept"
            ));
        }
        Ok(&self.told)
    }

    /// All of them, if some model knows any; else why nothing can be said.
    pub(crate) fn known(&self) -> Result<&[Told], String> {
        let told = self.all()?;
        let known = || told.iter().filter(|told| told.f.is_known());
        // A lock may do without tokens. Of all else, nothing that was put there is nothing to look for.
        let says = |told: &Told| {
            matches!(told.f, Function::Acquire | Function::Release)
                || !(told.asked.is_null() && told.answered.is_null())
        };
        if known().any(says) {
            return Ok(told);
        }
        if known().next().is_some() {
            return Err("no operation has a value".to_owned());
        }
        Err(match told.len() {
            0 => "needs: operations (no client recorded any)".to_owned(),
            more => format!(
                "needs: operations ({} of no model's: {})",
                counted(more as u64, "operation"),
                crate::phrase::list(self.others.iter().map(|name| format!("`{name}`")))
            ),
        })
    }

    /// The name of a function.
    pub(crate) fn name(&self, f: Function) -> &str {
        match f {
            Function::Other(place) => &self.others[usize::from(place)],
            known => FUNCTIONS.iter().find(|(_, it)| *it == known).map_or("", |(name, _)| name),
        }
    }

    /// A key as it stands in a sentence: nothing for operations without one.
    pub(crate) fn on_key(&self, key: u32) -> String {
        match self.keys.get(key as usize) {
            Some(Some(name)) => format!(" on key `{name}`"),
            _ => String::new(),
        }
    }

    /// An operation in a few words: what it did, to which key, who did it, and when.
    pub(crate) fn describe(&self, told: &Told, on_key: &str) -> String {
        let name = self.name(told.f);
        let what = match told.f {
            Function::Cas => match (told.asked.get(0), told.asked.get(1)) {
                (Some(from), Some(to)) => {
                    format!("{name} {} to {}", Value::from(from), Value::from(to))
                }
                _ => name.to_owned(),
            },
            f if f.answers() => format!("{name} {}", Value::from(&told.answered)),
            _ => format!("{name} {}", Value::from(&told.asked)),
        };
        let (process, call) = (told.process, told.call.line);
        let when = match told.end.filter(|_| told.ret() != NEVER) {
            Some(end) => format!("{call} to {}", end.mark.line),
            None => format!("outcome unknown, from {call} on"),
        };
        format!("{what}{on_key} (process {process}, {when})")
    }

    /// How many keys there are.
    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }
}

/// About how many bytes a value takes beside itself.
fn bytes_of(value: &Json) -> usize {
    match value {
        Json::String(text) => text.len(),
        Json::Array(values) => values.iter().map(|value| size_of::<Json>() + bytes_of(value)).sum(),
        Json::Object(map) => map.iter().map(|(key, it)| 64 + key.len() + bytes_of(it)).sum(),
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
    }
}
