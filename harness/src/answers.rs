//! The answers of a search, kept in a file: a search that was stopped finds its way back by them.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::Path,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use usurper_nemesis::{Candidate, Done, Trial};

use crate::failure::Failure;

/// The version of the file.
const VERSION: u32 = 3;

/// What the answers depend on; a search with another basis starts anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Basis {
    #[serde(rename = "usurper-shrink")]
    version: u32,
    /// The plan, as TOML, and the checks that count.
    plan: String,
    checks: Vec<String>,
}

/// What was asked about a candidate. An answer to one question is none to another: what a guess gave up
/// may be found to fail later, and a search that goes on must find the way that it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Asked {
    /// How often it fails of so many runs; `alone`, on a machine that has little else to do.
    Count { runs: u32, alone: bool, seeds: Seeds },
    /// Whether it fails so often of so many runs, and whether one that does not fail at once is given up.
    Fails { need: u32, of: u32, guess: bool, seeds: Seeds },
}

/// With which seeds a candidate is run. The seed draws the timers of the nodes, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Seeds {
    /// Each time with another one: what fails then does not lean on any.
    Each,
    /// With that of the run.
    Same,
}

/// One line: how often a candidate failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Answer {
    asked: Asked,
    candidate: Candidate,
    #[serde(flatten)]
    known: Known,
}

/// What is known of a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Known {
    pub(crate) trial: Trial,
    /// How often each check failed.
    pub(crate) checks: BTreeMap<String, u32>,
    /// How far it had come each time that it failed, if it had not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) done: Option<Done>,
}

/// The file, and what it says.
pub(crate) struct Answers {
    known: BTreeMap<(Asked, String), Known>,
    file: File,
}

impl Answers {
    /// Opens the file. What it says on another basis is dropped.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn open(path: &Path, plan: String, checks: Vec<String>) -> Result<Self, Failure> {
        let basis = Basis { version: VERSION, plan, checks };
        Self::try_open(path, &basis)
            .with_context(|| format!("cannot keep the answers in `{}`", path.display()))
            .map_err(Failure::usage)
    }

    fn try_open(path: &Path, basis: &Basis) -> anyhow::Result<Self> {
        let old = if path.is_file() { read(path, basis)? } else { Vec::new() };
        // Written anew: a search that was killed leaves half a line behind.
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(path)?;
        writeln!(file, "{}", serde_json::to_string(basis)?)?;
        let mut answers = Self { known: BTreeMap::new(), file };
        for answer in old {
            answers.add(answer)?;
        }
        Ok(answers)
    }

    pub(crate) fn count(&self) -> usize {
        self.known.len()
    }

    /// What is known of a candidate.
    pub(crate) fn find(&self, candidate: &Candidate, asked: Asked) -> Option<&Known> {
        self.known.get(&(asked, text(candidate)))
    }

    /// Writes an answer down.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn remember(
        &mut self,
        candidate: &Candidate,
        asked: Asked,
        known: Known,
    ) -> Result<(), Failure> {
        let answer = Answer { asked, candidate: candidate.clone(), known };
        self.add(answer).context("cannot write an answer down").map_err(Failure::harness)
    }

    fn add(&mut self, answer: Answer) -> anyhow::Result<()> {
        writeln!(self.file, "{}", serde_json::to_string(&answer)?)?;
        self.known.insert((answer.asked, text(&answer.candidate)), answer.known);
        Ok(())
    }
}

fn read(path: &Path, basis: &Basis) -> anyhow::Result<Vec<Answer>> {
    let mut lines = BufReader::new(File::open(path)?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut answers = Vec::new();
    if serde_json::from_str::<Basis>(&first).is_ok_and(|found| found == *basis) {
        for line in lines {
            let Ok(answer) = serde_json::from_str(&line?) else { break };
            answers.push(answer);
        }
    }
    Ok(answers)
}

fn text(candidate: &Candidate) -> String {
    serde_json::to_string(candidate).expect("steps hold nothing that JSON cannot")
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, io::Write};

    use usurper_nemesis::{Candidate, TimeSpan, Trial};

    use super::{Answers, Asked, Known, Seeds};

    #[test]
    fn answers_outlive_their_search_on_the_same_basis_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.jsonl");
        let open = |plan: &str| {
            Answers::open(&path, plan.to_owned(), vec![])
                .unwrap_or_else(|f| panic!("{:#}", f.error))
        };
        let candidate = |ms| Candidate { settle: TimeSpan::millis(ms), steps: vec![] };
        let trial = Trial { failed: 3, ..Trial::new(3, 4) };
        let known = Known { trial, checks: [("crash".to_owned(), 3)].into(), done: None };
        let seeds = Seeds::Each;
        let guess = Asked::Fails { need: 3, of: 4, guess: true, seeds };
        let mut answers = open("a");
        answers
            .remember(&candidate(1), guess, known.clone())
            .unwrap_or_else(|f| panic!("{:#}", f.error));
        drop(answers);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"asked\":fal").unwrap();
        for _ in 0..2 {
            let answers = open("a");
            assert_eq!(answers.find(&candidate(1), guess), Some(&known));
            let sure = Asked::Fails { need: 3, of: 4, guess: false, seeds };
            let same = Asked::Fails { need: 3, of: 4, guess: true, seeds: Seeds::Same };
            for other in [Asked::Count { runs: 4, alone: false, seeds }, sure, same] {
                assert_eq!(answers.find(&candidate(1), other), None);
            }
            assert_eq!(answers.find(&candidate(2), guess), None);
        }
        assert_eq!(open("b").count(), 0);
        assert_eq!(open("a").count(), 0, "they are gone");
    }
}
