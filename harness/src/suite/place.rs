//! Where a suite is kept: `store/suites/<name>-<seed>/` with what was asked for, what state it is
//! in, and its runs.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::shard::Shard;
use crate::{failure::Failure, result::find_runs, store_file};

const STATE: &str = "suite.json";
const VERSION: u32 = 1;

/// What is known of a suite beside its runs: the file `suite.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct SuiteState {
    #[serde(rename = "usurper-suite")]
    version: u32,
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) shard: Shard,
    /// The cells and seeds of earlier suites that are run first.
    pub(crate) again: Vec<(String, u64)>,
    /// The text of the suite's file.
    pub(crate) text: String,
    pub(crate) started: String,
    /// Nothing of it is left to do.
    pub(crate) finished: bool,
}

/// A suite's directory, with the store locked for it.
#[derive(Debug)]
pub(crate) struct SuiteDir {
    pub(crate) path: PathBuf,
    pub(crate) state: SuiteState,
    _lock: Lock,
}

/// A store that is ours alone, as far as suites go. The kernel frees it with the process.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl Lock {
    /// # Errors
    /// When another suite has it.
    pub(crate) fn take(store: &Path) -> Result<Self, Failure> {
        let shown = store.display();
        let open = || -> io::Result<File> {
            fs::create_dir_all(store)?;
            File::options().create(true).append(true).open(store.join("suite.lock"))
        };
        let file = open().with_context(|| format!("cannot write into the store `{shown}`"));
        let file = file.map_err(Failure::harness)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                Err(Failure::usage(anyhow!("another suite is using the store `{shown}`"))
                    .with_hint("wait for its end, or name another store with `--store`"))
            }
            Err((_, error)) => {
                let error = anyhow!(error).context(format!("cannot lock the store `{shown}`"));
                Err(Failure::harness(error))
            }
        }
    }
}

/// The folder of a store that its suites are in.
pub(crate) fn suites_of(store: &Path) -> PathBuf {
    store.join("suites")
}

impl SuiteState {
    pub(crate) fn new(
        name: &str,
        seed: u64,
        shard: Shard,
        text: &str,
        started: &str,
        again: Vec<(String, u64)>,
    ) -> Self {
        let (name, text, started) = (name.to_owned(), text.to_owned(), started.to_owned());
        Self { version: VERSION, name, seed, shard, again, text, started, finished: false }
    }

    /// What its runs are kept under, in the index and in the store.
    pub(crate) fn id(&self) -> String {
        format!("{}-{}", self.name, self.seed)
    }

    /// Reads that of a suite's directory; none if it has none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, Failure> {
        store_file::read(dir, STATE, |state: &Self| state.version, VERSION)
    }

    /// Writes it as that of a suite whose shards were joined; it is finished once all are.
    pub(crate) fn joined(&self, dir: &Path) -> Result<(), Failure> {
        let finished = Self::read(dir)?.is_none_or(|before| before.finished) && self.finished;
        fs::create_dir_all(dir)
            .with_context(|| format!("cannot make `{}`", dir.display()))
            .map_err(Failure::harness)?;
        Self { shard: Shard::WHOLE, finished, ..self.clone() }.write(dir)
    }

    fn write(&self, dir: &Path) -> Result<(), Failure> {
        store_file::write(dir, STATE, self)
    }
}

impl SuiteDir {
    /// Begins a suite that was not begun before.
    pub(crate) fn begin(store: &Path, lock: Lock, state: SuiteState) -> Result<Self, Failure> {
        let path = suites_of(store).join(state.id());
        if SuiteState::read(&path)?.is_some() {
            let (id, seed) = (state.id(), state.seed);
            return Err(Failure::usage(anyhow!("the suite `{id}` was begun before")).with_hint(
                format!("`--resume` goes on with it; another seed than {seed} begins another"),
            ));
        }
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot make `{}`", path.display()))
            .map_err(Failure::harness)?;
        state.write(&path)?;
        Ok(Self { path, state, _lock: lock })
    }

    /// Goes on with the newest suite of this name that was not finished.
    ///
    /// # Errors
    /// When there is none, or its file has changed since.
    pub(crate) fn resume(
        store: &Path,
        lock: Lock,
        name: &str,
        text: &str,
    ) -> Result<Self, Failure> {
        let mut open: Vec<(PathBuf, SuiteState)> = Vec::new();
        for entry in fs::read_dir(suites_of(store)).into_iter().flatten().flatten() {
            if let Some(state) = SuiteState::read(&entry.path())?
                && state.name == name
                && !state.finished
            {
                open.push((entry.path(), state));
            }
        }
        let newest = open.into_iter().max_by(|one, other| one.1.started.cmp(&other.1.started));
        let Some((path, state)) = newest else {
            let shown = store.display();
            let error = anyhow!("no unfinished suite `{name}` is in the store `{shown}`");
            return Err(Failure::usage(error).with_hint("leave `--resume` out to begin one"));
        };
        if state.text != text {
            let id = state.id();
            return Err(Failure::usage(anyhow!("the file of suite `{id}` has changed since"))
                .with_hint(format!("what was asked for is in `{}`", path.join(STATE).display())));
        }
        // What a killed suite was in the middle of is done again from its start.
        for unfinished in find_runs(&path)?.unfinished {
            fs::remove_dir_all(&unfinished)
                .with_context(|| format!("cannot remove `{}`", unfinished.display()))
                .map_err(Failure::harness)?;
        }
        Ok(Self { path, state, _lock: lock })
    }

    pub(crate) fn runs(&self) -> PathBuf {
        self.path.join("runs")
    }

    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        self.state.finished = true;
        self.state.write(&self.path)
    }
}
