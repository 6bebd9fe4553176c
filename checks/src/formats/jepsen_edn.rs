//! Jepsen's `history.edn`: one operation after another, as Knossos and Elle read them.
//!
//! `{:process 0, :type :invoke, :f :cas, :value [1 2], :time 12, :index 3}`. Read are registers
//! (`:read`, `:write`, `:cas`), sets, queues, counters, and transactions of `[:append k v]`,
//! `[:r k v]` and `[:w k v]`. Where the values of reads are pairs `[k nil]`, the history is one of
//! many keys, as `jepsen.independent` writes it. What is not a client's (`:process :nemesis`) is
//! counted and left out.
//!
//! Keys become texts, and values JSON. A key `1` and a key `"1"` stay two: where two keys would become one,
//! texts keep their quotes. A text that is the same as a keyword once both are JSON is refused.
//!
//! `:fail` means in Jepsen that the operation did not happen, and no more than that. So a failed
//! compare-and-set is read as one that saw nothing. Our own writer marks those that were answered
//! with a plain no (`:usurper/plain-no true`), and all else that EDN has no word for.
//!
//! A transaction of several operations is judged as that many operations at the same time. What is
//! found so is wrong, because transactions that are strictly serializable would allow it; but
//! nothing is said about whether they were atomic.
//!
//! Sources: jepsen.history (op maps), jepsen.independent (tuples), Elle (list-append, rw-register).

use std::{
    collections::{HashMap, HashSet},
    io,
};

use serde_json::Value;
use usurper_history::{Body, OpRecord, OpType, Record};

use super::{
    edn::Edn,
    forms::Forms,
    input::{Lines, Source},
    operations::{Clients, Operations, step},
    problem::{FormatError, Problem},
};

const FIELDS: &str =
    "a map with `:process`, `:type` (`:invoke`, `:ok`, `:fail` or `:info`), `:f` and `:value`";
const TRANSACTION: &str = "a transaction as a list of `[:append k v]`, `[:r k v]` and `[:w k v]`";
const TUPLE: &str = "a pair of key and value, as the reads of this history have it";

/// What stands where our own records have no reason for a `fail`.
const NO_REASON: &str = "it did not happen";

/// One map of the file; the operation lacks its key and value, which depend on the other maps.
struct Raw {
    line: u64,
    t: u64,
    index: Option<u64>,
    op: OpRecord,
    value: Edn,
    /// A key in a field of its own.
    key: Option<Edn>,
    /// A key in our own field: nil says that there is none.
    ours: Option<Edn>,
    plain_no: bool,
}

/// Reads such a file.
pub(super) fn read(source: Source<'_>, lenient: bool) -> Result<Operations, FormatError> {
    let mut forms = Forms::new(Lines::new(source, lenient));
    let mut order = Order::default();
    let mut raws = Vec::new();
    let mut others = 0_u64;
    let mut shared = false;
    while let Some((line, edn)) = forms.next_form()? {
        match edn.get("process") {
            // What is no client's begins and ends as `:info`; what says more is a client with a name.
            Some(Edn::Keyword(_)) if !is_step_of_client(&edn) => {
                others += 1;
                continue;
            }
            _ => match raw(line, &edn) {
                Ok(raw) => match order.place(&raw) {
                    Ok(t) => {
                        shared |= raws.last().is_some_and(|last: &Raw| last.line == line);
                        raws.push(Raw { t, ..raw });
                    }
                    Err(problem) => forms.lines.bad(line, problem)?,
                },
                Err(problem) => forms.lines.bad(line, problem)?,
            },
        }
    }
    let mut lines = forms.lines;
    let mut read = Operations::default();
    let keys = Keys::of(&raws);
    let spelling = Spelling::of(&raws, &keys);
    read.plain_no = raws.iter().any(|raw| raw.plain_no);
    let mut clients = Clients::default();
    let mut transactions = Transactions::default();
    for raw in raws {
        let (line, t) = (raw.line, raw.t);
        match transactions.steps(&keys, &spelling, &raw) {
            Ok(steps) => {
                shared |= steps.len() > 1;
                for op in steps {
                    read.take(&mut lines, &mut clients, line, (t, op))?;
                }
            }
            Err(problem) => lines.bad(line, problem)?,
        }
    }
    if shared {
        // Positions must tell operations apart.
        for (place, (line, record)) in (1..).zip(&mut read.records) {
            record.extra.insert("line".to_owned(), Value::from(*line));
            *line = place;
        }
        read.notes.push("positions count the steps of operations, not lines".to_owned());
    }
    let failed = "a failed operation did not happen, and saw nothing";
    let but = if read.plain_no { ", unless it is marked as a plain no" } else { "" };
    read.notes.push(format!("{failed}{but}"));
    if others > 0 {
        read.notes.push(format!("{others} steps of no client (`:nemesis`) are left out"));
    }
    order.tell(&mut read.notes);
    if keys.independent {
        read.notes.push("the values of reads are pairs, so each first half is a key".to_owned());
    }
    if transactions.several > 0 {
        read.doubts.push(format!(
            "{} transactions have several operations, and whether they were atomic is not judged",
            transactions.several
        ));
    }
    read.skipped = lines.skipped();
    Ok(read)
}

