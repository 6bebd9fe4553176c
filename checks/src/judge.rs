//! One pass over a history.

use std::{fmt, io::BufRead};

use usurper_history::{Header, ReadError, Reader, Record};

use crate::{
    check::{CHECKS, Check, CheckInfo, Means, RequestError},
    client_ops::ClientError,
    completeness::Completeness,
    figures::Counter,
    findings::Outcome,
    phrase::is_of_logs,
    timeline::Timeline,
    verdict::{CheckVerdict, Figures, Judgement, NotApplied, Torn, Verdict},
};

/// The checks whose findings no line could take back that servers' logs lack. A vote in such a log is
/// not one: the start that excuses it may be missing.
pub(crate) const PROVEN_BY_LOGS: &[&str] = &["dual-leaders"];

/// Whatever came after may have been a violation, and what was to provoke one may never have been done.
pub(crate) const CUT_OFF: &str = "the history was cut off: it lacks the `phase` named `end`";

/// Why a history cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    #[error("cannot read the history")]
    Read(#[from] ReadError),
    #[error("the header asks for what cannot be checked")]
    Request(#[from] RequestError),
    #[error(
        "line {line} is at {t} ns, before the line above it at {above} ns; sort the history first"
    )]
    Order { line: u64, t: u64, above: u64 },
    #[error("the client operations are none that a client can have made")]
    Client(#[from] ClientError),
    #[error("the header's timing has `{field}` 0, and check `{check}` measures with it")]
    NoTiming { field: &'static str, check: &'static str },
}

/// Judges a history by the checks that its header names.
///
/// A check whose events the system does not emit is unknown. Otherwise a finding makes it invalid,
/// and without one it is valid only if no event was lost, a leader was established at all, and the
/// history has its end.
///
/// # Errors
/// When the history is unreadable or not in the order of time, or its header names an unknown check
/// or option.
///
/// # Examples
///
/// ```
/// use usurper_checks::{Judgement, judge};
/// use usurper_history::Reader;
///
/// // A header that asks for one check, and no events at all: nothing is known.
/// let history = r#"{"usurper-history":1,"run":"a","system":"fle","nodes":["n1","n2","n3"],"seed":1,"origin-ns":0,"started":"2026-01-01T00:00:00Z","timing":{"heartbeat-ns":100000000,"election-timeout-ns":500000000,"leader-bound-ns":5000000000},"events":["leader-elected"],"checks":{"dual-leaders":{}}}
/// "#;
/// let verdict = judge(&mut Reader::new(history.as_bytes())?)?;
/// assert_eq!(verdict.judgement, Judgement::Unknown);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn judge<R: BufRead>(reader: &mut Reader<R>) -> Result<Verdict, JudgeError> {
    judge_with(reader, &Means::default())
}

/// As [`judge`], with a clock for the checks that have a time limit.
///
/// Only whether a limit was reached depends on the means: the verdict is then unknown.
///
/// # Errors
/// As [`judge`].
pub fn judge_with<R: BufRead>(
    reader: &mut Reader<R>,
    means: &Means,
) -> Result<Verdict, JudgeError> {
    let header = reader.header().clone();
    let mut verdict = judge_records(header, reader.by_ref(), means)?;
    verdict.torn = reader.torn().map(|torn| Torn { line: torn.line, bytes: torn.bytes as u64 });
    verdict.truncated |= verdict.torn.is_some();
    if verdict.truncated {
        verdict.doubt(CUT_OFF);
    }
    Ok(verdict)
}

/// Judges records with their lines, whatever they were read from.
pub(crate) fn judge_records(
    header: Header,
    records: impl Iterator<Item = Result<(u64, Record), ReadError>>,
    means: &Means,
) -> Result<Verdict, JudgeError> {
    let mut judging = Judging::begin(header, means)?;
    for next in records {
        let (line, record) = next?;
        judging.observe(line, &record)?;
    }
    judging.finish()
}

/// A judgement under way: of a history that is still being written, say.
pub struct Judging {
    header: Header,
    running: Vec<Running>,
    timeline: Timeline,
    completeness: Completeness,
    counter: Counter,
    now: u64,
    lines: u64,
}

impl Judging {
    /// Begins to judge by the checks that a header names.
    ///
    /// # Errors
    /// When it names an unknown check or option.
    pub fn begin(header: Header, means: &Means) -> Result<Self, JudgeError> {
        Ok(Self {
            running: start(&header, means)?,
            timeline: Timeline::new(&header),
            completeness: Completeness::default(),
            counter: Counter::default(),
            now: 0,
            lines: 1,
            header,
        })
    }

    /// Takes in the record of a line.
    ///
    /// # Errors
    /// When it is of an earlier time than the one before it.
    pub fn observe(&mut self, line: u64, record: &Record) -> Result<(), JudgeError> {
        if record.t < self.now {
            return Err(JudgeError::Order { line, t: record.t, above: self.now });
        }
        for check in self.running.iter_mut().filter_map(|run| run.check.as_mut()) {
            check.advance(record.t, &self.timeline);
        }
        (self.now, self.lines) = (record.t, line);
        self.timeline.apply(line, record);
        self.completeness.observe(line, record);
        self.counter.observe(record, &self.timeline);
        for check in self.running.iter_mut().filter_map(|run| run.check.as_mut()) {
            check.observe(line, record, &self.timeline);
        }
        Ok(())
    }

    /// Whether some check has found by now what makes it invalid, whatever is still to come.
    ///
    /// That nothing has been found says little: some checks look at a history as a whole.
    pub fn has_found(&self) -> bool {
        let stays =
            |run: &&Running| PROVEN_BY_LOGS.contains(&run.info.name) || !is_of_logs(&self.header);
        let mut checks = self.running.iter().filter(stays).filter_map(|run| run.check.as_ref());
        checks.any(|check| check.found())
    }

