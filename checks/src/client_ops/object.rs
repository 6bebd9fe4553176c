//! What the operations' names and values mean.

use serde_json::Value as Json;
use usurper_history::OpType;

use super::{Checked, ClientError, ClientSettings, Told};
use crate::{
    linearizability::{Budget, Model, Operation, check},
    models::{
        Counter, CounterOp, List, ListOp, Queue, QueueOp, Register, RegisterOp, Set, SetOp, Text,
        TextOp, Value,
    },
};

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// `read`, `write`, and `cas` with `[from, to]`.
    Register,
    /// `get`, `put` and `append` of texts; a missing one is empty.
    Text,
    /// `append` of an element, and `read` of all.
    List,
    /// `add` of an integer, and `read`.
    Counter,
    /// `add` and `remove` of an element, and `read` of all.
    Set,
    /// `enqueue`, and `dequeue`, which answers nothing where the queue is empty.
    Queue,
}

/// An operation as a model has it.
enum Put<O> {
    /// It says nothing, or did not happen.
    Nothing,
    /// It happened, and saw something or not.
    Done { op: O, observed: bool },
    /// It may have happened.
    Pending(O),
}

const INTEGER: &str = "an integer";
const STRING: &str = "a string";
const PAIR: &str = "a list of two values";
const LIST: &str = "a list";

impl Object {
    /// Tells from the operations' names what the keys are, unless it is given; an error says why
    /// these operations cannot be judged.
    pub(super) fn of(told: &[Told<'_>], given: Option<Self>) -> Result<Self, String> {
        let has = |name: &str| told.iter().any(|told| told.f() == name);
        let reads_lists = told.iter().any(|told| told.f() == "read" && told.answered().is_array());
        let object = if let Some(given) = given {
            given
        } else if has("get") || has("put") {
            Self::Text
        } else if has("append") {
            Self::List
        } else if has("enqueue") || has("dequeue") {
            Self::Queue
        } else if has("remove") || has("add") && reads_lists {
            Self::Set
        } else if has("add") {
            Self::Counter
        } else {
            Self::Register
        };
        match told.iter().find(|told| !object.names().contains(&told.f())) {
            Some(told) => Err(format!("no model of a {} knows `{}`", object.name(), told.f())),
            None => Ok(object),
        }
    }

    /// The name as it stands in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Text => "text",
            Self::List => "list",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Queue => "queue",
        }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Register => &["read", "write", "cas"],
            Self::Text => &["get", "put", "append"],
            Self::List => &["append", "read"],
            Self::Counter => &["add", "read"],
            Self::Set => &["add", "remove", "read"],
            Self::Queue => &["enqueue", "dequeue"],
        }
    }

    pub(super) fn check(
        self,
        told: &[Told<'_>],
        settings: &ClientSettings,
        budget: &dyn Budget,
    ) -> Result<Checked, ClientError> {
        match self {
            Self::Register => {
                let (initial, failed_cas) = (settings.initial.clone(), settings.failed_cas);
                run(&Register { initial, failed_cas }, told, register, settings, budget)
            }
            Self::Text => run(&Text, told, text, settings, budget),
            Self::List => run(&List, told, list, settings, budget),
            Self::Counter => run(&Counter::default(), told, counter, settings, budget),
            Self::Set => run(&Set, told, set, settings, budget),
            Self::Queue => run(&Queue, told, queue, settings, budget),
        }
    }
}

