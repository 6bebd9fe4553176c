//! Files in any format as one history, and that history's verdict.

use std::collections::BTreeMap;

use serde_json::{Map, json};
use usurper_history::{
    Body, FORMAT_VERSION, HarnessEvent, Header, NodeId, OPERATIONS, ReadError, Record, Timing,
};

use super::{
    ETCD_EVENTS, Format, FormatError, Source, ZOOKEEPER_EVENTS,
    dialect::Dialect,
    field,
    input::Skipped,
    jepsen_edn, jepsen_text,
    leaderships::{leaderships, place},
    operations::Operations,
    own,
};
use crate::{
    check::{CHECKS, Means},
    judge::{CUT_OFF, JudgeError, PROVEN_BY_LOGS, judge_records},
    phrase::{duration, is_of_logs},
    verdict::{CheckVerdict, Finding, Import, Judgement, NotApplied, Suspicion, Verdict},
};

/// The checks whose findings are proven by the lines that are there, so that no line that is not
/// could take them back.
const PROVEN_BY_PRESENCE: &[&str] = &["dual-leaders", "double-vote"];
/// The checks that servers' logs can decide.
const OF_ETCD: &[&str] = &["double-vote", "dual-leaders", "term-rollback"];
const OF_ZOOKEEPER: &[&str] = &["dual-leaders", "term-rollback"];
/// The checks that servers' logs could decide if they told what was broken.
const SUSPECTING: &[&str] = &["cannot-rejoin", "election-loop", "mutual-follow", "no-leader"];

/// A history that was read from files of some format.
#[derive(Debug)]
pub struct Imported {
    pub format: Format,
    pub header: Header,
    /// Each with its position: the line of its file where there is one file.
    pub records: Vec<(u64, Record)>,
    files: Vec<String>,
    skipped: Skipped,
    notes: Vec<String>,
    doubts: Vec<String>,
    /// By how much the order of different nodes' times can be wrong; none if that is not known.
    uncertainty: Option<u64>,
    /// Lines are known to be missing, although none was passed over.
    has_gaps: bool,
    /// How fast servers whose logs these are were set to be.
    pace: Option<Timing>,
}

/// Reads files as one history; without a format, the first file tells it.
///
/// What is wrong with a line is an error that names it; where reading is lenient, such lines are
/// passed over and counted, and the verdict then proves nothing by what is absent.
///
/// # Errors
/// When a file cannot be read, is in no known format, or a line is none of its format.
///
/// # Examples
///
/// ```
/// use usurper_checks::{Judgement, Means, formats::{Source, read}};
///
/// let log = b"0 :invoke :write 1\n0 :ok :write 1\n1 :invoke :read nil\n1 :ok :read 2\n";
/// let history = read(vec![Source::bytes("log", log)], None, false)?;
/// assert_eq!(history.judge(&Means::default())?.judgement, Judgement::Invalid);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read(
    mut sources: Vec<Source<'_>>,
    format: Option<Format>,
    lenient: bool,
) -> Result<Imported, FormatError> {
    let files: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let format = match (format, sources.first_mut()) {
        (Some(format), _) => format,
        (None, Some(source)) => Format::detect(source)?,
        (None, None) => return Err(FormatError::Unrecognised { file: String::new() }),
    };
    if format.is_of_many_files() {
        return read_field(sources, format, files, lenient);
    }
    let (Some(source), 1) = (sources.pop(), files.len()) else {
        return Err(FormatError::OneFile { format, files: files.len() });
    };
    let operations = match format {
        Format::JepsenText => jepsen_text::read(source, lenient)?,
        Format::JepsenEdn | Format::PorcupineKv => jepsen_edn::read(source, lenient)?,
        Format::Usurper | Format::Etcd | Format::Zookeeper => {
            let own::Own { header, records, skipped } = own::read(source, lenient)?;
            let ended = |(_, record): &(u64, Record)| match &record.body {
                Body::Harness(HarnessEvent::Phase { phase }) => phase == "end",
                _ => false,
            };
            let cut_off = !records.iter().any(ended);
            let doubts = cut_off.then(|| CUT_OFF.to_owned()).into_iter().collect();
            let imported = Imported::new(format, files, header, records, skipped);
            return Ok(Imported { doubts, ..imported });
        }
    };
    of_operations(operations, format, files)
}

