//! What the store remembers of a run: the file `run.json` of its directory, written last and at
//! once, so that a run with this file is a finished one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use serde::{Deserialize, Serialize};
use usurper_checks::{CheckVerdict, Judgement, Verdict};

use crate::{
    execute::Started,
    failure::{Failure, Status},
    plan::Plan,
    store_file,
    stored::defects_hit,
};

/// The version of `run.json`.
const VERSION: u32 = 1;
pub(crate) const FILE: &str = "run.json";
/// How much of a reason is remembered.
const WHY_CHARS_MAX: usize = 400;

/// How a run ended. These are never mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// Every check is valid.
    Valid,
    /// The history does not show enough.
    Unknown,
    /// The harness itself failed.
    Harness,
    /// A check is invalid.
    Invalid,
}

impl Outcome {
    pub(crate) const ALL: [Self; 4] = [Self::Valid, Self::Invalid, Self::Unknown, Self::Harness];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unknown => "unknown",
            Self::Harness => "harness",
            Self::Invalid => "invalid",
        }
    }

    pub(crate) fn status(self) -> Status {
        match self {
            Self::Valid => Status::Valid,
            Self::Unknown => Status::Unknown,
            Self::Harness => Status::Harness,
            Self::Invalid => Status::Invalid,
        }
    }
}

impl From<Judgement> for Outcome {
    fn from(judgement: Judgement) -> Self {
        match judgement {
            Judgement::Valid => Self::Valid,
            Judgement::Unknown => Self::Unknown,
            Judgement::Invalid => Self::Invalid,
        }
    }
}

/// One finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RunResult {
    #[serde(rename = "usurper-run")]
    version: u32,
    /// The suite that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) suite: Option<String>,
    /// The cell of the suite; the plan's name outside of one. Runs of a cell differ by their seed.
    pub(crate) cell: String,
    pub(crate) system: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scenario: Option<String>,
    pub(crate) nodes: u8,
    pub(crate) seed: u64,
    /// The wall time, as RFC 3339.
    pub(crate) started: String,
    pub(crate) took_ms: u64,
    pub(crate) outcome: Outcome,
    /// The checks that are invalid.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) failed: BTreeSet<String>,
    /// What the run has in common with every other that met the same bug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<String>,
    /// Why it is not valid, in one sentence: the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// Steps of its schedule that were not waits.
    pub(crate) steps: u32,
    /// How late the machine woke its sleepers while it ran, at worst, in milliseconds.
    #[serde(default)]
    pub(crate) late_ms: u64,
    /// Absent where the harness failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) figures: Option<RunFigures>,
}

/// The numbers of a run that are compared from night to night.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RunFigures {
    pub(crate) observed_ns: u64,
    pub(crate) leaderless_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_leader_ns: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failover_ns: Option<u64>,
    pub(crate) elections: u64,
    /// How many warnings each check gave, of those that gave any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) warnings: BTreeMap<String, u64>,
}

impl RunResult {
    /// Of a run that was carried through and judged. What its scenario states as a limitation of the
    /// protocol is not asked for.
    pub(crate) fn of(
        plan: &Plan,
        started: &Started,
        verdict: &Verdict,
        history: &Path,
    ) -> Result<Self, Failure> {
        let asked = |check: &&CheckVerdict| !plan.limitations.contains_key(&check.check);
        let asked: Vec<_> = verdict.checks.iter().filter(asked).collect();
        let judgement = Judgement::of_all(asked.iter().map(|check| check.judgement));
        let is_invalid = |check: &&CheckVerdict| check.judgement == Judgement::Invalid;
        let failed: Vec<_> = asked.iter().copied().filter(is_invalid).collect();
        let figures = &verdict.figures;
        let signature = match failed.is_empty() {
            true => None,
            false => Some(signature(plan, &failed, &defects_hit(history)?)),
        };
        Ok(Self {
            failed: failed.iter().map(|check| check.check.clone()).collect(),
            signature,
            why: why(verdict, judgement, &asked).map(shortened),
            figures: Some(RunFigures {
                observed_ns: figures.observed_ns,
                leaderless_ns: figures.leaderless_ns,
                first_leader_ns: figures.first_leader_ns,
                failover_ns: figures.failover.map(|failover| failover.median_ns),
                elections: figures.leader_establishments,
                warnings: verdict.checks.iter().filter_map(warnings).collect(),
            }),
            ..Self::bare(plan, started, judgement.into())
        })
    }

    /// Of a run in which the harness failed.
    pub(crate) fn of_failure(plan: &Plan, started: &Started, failure: &Failure) -> Self {
        let error = format!("{:#}", failure.error);
        // Numbers differ from run to run: ports, pids, times.
        let kind: String = error.chars().filter(|c| !c.is_ascii_digit()).take(80).collect();
        Self {
            signature: Some(format!("harness: {kind}")),
            why: Some(shortened(&error)),
            ..Self::bare(plan, started, Outcome::Harness)
        }
    }

