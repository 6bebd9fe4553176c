//! The logs of a cluster's servers, one file each, as one history.
//!
//! Each file is read into events of its node; then the clocks are brought together from what the
//! servers logged of each other's votes ([`super::clocks`]), and the events are put into one order
//! in which no effect comes before its cause. A process lives from its start to the last line before
//! the next: nothing shows that it did anything later.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use usurper_history::{Body, Event, HarnessEvent, NodeId, Record, Timing};

use super::{
    clocks::{Clocks, Pair},
    dialect::Dialect,
    etcd::EtcdLog,
    heard::Heard,
    input::{Lines, Skipped, Source},
    pace,
    problem::{FormatError, Problem},
    servers::{self, Hint},
    stamp::{Window, written},
    zookeeper::ZookeeperLog,
};

/// How far a stamp may be before the one above it: threads stamp before they wait for the file.
const DISORDER_NS: u64 = 1_000_000_000;
/// How often times are moved behind their causes: chains of causes are short.
const PASSES_MAX: usize = 16;

/// One line that matters.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) line: u64,
    pub(super) window: Window,
    pub(super) message: String,
    /// When the line above was logged, whatever it says, and its number.
    previous: Option<(u64, u64)>,
}

/// One server's log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) file: String,
    pub(super) entries: Vec<Entry>,
    first: u64,
    /// When its last line was logged, and its number.
    last: (u64, u64),
    resolution: u64,
}

/// What a cluster's logs were read as.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) records: Vec<Record>,
    pub(super) nodes: Vec<NodeId>,
    pub(super) skipped: Skipped,
    pub(super) notes: Vec<String>,
    pub(super) doubts: Vec<String>,
    /// Lines are missing in some log.
    pub(super) has_gaps: bool,
    /// How fast the servers are set to be, where they say so.
    pub(super) timing: Option<Timing>,
    /// Wall time of the origin.
    pub(super) started: String,
    /// By how much the order of times of different nodes can be wrong; none if it is not known.
    pub(super) uncertainty: Option<u64>,
}

/// Reads the logs of one cluster.
pub(super) fn read(
    sources: Vec<Source<'_>>,
    dialect: Dialect,
    lenient: bool,
) -> Result<Field, FormatError> {
    let mut skipped = Skipped::default();
    let mut logs = Vec::new();
    for source in sources {
        let mut lines = Lines::new(source, lenient);
        logs.push(read_log(&mut lines, dialect)?);
        skipped.add(lines.skipped());
    }
    let mut cast = servers::cast(&logs, dialect)?;
    let begun_again = servers::refuse_two_clusters(&logs, dialect, &cast.nodes)?;
    let mut notes = std::mem::take(&mut cast.notes);
    notes.extend(begun_again);
    let mut doubts = std::mem::take(&mut cast.doubts);
    let mut heard = Heard::of(&logs, dialect, &cast);
    let has_gaps = !heard.doubts.is_empty();
    doubts.append(&mut heard.doubts);
    let mut times: Vec<Vec<u64>> = logs.iter().map(earliest).collect();
    let pairs = pairs(&logs, dialect, &cast.sids);
    let clocks = align(&logs, &pairs);
    let resolution = logs.iter().map(|log| log.resolution).max().unwrap_or(0);
    let uncertainty = match logs.len() {
        1 => Some(resolution),
        _ => clocks.worst().map(|worst| worst.max(resolution)),
    };
    tell(&logs, &clocks, uncertainty, &mut notes);
    shift(&mut times, &clocks);
    order(&mut times, &pairs);

    let mut dated = Vec::new();
    for (place, log) in logs.iter().enumerate() {
        let offset = clocks.offsets[place];
        let at = |ns: u64| ns.saturating_add_signed(offset);
        dated.extend(events(log, &times[place], &at, dialect, place, &cast, &heard));
    }
    let ends = logs.iter().zip(&clocks.offsets).map(|(log, offset)| {
        (log.first.saturating_add_signed(*offset), log.last.0.saturating_add_signed(*offset))
    });
    let (begins, ends): (Vec<u64>, Vec<u64>) = ends.unzip();
    let origin = dated.iter().map(|dated: &Dated| dated.t).min().unwrap_or(0);
    let (from, to) = (begins.iter().max().copied(), ends.iter().min().copied());
    match (from, to) {
        (Some(from), Some(to)) if from <= to => {
            notes.push(format!("all logs cover {} to {}", written(from), written(to)));
        }
        _ => doubts.push("there is no time that all logs cover".to_owned()),
    }
    Ok(Field {
        records: finish(dated, origin, dialect),
        nodes: cast.nodes,
        skipped,
        notes,
        doubts,
        has_gaps,
        started: written(origin),
        timing: pace::timing(&logs, dialect),
        uncertainty,
    })
}

