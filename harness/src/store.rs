//! Run directories: where everything that a run leaves behind is kept.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Context;
use usurper_history::NodeId;

use crate::failure::Failure;

/// The directory of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    store: PathBuf,
}

impl RunDir {
    /// Makes `store/<name>/<time>-<seed>` for a run; a number is added where that is taken.
    pub(crate) fn create(
        store: &Path,
        name: &str,
        started: &str,
        seed: u64,
    ) -> Result<Self, Failure> {
        let parent = store.join(name);
        let make = || -> io::Result<PathBuf> {
            fs::create_dir_all(&parent)?;
            for attempt in 1..1000 {
                let suffix = if attempt == 1 { String::new() } else { format!("-{attempt}") };
                let path = parent.join(format!("{started}-{seed}{suffix}"));
                match fs::create_dir(&path) {
                    Ok(()) => return Ok(path),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
            }
            Err(io::ErrorKind::AlreadyExists.into())
        };
        let path = make()
            .with_context(|| format!("cannot make a run directory in `{}`", parent.display()))
            .map_err(|error| {
                Failure::harness(error).with_hint("name a writable place with `--store DIR`")
            })?;
        Ok(Self { path, store: store.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The run's name: its place within the store, which no other run has.
    pub(crate) fn name(&self) -> String {
        self.path.strip_prefix(&self.store).unwrap_or(&self.path).display().to_string()
    }

    pub(crate) fn history(&self) -> PathBuf {
        self.path.join("history.jsonl")
    }

    /// Where a node's data is.
    pub(crate) fn data(&self, node: NodeId) -> PathBuf {
        self.path.join("nodes").join(node.to_string()).join("data")
    }

    /// Where a node's data and logs are; made if need be.
    pub(crate) fn node(&self, node: NodeId) -> Result<PathBuf, Failure> {
        let path = self.path.join("nodes").join(node.to_string());
        fs::create_dir_all(path.join("data"))
            .with_context(|| format!("cannot make `{}`", path.display()))
            .map_err(Failure::harness)?;
        Ok(path)
    }

    /// Writes one file of the run.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.path.join(name);
        fs::write(&path, text)
            .with_context(|| format!("cannot write `{}`", path.display()))
            .map_err(Failure::harness)
    }

    /// Points `store/latest` at this run, atomically.
    pub(crate) fn make_latest(&self) -> Result<(), Failure> {
        let link = || -> io::Result<()> {
            let target = self.path.strip_prefix(&self.store).unwrap_or(&self.path);
            // A name of our own, so that runs side by side do not step on each other's.
            let temporary = self.store.join(format!(".latest-{}", std::process::id()));
            if temporary.symlink_metadata().is_ok() {
                fs::remove_file(&temporary)?;
            }
            symlink(target, &temporary)?;
            fs::rename(&temporary, self.store.join("latest"))
        };
        link().context("cannot point `latest` at the run").map_err(Failure::harness)
    }

    /// Removes the run, with everything in it.
    pub(crate) fn remove(self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.path)
            .with_context(|| format!("cannot remove `{}`", self.path.display()))
            .map_err(Failure::harness)
    }
}