fn of_operations(
    operations: Operations,
    format: Format,
    files: Vec<String>,
) -> Result<Imported, FormatError> {
    let Operations { records, skipped, notes, doubts, plain_no } = operations;
    if records.is_empty() && skipped.count == 0 {
        let file = files.into_iter().next().unwrap_or_default();
        return Err(FormatError::Nothing { file, format, expected: "operation" });
    }
    let mut header =
        header(format, &[OPERATIONS], &["linearizable"], Vec::new(), "1970-01-01T00:00:00Z");
    header.checks["linearizable"] = match format {
        Format::JepsenText => json!({ "model": "register", "failed-cas": "saw-another" }),
        Format::PorcupineKv => json!({ "model": "text" }),
        _ if plain_no => json!({ "failed-cas": "saw-another" }),
        _ => json!({ "failed-cas": "did-not-happen" }),
    };
    let imported = Imported::new(format, files, header, records, skipped);
    Ok(Imported { notes, doubts, ..imported })
}

fn read_field(
    sources: Vec<Source<'_>>,
    format: Format,
    files: Vec<String>,
    lenient: bool,
) -> Result<Imported, FormatError> {
    let (dialect, events, checks) = match format {
        Format::Zookeeper => (Dialect::Zookeeper, ZOOKEEPER_EVENTS.to_vec(), OF_ZOOKEEPER),
        // What others heard shows what was stored.
        _ => (Dialect::Etcd, [ETCD_EVENTS, &["persist"]].concat(), OF_ETCD),
    };
    let field = field::read(sources, dialect, lenient)?;
    let header = header(format, &events, checks, field.nodes, &field.started);
    // The header is line 1 of a history.
    let records = (2..).zip(field.records).collect();
    Ok(Imported {
        notes: field.notes,
        doubts: field.doubts,
        uncertainty: field.uncertainty,
        has_gaps: field.has_gaps,
        pace: field.timing,
        ..Imported::new(format, files, header, records, field.skipped)
    })
}