fn read_log(lines: &mut Lines<'_>, dialect: Dialect) -> Result<Log, FormatError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut previous: Option<(u64, u64)> = None;
    let (mut first, mut resolution, mut logged) = (None, 0, 0_u64);
    while let Some((line, text)) = lines.next_text()? {
        if !line.ended {
            lines.bad(line.number, Problem::Truncated { what: "line" })?;
            continue;
        }
        let (window, message) = match dialect.line(&text) {
            Ok(None) => continue,
            Ok(Some(logged)) => logged,
            Err(_) => {
                lines.bad(line.number, Problem::malformed(&text, "one whole line of a log"))?;
                continue;
            }
        };
        logged += 1;
        if let Some((above, _)) = previous
            && window.latest.saturating_add(DISORDER_NS) < above
        {
            let here = window.earliest;
            lines.bad(line.number, Problem::OutOfOrder { what: "time", here, above })?;
            previous = None;
        }
        if !dialect.is_whole(&message) {
            lines.bad(line.number, Problem::malformed(&text, "a line that names its term"))?;
            continue;
        }
        if dialect.is_relevant(&message) {
            entries.push(Entry { line: line.number, window, message, previous });
        }
        first.get_or_insert(window.earliest);
        resolution = resolution.max(window.latest - window.earliest + 1);
        let now = previous.map_or(0, |(above, _)| above).max(window.earliest);
        previous = Some((now, line.number));
    }
    let (file, expected) = (lines.name().to_owned(), "line of a server's log");
    let Some(first) = first.filter(|_| logged > 0) else {
        let format = dialect.into();
        return Err(FormatError::Nothing { file, format, expected });
    };
    let last = previous.unwrap_or((first, 1));
    Ok(Log { file, entries, first, last, resolution })
}

/// The earliest time of each entry: a log is in order, so a coarse stamp is not before a fine one
/// above it.
fn earliest(log: &Log) -> Vec<u64> {
    let mut now = 0;
    let entry = |entry: &Entry| {
        let stamp = entry.window.earliest;
        let above = entry.previous.map_or(0, |(above, _)| above).min(entry.window.latest);
        // Unless the clock was set back, which lenient reading lets pass.
        now = if entry.previous.is_none() { stamp } else { stamp.max(above).max(now) };
        now
    };
    log.entries.iter().map(entry).collect()
}

/// A cause and its effect: file and entry of each.
type Causal = ((usize, usize), (usize, usize));

fn pairs(logs: &[Log], dialect: Dialect, sids: &[u64]) -> Vec<Causal> {
    let mut causes: HashMap<String, (usize, usize)> = HashMap::new();
    let mut effects = Vec::new();
    for (file, log) in logs.iter().enumerate() {
        for hint in servers::hints(log, dialect, sids.get(file).copied()) {
            match hint {
                Hint::Cause(key, entry) => drop(causes.entry(key).or_insert((file, entry))),
                Hint::Effect(key, entry) => effects.push((key, (file, entry))),
            }
        }
    }
    let pair = |(key, effect): (String, (usize, usize))| {
        let cause = *causes.get(&key)?;
        (cause.0 != effect.0).then_some((cause, effect))
    };
    effects.into_iter().filter_map(pair).collect()
}

