//! What the operations' names and values mean.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use usurper_history::OpType;

use super::{
    Checked, ClientError, ClientSettings,
    operations::{Function, Told},
};
use crate::{
    linearizability::{Budget, Model, Operation, Pace, check},
    models::{
        Counter, CounterOp, List, ListOp, Lock, LockOp, Queue, QueueOp, Register, RegisterOp, Set,
        SetOp, Text, TextOp, Value,
    },
};

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// `acquire`, which answers a fencing token, and `release` of that token.
    Lock,
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
const TOKEN: &str = "a token, which is an integer from 0";

/// Which functions are used, whether a `read` answered a list, and whether something was added that
/// nobody can count.
struct Used {
    functions: BTreeSet<Function>,
    reads_lists: bool,
    adds_elements: bool,
}

impl Object {
    /// Every kind, by the name that a suite gives it.
    pub const ALL: [Self; 7] =
        [Self::Register, Self::Text, Self::List, Self::Counter, Self::Set, Self::Queue, Self::Lock];

    /// Tells from the operations' names what one key is, unless it is given; an error names a
    /// function that does not fit.
    pub(super) fn of<'a>(
        told: impl IntoIterator<Item = &'a Told>,
        given: Option<Self>,
    ) -> Result<Self, (Self, Function)> {
        let mut used =
            Used { functions: BTreeSet::new(), reads_lists: false, adds_elements: false };
        for told in told {
            used.functions.insert(told.f);
            used.reads_lists |= told.f == Function::Read && told.answered.is_array();
            used.adds_elements |=
                told.f == Function::Add && !(told.asked.is_i64() || told.asked.is_null());
        }
        let has = |f: Function| used.functions.contains(&f);
        let object = if let Some(given) = given {
            given
        } else if has(Function::Get) || has(Function::Put) {
            Self::Text
        } else if has(Function::Append) {
            Self::List
        } else if has(Function::Enqueue) || has(Function::Dequeue) {
            Self::Queue
        } else if has(Function::Acquire) || has(Function::Release) {
            Self::Lock
        } else if has(Function::Remove)
            || has(Function::Add) && (used.reads_lists || used.adds_elements)
        {
            Self::Set
        } else if has(Function::Add) {
            Self::Counter
        } else {
            Self::Register
        };
        match used.functions.iter().find(|f| !object.functions().contains(f)) {
            Some(f) => Err((object, *f)),
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
            Self::Lock => "lock",
        }
    }

    /// Whether its clients `read` it.
    pub(super) fn is_read(self) -> bool {
        self.functions().contains(&Function::Read)
    }

    fn functions(self) -> &'static [Function] {
        match self {
            Self::Register => &[Function::Read, Function::Write, Function::Cas],
            Self::Text => &[Function::Get, Function::Put, Function::Append],
            Self::List => &[Function::Append, Function::Read],
            Self::Counter => &[Function::Add, Function::Read],
            Self::Set => &[Function::Add, Function::Remove, Function::Read],
            Self::Queue => &[Function::Enqueue, Function::Dequeue],
            Self::Lock => &[Function::Acquire, Function::Release],
        }
    }

    pub(super) fn check(
        self,
        told: &[&Told],
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
            Self::Lock => run(&Lock, told, lock, settings, budget),
        }
    }
}

fn run<M: Model>(
    model: &M,
    told: &[&Told],
    put: impl Fn(&Told) -> Result<Put<M::Op>, ClientError>,
    settings: &ClientSettings,
    budget: &dyn Budget,
) -> Result<Checked, ClientError> {
    let mut ops = Vec::with_capacity(told.len());
    let mut observations = 0;
    // Values are copied, and some are long.
    let mut pace = Pace::new(budget);
    for told in told {
        let words = [&told.asked, &told.answered].map(|it| it.as_array().map_or(1, Vec::len));
        if pace.steps(words[0] + words[1]).is_err() {
            return Ok(Checked::out_of_time(told.key, ops.len()));
        }
        let (op, ret) = match put(told)? {
            Put::Nothing => continue,
            Put::Pending(op) => (op, None),
            Put::Done { op, observed } => {
                observations += usize::from(observed);
                (op, told.end.map(|end| end.mark.line))
            }
        };
        let (process, key, call) = (told.process, told.key, told.call.line);
        ops.push(Operation { process, key, call, ret, op });
    }
    let report = check(model, &ops, settings.options, budget);
    Ok(Checked::new(report, &ops, observations))
}

/// An operation that only changes something.
fn change<O>(told: &Told, op: O) -> Put<O> {
    match told.outcome() {
        OpType::Ok => Put::Done { op, observed: false },
        OpType::Fail => Put::Nothing,
        OpType::Info | OpType::Invoke => Put::Pending(op),
    }
}

/// An operation that only observes something.
fn observation<O>(
    told: &Told,
    op: impl FnOnce(&Json) -> Result<O, ClientError>,
) -> Result<Put<O>, ClientError> {
    match told.outcome() {
        OpType::Ok => Ok(Put::Done { op: op(&told.answered)?, observed: true }),
        _ => Ok(Put::Nothing),
    }
}

