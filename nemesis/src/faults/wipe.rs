//! `wipe`: the data directory of a node that is down is emptied; the node keeps its id. It comes back
//! without a memory, which most protocols must not survive unharmed.

use std::{fs, io, path::Path};

use usurper_history::{Effect, NodeId};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, Seen};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Wipe,
    name: "wipe",
    summary: "empty the data directory of a node that is down; it keeps its id",
    needs: Needs::Target,
    undo: None,
    effect: Effect::None,
};

pub(super) struct Wipe;

impl Inject for Wipe {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        host.process(node).is_some().then_some("runs still")
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let mut seen = Seen::new(0);
        for node in &act.nodes {
            // There is nothing left to put back.
            host.take_damage(*node);
            seen.add(match empty(&host.data(*node)) {
                Ok(count) => Ok(format!("{node}: {count} files removed, nothing is left")),
                Err(error) => Err(format!("{node}: {error}")),
            });
        }
        seen.acted_ns = act.clock.now_ns();
        Ok(Box::pin(std::future::ready(seen)))
    }
}

/// Removes everything in a directory, and says how many entries that was.
fn empty(directory: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
        count += 1;
    }
    match fs::read_dir(directory)?.next() {
        None => Ok(count),
        Some(_) => Err(io::Error::other("something is left")),
    }
}