fn align(logs: &[Log], pairs: &[Causal]) -> Clocks {
    let window = |(file, entry): (usize, usize)| logs[file].entries[entry].window;
    let pairs: Vec<Pair> = (pairs.iter())
        .map(|(cause, effect)| Pair {
            from: cause.0,
            cause: window(*cause).earliest,
            to: effect.0,
            effect: window(*effect).latest,
        })
        .collect();
    Clocks::align(logs.len(), &pairs)
}

fn tell(logs: &[Log], clocks: &Clocks, uncertainty: Option<u64>, notes: &mut Vec<String>) {
    for (log, offset) in logs.iter().zip(&clocks.offsets).filter(|(_, offset)| **offset != 0) {
        let by = crate::phrase::duration(offset.unsigned_abs());
        let way = if *offset > 0 { "forward" } else { "back" };
        notes.push(format!("the clock of `{}` is set {way} by {by}", log.file));
    }
    notes.push(match uncertainty {
        _ if clocks.contradictory => "the logs contradict each other's clocks (one was set): the \
                                      order of what different nodes did is not known"
            .to_owned(),
        None => "the logs do not tell how far the clocks are apart: they are taken as they are"
            .to_owned(),
        Some(ns) => {
            format!("what different nodes did is ordered to within {}", crate::phrase::duration(ns))
        }
    });
}

fn shift(times: &mut [Vec<u64>], clocks: &Clocks) {
    for (times, offset) in times.iter_mut().zip(&clocks.offsets) {
        times.iter_mut().for_each(|t| *t = t.saturating_add_signed(*offset));
    }
}

/// Moves effects behind their causes, as far as stamps that are cut off put them before.
fn order(times: &mut [Vec<u64>], pairs: &[Causal]) {
    for _ in 0..PASSES_MAX {
        let mut moved = false;
        for ((cause_file, cause), (file, effect)) in pairs {
            let cause = times[*cause_file][*cause];
            let times = &mut times[*file];
            if times[*effect] <= cause {
                moved = true;
                // What the same log has later is not earlier.
                let later = times[*effect..].iter_mut().take_while(|t| **t <= cause);
                later.for_each(|t| *t = cause.saturating_add(1));
            }
        }
        if !moved {
            return;
        }
    }
}

/// A record with its place.
struct Dated {
    t: u64,
    file: usize,
    record: Record,
}

/// The last line of a process, and whether it was told to stop.
struct End {
    line: u64,
    told: bool,
}

