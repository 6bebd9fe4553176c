//! `usurper check`: judge a history again, from the history alone; also one that others wrote.

use std::path::{Path, PathBuf};

use anyhow::Context;
use usurper_checks::{
    Verdict,
    formats::{Format, Imported, Source, read},
};

use crate::{
    cli::{CheckArgs, Output},
    execute::{judge, means},
    failure::{Failure, Status},
    output, summary,
};

pub(crate) fn check(args: &CheckArgs) -> Result<Status, Failure> {
    let mut worst = Status::Valid;
    for history in histories(&args.histories, args.format)? {
        let verdict = history.judge(args)?;
        match args.output {
            Output::Text => {
                let stored = history.name();
                output::data(&summary::text(&verdict, &stored, output::wants_colour()));
            }
            Output::Json => {
                output::json(&verdict)?;
            }
        }
        worst = super::run::worse(worst, verdict.judgement.into());
    }
    Ok(worst)
}

/// The files of one history, and what they are.
pub(super) struct History {
    format: Format,
    files: Vec<PathBuf>,
}

/// Brings files to histories: the logs of servers belong together, everything else is one each.
pub(super) fn histories(
    paths: &[PathBuf],
    format: Option<Format>,
) -> Result<Vec<History>, Failure> {
    let mut histories: Vec<History> = Vec::new();
    for file in paths.iter().flat_map(|path| files_of(path)) {
        let format = match format {
            Some(format) => format,
            None => detect(&file)?,
        };
        let joined = histories.iter_mut().find(|it| it.format == format);
        match joined.filter(|_| format.is_of_many_files()) {
            Some(history) => history.files.push(file),
            None => histories.push(History { format, files: vec![file] }),
        }
    }
    Ok(histories)
}

fn detect(file: &Path) -> Result<Format, Failure> {
    let detected = Format::detect(&mut open(file)?);
    // What ought to be one of ours is refused by our own reader, which says why.
    match detected {
        Err(_) if file.extension().is_some_and(|it| it == "jsonl") => Ok(Format::Usurper),
        detected => detected.map_err(|error| {
            let hint = "name it with `--format`, if it is one of these";
            Failure::usage(error).with_hint(hint)
        }),
    }
}

fn open(file: &Path) -> Result<Source<'static>, Failure> {
    Source::open(file)
        .with_context(|| format!("cannot judge `{}`", file.display()))
        .map_err(Failure::usage)
}

impl History {
    /// Reads it into memory.
    pub(super) fn read(&self, lenient: bool) -> Result<Imported, Failure> {
        let sources: Result<Vec<_>, _> = self.files.iter().map(|file| open(file)).collect();
        read(sources?, Some(self.format), lenient).map_err(Failure::usage)
    }

    fn judge(&self, args: &CheckArgs) -> Result<Verdict, Failure> {
        if self.format == Format::Usurper && !args.lenient && args.check.is_empty() {
            return judge(&self.files[0]);
        }
        let mut imported = self.read(args.lenient)?;
        if !args.check.is_empty() {
            imported.ask_for(&args.check);
        }
        imported
            .judge(&means())
            .with_context(|| format!("cannot judge `{}`", self.name()))
            .map_err(Failure::usage)
    }

    /// The run's directory, or the files.
    fn name(&self) -> String {
        let names = self.files.iter().map(|file| match file.parent() {
            Some(run) if !run.as_os_str().is_empty() && file.ends_with("history.jsonl") => run,
            _ => file,
        });
        names.map(|it| it.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// What a path stands for: the logs of a cluster's servers, where it is a directory of such, or one
/// history.
fn files_of(path: &Path) -> Vec<PathBuf> {
    let file = history_of(path);
    if !path.is_dir() || file.exists() {
        return vec![file];
    }
    let is_log = |path: &PathBuf| path.extension().is_some_and(|it| it == "log");
    let entries = path.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut logs: Vec<PathBuf> = entries.filter(is_log).collect();
    logs.sort();
    if logs.is_empty() { vec![file] } else { logs }
}

/// The history in a run's directory, ours or Jepsen's, or the file itself.
pub(super) fn history_of(path: &Path) -> PathBuf {
    let ours = path.join("history.jsonl");
    let jepsens = path.join("history.edn");
    match path.is_dir() {
        true if !ours.exists() && jepsens.exists() => jepsens,
        true => ours,
        false => path.to_owned(),
    }
}