    /// The history has ended.
    ///
    /// # Errors
    /// When its client operations are none that a client can have made.
    pub fn finish(self) -> Result<Verdict, JudgeError> {
        let Self { header, running, timeline, completeness, counter, now, lines } = self;
        if let Some(error) = timeline.operations.error() {
            return Err(error.clone().into());
        }
        let end = End { now, timeline: &timeline, completeness: &completeness, header: &header };
        let finished = running.into_iter().map(|run| run.finish(&end));
        let checks = finished.collect::<Result<Vec<CheckVerdict>, JudgeError>>()?;
        Ok(Verdict {
            judgement: Judgement::of_all(checks.iter().map(|check| check.judgement)),
            checks,
            not_applied: not_applied(&header),
            figures: Figures {
                stalls: timeline.stalls.figures(now),
                ..counter.finish(now, completeness.events())
            },
            truncated: !completeness.ended(),
            torn: None,
            lost: completeness.lost().to_vec(),
            lines,
            run: header.run,
            system: header.system,
            scenario: header.scenario,
            imported: None,
        })
    }
}

impl fmt::Debug for Judging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judging").field("now", &self.now).finish_non_exhaustive()
    }
}

/// A requested check, with its state unless its events are missing.
struct Running {
    info: &'static CheckInfo,
    missing: Vec<String>,
    check: Option<Box<dyn Check>>,
}

/// What all checks look at once the history has ended.
struct End<'a> {
    now: u64,
    timeline: &'a Timeline,
    completeness: &'a Completeness,
    header: &'a Header,
}

fn start(header: &Header, means: &Means) -> Result<Vec<Running>, JudgeError> {
    let mut running = Vec::new();
    for (name, options) in &header.checks {
        let info = CheckInfo::find(name)?;
        let mut options = info.parse(options)?;
        options.means = means.clone();
        let timing = &header.timing;
        let times = [
            ("leader-bound-ns", timing.leader_bound_ns),
            ("election-timeout-ns", timing.election_timeout_ns),
        ];
        // The checks with options are those that measure time.
        if let Some((field, _)) = times.iter().find(|time| time.1 == 0)
            && !info.options.is_empty()
            && !info.is_of_clients()
        {
            return Err(JudgeError::NoTiming { field, check: info.name });
        }
        let missing = info.missing(&header.events);
        let check = missing.is_empty().then(|| (info.make)(header, &options));
        running.push(Running { info, missing, check });
    }
    running.sort_by_key(|run| run.info.name);
    Ok(running)
}

impl Running {
    fn finish(self, end: &End<'_>) -> Result<CheckVerdict, JudgeError> {
        let needs = self.check.is_none().then(|| format!("needs: {}", self.missing.join(", ")));
        let mut outcome =
            self.check.map_or_else(Outcome::default, |it| it.finish(end.now, end.timeline));
        if let Some(error) = outcome.error.take() {
            return Err(error.into());
        }
        if let Some(missed) = end.completeness.missed()
            && is_of_logs(end.header)
            && !PROVEN_BY_LOGS.contains(&self.info.name)
            && !outcome.findings.is_empty()
        {
            outcome.warnings.append(std::mem::take(&mut outcome.findings));
            outcome.unknown = Some(missed);
        }
        let (judgement, reason) = if needs.is_some() {
            (Judgement::Unknown, needs)
        } else if !outcome.findings.is_empty() {
            (Judgement::Invalid, outcome.note)
        } else if let Some(reason) = why_unknown(self.info, outcome.unknown, end) {
            (Judgement::Unknown, Some(reason))
        } else {
            (Judgement::Valid, outcome.note)
        };
        let (findings, findings_omitted) = outcome.findings.into_parts();
        let (warnings, warnings_omitted) = outcome.warnings.into_parts();
        Ok(CheckVerdict {
            check: self.info.name.to_owned(),
            judgement,
            reason,
            findings,
            findings_omitted,
            warnings,
            warnings_omitted,
        })
    }
}

/// Why the absence of findings proves nothing, for whichever check.
fn why_unknown(info: &CheckInfo, own: Option<String>, end: &End<'_>) -> Option<String> {
    if info.is_of_clients() {
        return own.or_else(|| end.completeness.missed());
    }
    if end.completeness.events() == 0 {
        return Some("no node recorded any event".to_owned());
    }
    if let Some(lost) = end.completeness.lost().first() {
        return Some(format!("events are lost: {lost}"));
    }
    if let Some(missed) = end.completeness.missed() {
        return Some(missed);
    }
    let of_logs = is_of_logs(end.header);
    if let Some(strange) = end.completeness.strange(&end.header.nodes).filter(|_| !of_logs) {
        return Some(strange);
    }
    let tells = end.header.events.iter().any(|event| event == "leader-elected");
    let led = end.timeline.leaders.established() > 0;
    own.or_else(|| {
        (tells && !led)
            .then(|| "no leader was ever established, so nothing was put to the test".to_owned())
    })
    .or_else(|| {
        // A node by itself dials nobody and follows nobody.
        let alone = end.header.nodes.len() < 2;
        let unseen = end.completeness.unseen(info.needs).filter(|_| !of_logs && !alone)?;
        Some(format!("no node recorded any `{unseen}`, so nothing was put to the test"))
    })
}

fn not_applied(header: &Header) -> Vec<NotApplied> {
    let unasked = CHECKS.iter().filter(|info| !header.checks.contains_key(info.name));
    let lacking = unasked.map(|info| NotApplied {
        check: info.name.to_owned(),
        needs: info.missing(&header.events),
    });
    lacking.filter(|it| !it.needs.is_empty()).collect()
}