/// The events of one log.
fn events(
    log: &Log,
    times: &[u64],
    at: &dyn Fn(u64) -> u64,
    dialect: Dialect,
    file: usize,
    cast: &servers::Cast,
    heard: &Heard,
) -> Vec<Dated> {
    let node = cast.nodes[file];
    let starts = servers::starts(log, dialect);
    let mut dated: Vec<Dated> = Vec::new();
    let mut add = |t: u64, line: Option<u64>, mut record: Record| {
        if let Some(line) = line {
            let place = Value::from(format!("{node}:{line}"));
            record.extra.insert("at".to_owned(), place);
        }
        dated.push(Dated { t, file, record });
    };
    let harness = |event: HarnessEvent| Record::new(0, Body::Harness(event));
    let mut inc = 1;
    let begin = |inc: u32, joins: bool| Follower::new(dialect, file, inc, joins, cast);
    let first = times.first().copied().unwrap_or_else(|| at(log.first));
    let mut follower = begin(inc, !starts.contains(&0));
    let up = |t: u64, inc: u32, add: &mut dyn FnMut(u64, Option<u64>, Record)| {
        add(t, None, harness(HarnessEvent::Spawn { node, inc, pid: 0 }));
        add(t, None, harness(HarnessEvent::Ready { node, inc }));
    };
    let down = |t: u64, last: End, inc: u32, add: &mut dyn FnMut(u64, Option<u64>, Record)| {
        let (code, signal, expected, stderr) = (None, None, true, None);
        let exit = HarnessEvent::Exit { node, inc, code, signal, expected, stderr };
        let mut record = harness(exit);
        if last.told {
            record.extra.insert("why".to_owned(), "it was told to stop".into());
        }
        add(t, Some(last.line), record);
    };
    up(first, inc, &mut add);
    let (mut now, mut told) = (first, false);
    for (place, (entry, t)) in log.entries.iter().zip(times).enumerate() {
        if place > 0 && starts.contains(&place) {
            // It lived at least until its last line.
            let (end, line) = entry.previous.unwrap_or((now, entry.line));
            let last = End { line, told: std::mem::take(&mut told) };
            down(at(end).max(now).min(*t), last, inc, &mut add);
            inc += 1;
            follower = begin(inc, false);
            up(*t, inc, &mut add);
        }
        now = *t;
        let is_end = |words: &str| entry.message.contains(words);
        told |= is_end("received signal") || is_end("signal, shutting down");
        for record in follower.message(&entry.message) {
            add(*t, Some(entry.line), record);
        }
        if let (Follower::Etcd(log), Some((whom, term))) =
            (&mut follower, heard.stored.get(&(file, place)))
        {
            add(*t, Some(entry.line), log.stored(*whom, *term, 0));
        }
    }
    down(at(log.last.0).max(now), End { line: log.last.1, told }, inc, &mut add);
    dated
}

/// A follower of either kind of log.
enum Follower {
    Etcd(EtcdLog),
    Zookeeper(ZookeeperLog),
}

impl Follower {
    fn new(dialect: Dialect, file: usize, inc: u32, joins: bool, cast: &servers::Cast) -> Self {
        let node = cast.nodes[file];
        match dialect {
            Dialect::Etcd => {
                let mut log = EtcdLog::new(node, inc);
                cast.ids.iter().for_each(|(id, node)| log.name_member(id, *node));
                if joins {
                    log.join();
                }
                Self::Etcd(log)
            }
            Dialect::Zookeeper => {
                let mut log = ZookeeperLog::new(node, inc, cast.sids[file]);
                for (id, node) in &cast.ids {
                    if let Ok(sid) = id.parse() {
                        log.name_member(sid, *node);
                    }
                }
                Self::Zookeeper(log)
            }
        }
    }

    fn message(&mut self, message: &str) -> Vec<Record> {
        match self {
            Self::Etcd(log) => log.message(message, 0),
            Self::Zookeeper(log) => log.message(message, 0),
        }
    }
}

/// One order, with what only the whole tells: which epoch a leader is known to lead.
fn finish(mut dated: Vec<Dated>, origin: u64, dialect: Dialect) -> Vec<Record> {
    dated.sort_by_key(|dated| (dated.t, dated.file));
    let mut epochs: BTreeMap<NodeId, u64> = BTreeMap::new();
    let mut seqs: BTreeMap<(NodeId, u32), u64> = BTreeMap::new();
    let mut records = Vec::with_capacity(dated.len());
    for Dated { t, mut record, .. } in dated {
        record.t = t - origin;
        if let Body::Node(node) = &mut record.body {
            match &mut node.event {
                Event::LeaderElected { in_term, .. } => {
                    epochs.insert(node.node, *in_term);
                }
                Event::LeaderKnown { leader: Some(leader), in_term }
                    if dialect == Dialect::Zookeeper =>
                {
                    // The log of a leader that is not among the files tells no epoch.
                    let Some(epoch) = epochs.get(leader) else { continue };
                    *in_term = *epoch;
                    node.term = node.term.max(*epoch);
                }
                _ => {}
            }
            let seq = seqs.entry((node.node, node.inc)).or_insert(0);
            *seq += 1;
            node.seq = *seq;
        }
        records.push(record);
    }
    records
}