    fn bare(plan: &Plan, started: &Started, outcome: Outcome) -> Self {
        let steps = plan.steps.iter().filter(|step| step.fault.name() != "wait").count();
        let took_ns = usurper_history::monotonic_ns().saturating_sub(started.ns);
        Self {
            version: VERSION,
            suite: None,
            cell: plan.name.clone(),
            system: plan.system.clone(),
            scenario: plan.scenario.clone(),
            nodes: plan.nodes,
            seed: plan.seed,
            started: started.text.clone(),
            took_ms: took_ns / 1_000_000,
            outcome,
            failed: BTreeSet::new(),
            signature: None,
            why: None,
            steps: u32::try_from(steps).unwrap_or(u32::MAX),
            late_ms: 0,
            figures: None,
        }
    }

    /// Writes it into the run's directory, at once or not at all.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), Failure> {
        store_file::write(dir, FILE, self)
    }

    /// Reads that of a run; none if it has none, because it was not finished.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, Failure> {
        store_file::read(dir, FILE, |result: &Self| result.version, VERSION)
            .map_err(|failure| failure.with_hint("remove that run, or its `run.json`"))
    }
}

/// Every finished run below a folder, and every directory of one that was not finished.
pub(crate) fn find_runs(folder: &Path) -> Result<Found, Failure> {
    let mut found = Found::default();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        if let Some(result) = RunResult::read(&folder)? {
            found.finished.push((folder, result));
            continue;
        }
        if folder.join("plan.toml").is_file() {
            found.unfinished.push(folder);
            continue;
        }
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                let error = anyhow!(error).context(format!("cannot read `{}`", folder.display()));
                return Err(Failure::harness(error));
            }
        };
        for entry in entries.flatten() {
            // `latest` is a link, and would be found twice.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
    }
    found.finished.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

/// The runs of a store.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In the order of their paths.
    pub(crate) finished: Vec<(PathBuf, RunResult)>,
    pub(crate) unfinished: Vec<PathBuf>,
}

/// The most telling of the checks that failed, the code path that made it fail, and what was done:
/// one bug has one of these, however often it is hit and whatever else it broke.
fn signature(plan: &Plan, failed: &[&CheckVerdict], hit: &BTreeSet<String>) -> String {
    let check = failed
        .iter()
        .min_by_key(|check| (rank(&check.check), check.check.as_str()))
        .expect("one has failed");
    let path = match site(check) {
        Some(site) => site,
        None if hit.is_empty() => plan.system.clone(),
        None => hit.iter().cloned().collect::<Vec<_>>().join("+"),
    };
    let shape = plan.scenario.as_deref().unwrap_or("random faults");
    format!("{}, {path}, {shape}", check.check)
}

/// Which of several failed checks is named: what the others usually follow from comes first.
fn rank(check: &str) -> usize {
    const ORDER: &[&str] = &[
        "crash",
        "double-vote",
        "term-rollback",
        "persist-before-ack",
        "config-safety",
        "agreement",
        "dual-leaders",
        "leader-completeness",
        "log-divergence",
        "lost-commit",
        "commit-overreach",
        "state-divergence",
        "duplicate-apply",
        "linearizable",
        "sequential",
        "stale-read",
        "stale-leader-heartbeat",
    ];
    ORDER.iter().position(|known| *known == check).unwrap_or(ORDER.len())
}

fn warnings(check: &CheckVerdict) -> Option<(String, u64)> {
    let count = check.warnings.len() as u64 + check.warnings_omitted;
    (count > 0).then(|| (check.check.clone(), count))
}

/// Where a process crashed, if that is what was found: `node/src/x.rs:12`.
fn site(check: &CheckVerdict) -> Option<String> {
    if check.check != "crash" {
        return None;
    }
    let sentence = &check.findings.first()?.sentence;
    let at = sentence.find(".rs:")? + ".rs:".len();
    let start = sentence[..at].rfind(char::is_whitespace).map_or(0, |before| before + 1);
    let digits = sentence[at..].chars().take_while(char::is_ascii_digit).count();
    Some(sentence[start..at + digits].to_owned())
}

/// The first sentence that says why a run is not valid.
fn why<'a>(
    verdict: &'a Verdict,
    judgement: Judgement,
    asked: &[&'a CheckVerdict],
) -> Option<&'a str> {
    let of = |judgement| asked.iter().find(move |check| check.judgement == judgement).copied();
    match judgement {
        Judgement::Valid => None,
        Judgement::Invalid => of(Judgement::Invalid)?.findings.first().map(|it| &*it.sentence),
        Judgement::Unknown => {
            let lost = || verdict.lost.first().map(String::as_str);
            of(Judgement::Unknown).and_then(|check| check.reason.as_deref()).or_else(lost)
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(WHY_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use usurper_checks::{CheckVerdict, Finding, Judgement};

    use super::site;

    #[test]
    fn a_crash_is_known_by_its_place_in_the_code() {
        let sentence = "n1 ended by signal 6; its last words: `panicked at node/src/x.rs:12:5: no`";
        let finding = Finding {
            sentence: sentence.to_owned(),
            nodes: vec![],
            from_ns: 0,
            to_ns: 0,
            lines: vec![],
        };
        let crash = CheckVerdict {
            check: "crash".to_owned(),
            judgement: Judgement::Invalid,
            reason: None,
            findings: vec![finding],
            findings_omitted: 0,
            warnings: vec![],
            warnings_omitted: 0,
        };
        assert_eq!(site(&crash).as_deref(), Some("node/src/x.rs:12"));
        assert_eq!(site(&CheckVerdict { check: "dual-leaders".to_owned(), ..crash }), None);
    }
}
