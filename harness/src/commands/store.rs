//! `usurper store` and `usurper merge`: the upkeep of stores.

use std::{fs, io, path::Path};

use anyhow::{Context, anyhow};

use crate::{
    cli::{MergeArgs, StoreArgs, StoreCommand},
    failure::{Failure, Status},
    index::Index,
    output,
    result::find_runs,
    suite::{Lock, SuiteReport, SuiteState, suites_of},
};

pub(crate) fn store(args: &StoreArgs) -> Result<Status, Failure> {
    match &args.command {
        StoreCommand::Rebuild { store } => {
            if !store.is_dir() {
                return Err(Failure::usage(anyhow!("there is no store `{}`", store.display())));
            }
            let _lock = Lock::take(store)?;
            let (_, runs) = Index::rebuild(store)?;
            output::data(&format!("{runs} runs in the index of {}", store.display()));
            Ok(Status::Valid)
        }
    }
}

/// Joins the stores of shards: every run of theirs is in ours then, and each suite is one suite.
pub(crate) fn merge(args: &MergeArgs) -> Result<Status, Failure> {
    for from in &args.stores {
        let what = |it: &str| Failure::usage(anyhow!("{it} `{}`", from.display()));
        if !from.is_dir() {
            return Err(what("there is no store"));
        }
        let same = |path: &Path| fs::canonicalize(path).ok();
        if same(from) == same(&args.store) {
            return Err(what("a store cannot be merged into itself:"));
        }
    }
    let _lock = Lock::take(&args.store)?;
    let mut suites = Vec::new();
    for from in &args.stores {
        let _from = Lock::take(from)?;
        for (run, _) in find_runs(from)?.finished {
            let within = run.strip_prefix(from).unwrap_or(&run);
            copy_once(&run, &args.store.join(within))?;
        }
        for entry in fs::read_dir(suites_of(from)).into_iter().flatten().flatten() {
            if let Some(state) = SuiteState::read(&entry.path())? {
                let dir = suites_of(&args.store).join(state.id());
                state.joined(&dir)?;
                suites.push(state.id());
            }
        }
    }
    suites.sort();
    suites.dedup();
    let (index, runs) = Index::rebuild(&args.store)?;
    let mut worst = Status::Valid;
    for suite in &suites {
        let report = SuiteReport::of(&index, suite, "", suites_of(&args.store).join(suite))?;
        output::data(&report.text(output::wants_colour()));
        worst = super::run::worse(worst, report.status());
    }
    output::talk(&format!("{runs} runs in {}", args.store.display()));
    Ok(worst)
}

/// Copies a run's directory, unless it is there. A copy that was cut short has no `run.json`.
fn copy_once(from: &Path, to: &Path) -> Result<(), Failure> {
    if to.join(crate::result::FILE).is_file() {
        return Ok(());
    }
    let copy = || -> io::Result<()> {
        copy_folder(from, to)?;
        fs::copy(from.join(crate::result::FILE), to.join(crate::result::FILE)).map(drop)
    };
    copy()
        .with_context(|| format!("cannot copy `{}` to `{}`", from.display(), to.display()))
        .map_err(Failure::harness)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() && entry.file_name() != crate::result::FILE {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