fn is_step_of_client(edn: &Edn) -> bool {
    matches!(edn.get("type").and_then(Edn::keyword), Some("invoke" | "ok" | "fail"))
}

fn raw(line: u64, edn: &Edn) -> Result<Raw, Problem> {
    let bad = || Problem::malformed(&edn.to_string(), FIELDS);
    let process = edn.get("process").and_then(Edn::number).and_then(|it| u32::try_from(it).ok());
    let op_type = match edn.get("type").and_then(Edn::keyword) {
        Some("invoke") => OpType::Invoke,
        Some("ok") => OpType::Ok,
        Some("fail") => OpType::Fail,
        Some("info") => OpType::Info,
        _ => return Err(bad()),
    };
    // Of two values nobody knows which was meant; Clojure reads no such map.
    let fields = ["process", "type", "f", "value", "key", "time", "index"];
    if fields.iter().any(|name| edn.count(name) > 1) {
        return Err(bad());
    }
    let f = edn.get("f").and_then(Edn::keyword);
    let (Some(process), Some(f)) = (process, f) else { return Err(bad()) };
    let t = match edn.get("time") {
        Some(time) => time.number().ok_or_else(bad)?,
        None => 0,
    };
    let number = |name| edn.get(name).and_then(Edn::number);
    let plain_no = edn.get("usurper/plain-no").is_some();
    let error = match edn.get("error").filter(|error| **error != Edn::Nil) {
        None => (op_type == OpType::Fail && !plain_no).then(|| NO_REASON.to_owned()),
        Some(error) => Some(error.plain()),
    };
    // What our own files tell beyond Jepsen's words.
    let op = OpRecord {
        server: edn.get("usurper/server").and_then(|server| server.plain().parse().ok()),
        session: number("usurper/session"),
        serial: number("usurper/serial"),
        ..step(process, op_type, f, None, error)
    };
    Ok(Raw {
        line,
        t,
        index: number("index"),
        op,
        value: edn.get("value").cloned().unwrap_or(Edn::Nil),
        key: edn.get("key").cloned(),
        ours: edn.get("usurper/key").cloned(),
        plain_no,
    })
}

/// The order of a file: `:index` decides where it is there, else `:time`.
#[derive(Debug, Default)]
struct Order {
    index: Option<u64>,
    time: u64,
    gaps: u64,
    late: u64,
}

impl Order {
    fn place(&mut self, raw: &Raw) -> Result<u64, Problem> {
        let above = self.time;
        if let Some(index) = raw.index {
            if let Some(above) = self.index {
                if index == above {
                    return Err(Problem::Duplicated { what: "index", here: index });
                }
                if index < above {
                    return Err(Problem::OutOfOrder { what: "index", here: index, above });
                }
                self.gaps += index - above - 1;
            }
            self.index = Some(index);
            self.late += u64::from(raw.t < above);
        } else if raw.t < above {
            return Err(Problem::OutOfOrder { what: "time", here: raw.t, above });
        }
        self.time = above.max(raw.t);
        Ok(self.time)
    }

    fn tell(&self, notes: &mut Vec<String>) {
        if self.gaps > 0 {
            notes.push(format!(
                "{} indices are not in it (left out or of no client): it is judged as it stands",
                self.gaps
            ));
        }
        if self.late > 0 {
            notes.push(format!(
                "{} steps have an earlier time than the one above; `:index` decides",
                self.late
            ));
        }
    }
}

/// How the operations of a file name their keys.
struct Keys {
    independent: bool,
}