fn register(told: &Told) -> Result<Put<RegisterOp>, ClientError> {
    match told.f {
        Function::Read => observation(told, |value| Ok(RegisterOp::Read(value.into()))),
        Function::Write => Ok(change(told, RegisterOp::Write(Value::from(&told.asked)))),
        Function::Cas => {
            let pair = told.asked.as_array().map(Vec::as_slice);
            let Some([from, to]) = pair else { return Err(wrong(told, &told.asked, PAIR)) };
            let (from, to) = (Value::from(from), Value::from(to));
            Ok(match told.outcome() {
                OpType::Ok => Put::Done { op: RegisterOp::Cas { from, to }, observed: true },
                // A plain no is an answer of the register; with an error, it was never asked.
                OpType::Fail if told.was_refused() => {
                    Put::Done { op: RegisterOp::CasFailed { from }, observed: true }
                }
                OpType::Fail => Put::Nothing,
                OpType::Info | OpType::Invoke => Put::Pending(RegisterOp::Cas { from, to }),
            })
        }
        _ => Ok(Put::Nothing),
    }
}

fn text(told: &Told) -> Result<Put<TextOp>, ClientError> {
    let of = |value: &Json| match value {
        Json::Null => Ok("".into()),
        Json::String(text) => Ok(text.as_str().into()),
        other => Err(wrong(told, other, STRING)),
    };
    match told.f {
        Function::Get => observation(told, |value| Ok(TextOp::Get(of(value)?))),
        Function::Put => Ok(change(told, TextOp::Put(of(&told.asked)?))),
        Function::Append => Ok(change(told, TextOp::Append(of(&told.asked)?))),
        _ => Ok(Put::Nothing),
    }
}

/// The elements of a list; nothing is an empty one.
fn elements<C: FromIterator<Value>>(told: &Told, value: &Json) -> Result<C, ClientError> {
    match value {
        Json::Null => Ok(C::from_iter([])),
        Json::Array(values) => Ok(values.iter().map(Value::from).collect()),
        other => Err(wrong(told, other, LIST)),
    }
}

fn list(told: &Told) -> Result<Put<ListOp>, ClientError> {
    match told.f {
        Function::Read => observation(told, |value| Ok(ListOp::Read(elements(told, value)?))),
        Function::Append => Ok(change(told, ListOp::Append(Value::from(&told.asked)))),
        _ => Ok(Put::Nothing),
    }
}

fn counter(told: &Told) -> Result<Put<CounterOp>, ClientError> {
    let of = |value: &Json| match value {
        // Nobody has counted yet.
        Json::Null => Ok(0),
        value => value.as_i64().ok_or_else(|| wrong(told, value, INTEGER)),
    };
    match told.f {
        Function::Read => observation(told, |value| Ok(CounterOp::Read(of(value)?))),
        Function::Add => Ok(change(told, CounterOp::Add(of(&told.asked)?))),
        _ => Ok(Put::Nothing),
    }
}

fn set(told: &Told) -> Result<Put<SetOp>, ClientError> {
    match told.f {
        Function::Read => observation(told, |value| Ok(SetOp::ReadAll(elements(told, value)?))),
        Function::Add => Ok(change(told, SetOp::Add(Value::from(&told.asked)))),
        Function::Remove => Ok(change(told, SetOp::Remove(Value::from(&told.asked)))),
        _ => Ok(Put::Nothing),
    }
}

fn queue(told: &Told) -> Result<Put<QueueOp>, ClientError> {
    match (told.f, told.outcome()) {
        (Function::Enqueue, _) => Ok(change(told, QueueOp::Enqueue(Value::from(&told.asked)))),
        (Function::Dequeue, OpType::Info | OpType::Invoke) => {
            Ok(Put::Pending(QueueOp::DequeueUnknown))
        }
        (Function::Dequeue, _) => observation(told, |value| match value {
            Json::Null => Ok(QueueOp::DequeueEmpty),
            value => Ok(QueueOp::Dequeue(value.into())),
        }),
        _ => Ok(Put::Nothing),
    }
}

/// Who holds a lock is told by the token: a client goes on under another process after an unknown
/// outcome, and may then release what it had acquired under the first.
fn lock(told: &Told) -> Result<Put<LockOp>, ClientError> {
    let of = |value: &Json| match value {
        Json::Null => Ok(None),
        value => value.as_u64().map(Some).ok_or_else(|| wrong(told, value, TOKEN)),
    };
    let owner = told.process;
    Ok(match (told.f, told.outcome()) {
        (Function::Acquire, OpType::Ok) => {
            let token = of(&told.answered)?;
            Put::Done { op: LockOp::Acquire { owner, token }, observed: true }
        }
        (Function::Acquire, OpType::Fail) if told.was_refused() => {
            Put::Done { op: LockOp::Taken, observed: true }
        }
        (Function::Acquire, OpType::Info | OpType::Invoke) => {
            Put::Pending(LockOp::Acquire { owner, token: None })
        }
        (Function::Release, outcome) => match (of(&told.asked)?, outcome) {
            (Some(token), OpType::Fail) if told.was_refused() => {
                Put::Done { op: LockOp::NotHeld { token }, observed: true }
            }
            (Some(token), _) => change(told, LockOp::ReleaseToken { token }),
            (None, _) => change(told, LockOp::Release { owner }),
        },
        _ => Put::Nothing,
    })
}

fn wrong(told: &Told, value: &Json, expected: &'static str) -> ClientError {
    let line = told.end.map_or(told.call.line, |end| end.mark.line);
    ClientError::Value { line, value: value.to_string(), expected }
}