fn run<M: Model>(
    model: &M,
    told: &[Told<'_>],
    put: impl Fn(&Told<'_>) -> Result<Put<M::Op>, ClientError>,
    settings: &ClientSettings,
    budget: &dyn Budget,
) -> Result<Checked, ClientError> {
    let mut ops = Vec::with_capacity(told.len());
    let mut observations = 0;
    for told in told {
        let (op, ret) = match put(told)? {
            Put::Nothing => continue,
            Put::Pending(op) => (op, None),
            Put::Done { op, observed } => {
                observations += usize::from(observed);
                (op, told.end.map(|end| end.line))
            }
        };
        let (process, key, call) = (told.process, told.key, told.call.line);
        ops.push(Operation { process, key, call, ret, op });
    }
    let report = check(model, &ops, settings.options, budget);
    Ok(Checked::new(report, &ops, observations))
}

/// An operation that only changes something.
fn change<O>(told: &Told<'_>, op: O) -> Put<O> {
    match told.outcome() {
        OpType::Ok => Put::Done { op, observed: false },
        OpType::Fail => Put::Nothing,
        OpType::Info | OpType::Invoke => Put::Pending(op),
    }
}

/// An operation that only observes something.
fn observation<O>(
    told: &Told<'_>,
    op: impl FnOnce(&Json) -> Result<O, ClientError>,
) -> Result<Put<O>, ClientError> {
    match told.outcome() {
        OpType::Ok => Ok(Put::Done { op: op(told.answered())?, observed: true }),
        _ => Ok(Put::Nothing),
    }
}

fn register(told: &Told<'_>) -> Result<Put<RegisterOp>, ClientError> {
    match told.f() {
        "read" => observation(told, |value| Ok(RegisterOp::Read(value.into()))),
        "write" => Ok(change(told, RegisterOp::Write(told.asked().into()))),
        "cas" => {
            let pair = told.asked().as_array().map(Vec::as_slice);
            let Some([from, to]) = pair else { return Err(told.wrong(told.asked(), PAIR)) };
            let (from, to) = (Value::from(from), Value::from(to));
            Ok(match told.outcome() {
                OpType::Ok => Put::Done { op: RegisterOp::Cas { from, to }, observed: true },
                // A plain no is an answer of the register; with an error, it was never asked.
                OpType::Fail if !told.has_error() => {
                    Put::Done { op: RegisterOp::CasFailed { from }, observed: true }
                }
                OpType::Fail => Put::Nothing,
                OpType::Info | OpType::Invoke => Put::Pending(RegisterOp::Cas { from, to }),
            })
        }
        _ => Ok(Put::Nothing),
    }
}

fn text(told: &Told<'_>) -> Result<Put<TextOp>, ClientError> {
    let of = |value: &Json| match value {
        Json::Null => Ok("".into()),
        Json::String(text) => Ok(text.as_str().into()),
        other => Err(told.wrong(other, STRING)),
    };
    match told.f() {
        "get" => observation(told, |value| Ok(TextOp::Get(of(value)?))),
        "put" => Ok(change(told, TextOp::Put(of(told.asked())?))),
        "append" => Ok(change(told, TextOp::Append(of(told.asked())?))),
        _ => Ok(Put::Nothing),
    }
}

/// The elements of a list; nothing is an empty one.
fn elements<C: FromIterator<Value>>(told: &Told<'_>, value: &Json) -> Result<C, ClientError> {
    match value {
        Json::Null => Ok(C::from_iter([])),
        Json::Array(values) => Ok(values.iter().map(Value::from).collect()),
        other => Err(told.wrong(other, LIST)),
    }
}

fn list(told: &Told<'_>) -> Result<Put<ListOp>, ClientError> {
    match told.f() {
        "read" => observation(told, |value| Ok(ListOp::Read(elements(told, value)?))),
        "append" => Ok(change(told, ListOp::Append(told.asked().into()))),
        _ => Ok(Put::Nothing),
    }
}

fn counter(told: &Told<'_>) -> Result<Put<CounterOp>, ClientError> {
    let of = |value: &Json| value.as_i64().ok_or_else(|| told.wrong(value, INTEGER));
    match told.f() {
        "read" => observation(told, |value| Ok(CounterOp::Read(of(value)?))),
        "add" => Ok(change(told, CounterOp::Add(of(told.asked())?))),
        _ => Ok(Put::Nothing),
    }
}

fn set(told: &Told<'_>) -> Result<Put<SetOp>, ClientError> {
    match told.f() {
        "read" => observation(told, |value| Ok(SetOp::ReadAll(elements(told, value)?))),
        "add" => Ok(change(told, SetOp::Add(told.asked().into()))),
        "remove" => Ok(change(told, SetOp::Remove(told.asked().into()))),
        _ => Ok(Put::Nothing),
    }
}

fn queue(told: &Told<'_>) -> Result<Put<QueueOp>, ClientError> {
    match (told.f(), told.outcome()) {
        ("enqueue", _) => Ok(change(told, QueueOp::Enqueue(told.asked().into()))),
        ("dequeue", OpType::Info | OpType::Invoke) => Ok(Put::Pending(QueueOp::DequeueUnknown)),
        ("dequeue", _) => observation(told, |value| match value {
            Json::Null => Ok(QueueOp::DequeueEmpty),
            value => Ok(QueueOp::Dequeue(value.into())),
        }),
        _ => Ok(Put::Nothing),
    }
}