impl Keys {
    fn of(raws: &[Raw]) -> Self {
        let asked = |f: &'static str| {
            let is = move |raw: &&Raw| raw.op.f == f && raw.op.op_type == OpType::Invoke;
            raws.iter().filter(is).filter(|raw| raw.ours.is_none())
        };
        let is_tuple = |raw: &Raw| matches!(raw.value.sequence(), Some([_, Edn::Nil]));
        let is_pair = |value: &Edn| matches!(value.sequence(), Some([_, _]));
        let of_pair = |raw: &Raw| matches!(raw.value.sequence(), Some([_, pair]) if is_pair(pair));
        // Where nobody reads, only a compare-and-set can show it.
        let independent = match (asked("read").next(), asked("cas").next()) {
            (Some(_), _) => asked("read").all(is_tuple),
            (None, Some(_)) => {
                asked("cas").all(of_pair) && asked("write").all(|raw| is_pair(&raw.value))
            }
            (None, None) => false,
        };
        Self { independent }
    }

    /// What one map tells of: of one operation, or of each of a transaction.
    fn parts<'a>(&self, raw: &'a Raw) -> Result<Vec<Part<'a>>, Problem> {
        let malformed = |expected| move || Problem::malformed(&raw.value.to_string(), expected);
        if raw.op.f == "txn" {
            let bad = malformed(TRANSACTION);
            let parts = raw.value.sequence().ok_or_else(&bad)?;
            return parts.iter().map(|part| Part::of_transaction(part).ok_or_else(&bad)).collect();
        }
        let named = raw.ours.as_ref().or(raw.key.as_ref()).filter(|key| **key != Edn::Nil);
        let tupled = raw.ours.as_ref().map_or(self.independent, |key| *key != Edn::Nil);
        let (key, value) = match (tupled, raw.value.sequence()) {
            (false, _) => (named, &raw.value),
            (true, Some([key, value])) => (Some(key), value),
            (true, _) => return Err(malformed(TUPLE)()),
        };
        Ok(vec![Part { f: &raw.op.f, key, value }])
    }
}

/// What is done to one key.
struct Part<'a> {
    f: &'a str,
    key: Option<&'a Edn>,
    value: &'a Edn,
}

impl<'a> Part<'a> {
    fn of_transaction(part: &'a Edn) -> Option<Self> {
        let [Edn::Keyword(f), key, value] = part.sequence()? else { return None };
        let f = match f.as_str() {
            "append" => "append",
            "r" => "read",
            "w" => "write",
            _ => return None,
        };
        Some(Self { f, key: Some(key).filter(|key| **key != Edn::Nil), value })
    }
}

/// How keys and values are written so that different ones stay so.
#[derive(Debug, Default)]
struct Spelling {
    /// Keys that are texts keep their quotes.
    quoted: bool,
    /// How the values that JSON has no word for are written; and whether as the key of a map.
    foreign: HashSet<(String, bool)>,
}

impl Spelling {
    fn of(raws: &[Raw], keys: &Keys) -> Self {
        let (mut texts, mut others) = (HashSet::new(), HashSet::new());
        let mut foreign = HashSet::new();
        for part in raws.iter().filter_map(|raw| keys.parts(raw).ok()).flatten() {
            match part.key {
                Some(Edn::Text(text)) => _ = texts.insert(text.as_str()),
                Some(key) => _ = others.insert(key.to_string()),
                None => {}
            }
            part.value.leaves(false, &mut |leaf, is_key| {
                if !leaf.is_of_json(is_key) {
                    foreign.insert((leaf.to_string(), is_key));
                }
            });
        }
        Self { quoted: others.iter().any(|other| texts.contains(other.as_str())), foreign }
    }

    fn key(&self, key: &Edn) -> String {
        if self.quoted { key.to_string() } else { key.plain() }
    }

    fn value(&self, value: &Edn) -> Result<Option<Value>, Problem> {
        let mut taken = None;
        if !self.foreign.is_empty() {
            value.leaves(false, &mut |leaf, is_key| {
                if let Edn::Text(text) = leaf
                    && self.foreign.contains(&(text.clone(), is_key))
                {
                    taken = Some(text.clone());
                }
            });
        }
        match taken {
            Some(text) => Err(Problem::TwoKinds { text }),
            None => Ok(Some(value.to_json()).filter(|value| !value.is_null())),
        }
    }
}

