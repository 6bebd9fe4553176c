//! Files in any format as one history, and that history's verdict.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use usurper_history::{
    Body, Event, FORMAT_VERSION, HarnessEvent, Header, NodeId, OPERATIONS, Record, Role, Timing,
};

use super::{
    ETCD_EVENTS, Format, FormatError, Source, ZOOKEEPER_EVENTS, dialect::Dialect, field,
    input::Skipped, jepsen_edn, jepsen_text, operations::Operations, own,
};
use crate::{
    check::{CHECKS, Means},
    judge::{JudgeError, judge_records},
    phrase::duration,
    verdict::{Finding, Import, Judgement, Leadership, NotApplied, Verdict},
};

/// The checks whose findings are proven by the lines that are there, so that no line that is not
/// could take them back.
const PROVEN_BY_PRESENCE: &[&str] = &["dual-leaders", "double-vote"];

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
            let (notes, doubts) = (Vec::new(), Vec::new());
            let uncertainty = Some(0);
            return Ok(Imported {
                format,
                header,
                records,
                files,
                skipped,
                notes,
                doubts,
                uncertainty,
            });
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
    let uncertainty = Some(0);
    Ok(Imported { format, header, records, files, skipped, notes, doubts, uncertainty })
}

fn read_field(
    sources: Vec<Source<'_>>,
    format: Format,
    files: Vec<String>,
    lenient: bool,
) -> Result<Imported, FormatError> {
    let (dialect, events) = match format {
        Format::Zookeeper => (Dialect::Zookeeper, ZOOKEEPER_EVENTS),
        _ => (Dialect::Etcd, ETCD_EVENTS),
    };
    let field = field::read(sources, dialect, lenient)?;
    let header = header(format, events, &["dual-leaders"], field.nodes, &field.started);
    Ok(Imported {
        format,
        header,
        // The header is line 1 of a history.
        records: (2..).zip(field.records).collect(),
        files,
        skipped: field.skipped,
        notes: field.notes,
        doubts: field.doubts,
        uncertainty: field.uncertainty,
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
            places: BTreeMap::new(),
        }
    }

    /// Judges it.
    ///
    /// # Errors
    /// As [`crate::judge`].
    pub fn judge(self, means: &Means) -> Result<Verdict, JudgeError> {
        let mut import = self.report();
        let records = self.records.iter().map(|(line, record)| Ok((*line, record.clone())));
        let mut verdict = judge_records(self.header.clone(), records, means)?;
        if self.format != Format::Usurper {
            verdict.truncated = false;
            self.list_what_cannot_apply(&mut verdict);
        }
        if self.format.is_of_many_files() {
            self.doubt_what_was_at_once(&mut verdict);
        }
        import.places = self.places(&verdict);
        self.doubt(&mut verdict);
        verdict.imported = Some(import);
        Ok(verdict)
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
            needs: vec!["the faults and timeouts, which only a run tells".to_owned()],
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
        let skipped = self.skipped.count > 0;
        for check in &mut verdict.checks {
            let taken_back = skipped && !PROVEN_BY_PRESENCE.contains(&check.check.as_str());
            if check.judgement == Judgement::Invalid && taken_back {
                let findings: Vec<Finding> = std::mem::take(&mut check.findings);
                check.warnings.splice(0..0, findings);
                check.warnings_omitted += std::mem::take(&mut check.findings_omitted);
                check.judgement = Judgement::Valid;
            }
            if check.judgement == Judgement::Valid && !doubts.is_empty() {
                check.judgement = Judgement::Unknown;
                check.reason = Some(doubts.join("; "));
            }
        }
        verdict.judgement = Judgement::of_all(verdict.checks.iter().map(|it| it.judgement));
    }

    /// Where the lines that the verdict names are.
    fn places(&self, verdict: &Verdict) -> BTreeMap<u64, String> {
        let findings =
            verdict.checks.iter().flat_map(|check| check.findings.iter().chain(&check.warnings));
        let lines: Vec<u64> = findings.flat_map(|finding| finding.lines.clone()).collect();
        let named = self.records.iter().filter(|(line, _)| lines.contains(line));
        named.filter_map(|(line, record)| Some((*line, place(record)?))).collect()
    }
}

fn place(record: &Record) -> Option<String> {
    record.extra.get("at").and_then(Value::as_str).map(str::to_owned)
}

/// Who led when, in the order of the begins.
fn leaderships(records: &[(u64, Record)]) -> Vec<Leadership> {
    let mut open: BTreeMap<NodeId, Leadership> = BTreeMap::new();
    let mut over = Vec::new();
    let mut end = |open: &mut BTreeMap<NodeId, Leadership>, node: NodeId, t: u64, why: &str| {
        if let Some(leadership) = open.remove(&node) {
            over.push(Leadership { to_ns: t, end: why.to_owned(), ..leadership });
        }
    };
    for (_, record) in records {
        let t = record.t;
        match &record.body {
            Body::Node(node) => match &node.event {
                Event::LeaderElected { in_term, established: true, .. } => {
                    end(&mut open, node.node, t, "it was elected again");
                    let place = place(record).unwrap_or_default();
                    let (node, term) = (node.node, *in_term);
                    let end = String::new();
                    let leadership = Leadership { node, term, from_ns: t, to_ns: t, end, place };
                    open.insert(node, leadership);
                }
                Event::RoleChange { to, reason, .. } if *to != Role::Leader => {
                    end(&mut open, node.node, t, reason);
                }
                _ => {}
            },
            Body::Harness(HarnessEvent::Exit { node, .. }) => {
                end(&mut open, *node, t, "its log stops");
            }
            _ => {}
        }
    }
    over.sort_by_key(|leadership| (leadership.from_ns, leadership.node));
    over
}