fn header(
    format: Format,
    events: &[&str],
    checks: &[&str],
    nodes: Vec<NodeId>,
    started: &str,
) -> Header {
    let check = |name: &&str| ((*name).to_owned(), json!({}));
    Header {
        version: FORMAT_VERSION,
        run: "imported".to_owned(),
        system: format.name().to_owned(),
        scenario: None,
        nodes,
        seed: 0,
        origin_ns: 0,
        started: started.to_owned(),
        // Nobody knows; what measures by them is not asked for.
        timing: Timing { heartbeat_ns: 0, election_timeout_ns: 0, leader_bound_ns: 0 },
        defects: Vec::new(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        checks: checks.iter().map(check).collect(),
        extra: Map::new(),
    }
}

impl Imported {
    /// One history by one clock, of which nothing is known to be missing.
    fn new(
        format: Format,
        files: Vec<String>,
        header: Header,
        records: Vec<(u64, Record)>,
        skipped: Skipped,
    ) -> Self {
        let (notes, doubts) = (Vec::new(), Vec::new());
        let (uncertainty, has_gaps, pace) = (Some(0), false, None);
        Self { format, header, records, files, skipped, notes, doubts, uncertainty, has_gaps, pace }
    }

    /// Judges by other checks than the format's own.
    pub fn ask_for(&mut self, checks: &[String]) {
        let options = std::mem::take(&mut self.header.checks);
        let check = |name: &String| {
            let asked = options.get(name).cloned().unwrap_or_else(|| json!({}));
            (name.clone(), asked)
        };
        self.header.checks = checks.iter().map(check).collect();
    }

    /// How it was read, but for what its verdict names.
    pub fn report(&self) -> Import {
        Import {
            format: self.format.name().to_owned(),
            files: self.files.clone(),
            skipped: self.skipped.count,
            skipped_first: self.skipped.first.clone(),
            notes: self.notes.clone(),
            doubts: self.doubts.clone(),
            leaders: leaderships(&self.records),
            suspicions: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Judges it.
    ///
    /// # Errors
    /// As [`crate::judge`].
    pub fn judge(self, means: &Means) -> Result<Verdict, JudgeError> {
        let mut import = self.report();
        let mut header = self.header.clone();
        let undecidable = self.take_undecidable(&mut header);
        let mut verdict = judge_records(header, self.records(), means)?;
        if self.format != Format::Usurper {
            verdict.truncated = false;
            self.list_what_cannot_apply(&mut verdict);
        }
        if self.format.is_of_many_files() {
            self.doubt_what_was_at_once(&mut verdict);
            import.suspicions = self.suspicions(means)?;
        }
        verdict.checks.extend(undecidable);
        verdict.checks.sort_by(|a, b| a.check.cmp(&b.check));
        self.doubt(&mut verdict);
        import.places = self.places(&verdict, &import.suspicions);
        verdict.imported = Some(import);
        Ok(verdict)
    }

    fn records(&self) -> impl Iterator<Item = Result<(u64, Record), ReadError>> {
        self.records.iter().map(|(line, record)| Ok((*line, record.clone())))
    }

    /// The checks that were asked for and that logs of servers cannot decide, although they have the
    /// events.
    fn take_undecidable(&self, header: &mut Header) -> Vec<CheckVerdict> {
        if !self.format.is_of_many_files() {
            return Vec::new();
        }
        let decided = if self.format == Format::Etcd { OF_ETCD } else { OF_ZOOKEEPER };
        let has_events = |name: &str| {
            CHECKS.iter().any(|it| it.name == name && it.missing(&header.events).is_empty())
        };
        let undecidable: Vec<String> = (header.checks.keys())
            .filter(|name| has_events(name) && !decided.contains(&name.as_str()))
            .cloned()
            .collect();
        header.checks.retain(|name, _| !undecidable.contains(name));
        let unknown = |check: String| CheckVerdict {
            reason: Some(format!("needs: {}", self.lacks_for(&check))),
            check,
            judgement: Judgement::Unknown,
            findings: Vec::new(),
            findings_omitted: 0,
            warnings: Vec::new(),
            warnings_omitted: 0,
        };
        undecidable.into_iter().map(unknown).collect()
    }

    /// What a check lacks although the logs have its events.
    fn lacks_for(&self, check: &str) -> &'static str {
        match check {
            "double-vote" if self.format == Format::Zookeeper => {
                "the epochs that followers accept, which ZooKeeper does not log"
            }
            check if SUSPECTING.contains(&check) && self.pace.is_some() => {
                "the faults, which only a run tells; suspicions, if any, are listed"
            }
            _ => "the faults and timeouts, which only a run tells",
        }
    }

    /// What would be a violation if nothing had been broken but the servers that ended.
    fn suspicions(&self, means: &Means) -> Result<Vec<Suspicion>, JudgeError> {
        let known = |timing: &Timing| {
            self.uncertainty.is_some_and(|uncertainty| uncertainty < timing.election_timeout_ns)
        };
        let Some(timing) = self.pace.filter(known) else { return Ok(Vec::new()) };
        let mut header = self.header.clone();
        header.timing = timing;
        header.checks = SUSPECTING.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        let verdict = judge_records(header, self.records(), means)?;
        let of_check = |check: CheckVerdict| {
            let name = check.check;
            check
                .findings
                .into_iter()
                .map(move |finding| Suspicion { check: name.clone(), finding })
        };
        Ok(verdict.checks.into_iter().flat_map(of_check).collect())
    }

    /// A check that looks for faults and timeouts finds none in what others write.
    fn list_what_cannot_apply(&self, verdict: &mut Verdict) {
        if !self.format.is_of_many_files() {
            for check in &mut verdict.not_applied {
                check.needs = vec!["the events of nodes".to_owned()];
            }
        }
        let listed: Vec<String> =
            verdict.not_applied.iter().map(|check| check.check.clone()).collect();
        let unlisted = CHECKS.iter().filter(|info| {
            !self.header.checks.contains_key(info.name)
                && !listed.iter().any(|name| name == info.name)
                && !info.is_of_clients()
        });
        verdict.not_applied.extend(unlisted.map(|info| NotApplied {
            check: info.name.to_owned(),
            needs: vec![self.lacks_for(info.name).to_owned()],
        }));
        verdict.not_applied.sort_by(|a, b| a.check.cmp(&b.check));
    }

    /// What was at once by clocks that differ by more may not have been.
    fn doubt_what_was_at_once(&self, verdict: &mut Verdict) {
        for check in &mut verdict.checks {
            // A log that stops where another leader is elected shows nothing at once.
            check.warnings.retain(|finding| finding.to_ns > finding.from_ns);
        }
        for finding in verdict.checks.iter_mut().flat_map(|check| &mut check.warnings) {
            let lasted = finding.to_ns - finding.from_ns;
            let doubt = match self.uncertainty {
                None => ", by clocks that may be apart by any time".to_owned(),
                Some(ns) if lasted <= ns => {
                    format!(", by clocks that may be {} apart: perhaps not at once", duration(ns))
                }
                Some(ns) => format!(", by clocks that are at most {} apart", duration(ns)),
            };
            finding.sentence.push_str(&doubt);
        }
    }

    /// What the history lacks, so that nothing is valid for being absent from it.
    pub fn lacks(&self) -> Vec<String> {
        let mut doubts = self.doubts.clone();
        if self.skipped.count > 0 {
            let lines = crate::phrase::counted(self.skipped.count, "line");
            doubts.push(format!("{lines} skipped, and what they say is not known"));
        }
        doubts
    }

    /// Where something is missing, its absence proves nothing.
    fn doubt(&self, verdict: &mut Verdict) {
        let doubts = self.lacks();
        let incomplete = self.skipped.count > 0 || self.has_gaps;
        let proven = if is_of_logs(&self.header) { PROVEN_BY_LOGS } else { PROVEN_BY_PRESENCE };
        for check in &mut verdict.checks {
            let taken_back = incomplete && !proven.contains(&check.check.as_str());
            if check.judgement == Judgement::Invalid && taken_back {
                let findings: Vec<Finding> = std::mem::take(&mut check.findings);
                check.warnings.splice(0..0, findings);
                check.warnings_omitted += std::mem::take(&mut check.findings_omitted);
                check.judgement = Judgement::Valid;
            }
        }
        verdict.judgement = Judgement::of_all(verdict.checks.iter().map(|it| it.judgement));
        if !doubts.is_empty() {
            verdict.doubt(&doubts.join("; "));
        }
    }

    /// Where the lines that the verdict names are.
    fn places(&self, verdict: &Verdict, suspicions: &[Suspicion]) -> BTreeMap<u64, String> {
        let findings =
            verdict.checks.iter().flat_map(|check| check.findings.iter().chain(&check.warnings));
        let findings = findings.chain(suspicions.iter().map(|suspicion| &suspicion.finding));
        let lines: Vec<u64> = findings.flat_map(|finding| finding.lines.clone()).collect();
        let named = self.records.iter().filter(|(line, _)| lines.contains(line));
        named.filter_map(|(line, record)| Some((*line, place(record)?))).collect()
    }
}