/// Transactions as operations at the same time, each by a process of its own.
#[derive(Debug, Default)]
struct Transactions {
    processes: HashMap<(u32, usize), u32>,
    several: u64,
}

impl Transactions {
    /// The steps that one map tells.
    fn steps(
        &mut self,
        keys: &Keys,
        spelling: &Spelling,
        raw: &Raw,
    ) -> Result<Vec<OpRecord>, Problem> {
        let parts = keys.parts(raw)?;
        self.several += u64::from(parts.len() > 1 && raw.op.op_type == OpType::Invoke);
        let step = |(place, part): (usize, Part<'_>)| {
            Ok(OpRecord {
                process: self.process(raw.op.process, place),
                f: part.f.to_owned(),
                key: part.key.map(|key| spelling.key(key)),
                value: spelling.value(part.value)?,
                ..raw.op.clone()
            })
        };
        parts.into_iter().enumerate().map(step).collect()
    }

    /// The process that does the `place`th operation of a process' transactions; the numbers from
    /// the top are nobody else's.
    fn process(&mut self, process: u32, place: usize) -> u32 {
        if place == 0 {
            return process;
        }
        let next = u32::MAX - u32::try_from(self.processes.len()).unwrap_or(u32::MAX / 2);
        *self.processes.entry((process, place)).or_insert(next)
    }
}

/// Writes the client operations of a history as Jepsen would: lists as transactions of one append
/// or read, as Elle wants them; other operations under a key as pairs `[key value]`.
///
/// # Errors
/// When it cannot be written.
pub fn write_jepsen_edn<'a>(
    records: impl IntoIterator<Item = &'a Record> + Clone,
    out: &mut dyn io::Write,
) -> io::Result<u64> {
    let ops = || {
        records.clone().into_iter().filter_map(|record| match &record.body {
            Body::Op(op) => Some((record.t, op)),
            _ => None,
        })
    };
    let has = |name: &str| ops().any(|(_, op)| op.f == name);
    let lists = has("append") && !has("get") && !has("put");
    let mut written = 0;
    for (t, op) in ops() {
        writeln!(out, "{}", map(t, op, lists, written))?;
        written += 1;
    }
    Ok(written)
}

fn map(t: u64, op: &OpRecord, lists: bool, index: u64) -> Edn {
    let keyword = |name: &str| Edn::Keyword(name.to_owned());
    let value = op.value.as_ref().map_or(Edn::Nil, Edn::of_json);
    let key = op.key.clone().map(Edn::Text);
    let part = match op.f.as_str() {
        "append" if lists => Some("append"),
        "read" if lists => Some("r"),
        _ => None,
    };
    let op_type = match op.op_type {
        OpType::Invoke => "invoke",
        OpType::Ok => "ok",
        OpType::Fail => "fail",
        OpType::Info => "info",
    };
    let (f, value) = match (part, &key) {
        (Some(part), key) => {
            let key = key.clone().unwrap_or(Edn::Nil);
            ("txn", Edn::Sequence(vec![Edn::Sequence(vec![keyword(part), key, value])]))
        }
        (None, Some(key)) => (op.f.as_str(), Edn::Sequence(vec![key.clone(), value])),
        (None, None) => (op.f.as_str(), value),
    };
    let mut entries = vec![
        (keyword("process"), Edn::Number(op.process.into())),
        (keyword("type"), keyword(op_type)),
        (keyword("f"), keyword(f)),
        (keyword("value"), value),
        (keyword("time"), Edn::Number(t.into())),
        (keyword("index"), Edn::Number(index.into())),
    ];
    let mut more = |name: &str, value: Option<Edn>| {
        entries.extend(value.map(|value| (keyword(name), value)));
    };
    more("error", op.error.clone().map(Edn::Text));
    let plain_no = op.op_type == OpType::Fail && op.error.is_none();
    more("usurper/plain-no", plain_no.then_some(Edn::Bool(true)));
    // A list as a value is not to be taken for a pair.
    let is_list = op.value.as_ref().is_some_and(Value::is_array);
    let none = is_list.then_some(Edn::Nil);
    more("usurper/key", key.or(none).filter(|_| part.is_none()));
    more("usurper/server", op.server.map(|server| Edn::Text(server.to_string())));
    more("usurper/session", op.session.map(|session| Edn::Number(session.into())));
    more("usurper/serial", op.serial.map(|serial| Edn::Number(serial.into())));
    Edn::Map(entries)
}
