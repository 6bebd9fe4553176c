//! `disk-truncate`: the tail of the log of a node that is down is cut off. A record that was being written
//! may be torn; to miss what was synced is damage, and a node that is right does not start with it.

use usurper_history::{Effect, NodeId, control::EXIT_BAD_DATA};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, Seen, damage::Damage};
use crate::{fault::Fault, process::Exit, schedule::Step};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::DiskTruncate,
    name: "disk-truncate",
    summary: "cut the last `bytes` (1 if not given) off the log of a node that is down",
    needs: Needs::Target,
    undo: Some(Fault::DiskRestore),
    effect: Effect::None,
};

/// More is kept for the undo in memory than anybody wants to cut.
const BYTES_MAX: u64 = 1 << 20;

pub(super) struct DiskTruncate;

impl Inject for DiskTruncate {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        host.process(node).is_some().then_some("runs still")
    }

    fn keys(&self) -> &'static [&'static str] {
        &["bytes"]
    }

    fn check(&self, step: &Step) -> Result<(), String> {
        match step.bytes {
            Some(0) => Err("`bytes` starts at 1".to_owned()),
            Some(bytes) if bytes > BYTES_MAX => Err(format!("`bytes` is at most {BYTES_MAX}")),
            _ => Ok(()),
        }
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let mut seen = Seen::new(0);
        for node in &act.nodes {
            host.tolerate(*node, Exit { code: Some(EXIT_BAD_DATA), signal: None });
            let log = host.log(*node);
            let done = Damage::truncate(&log, act.step.bytes.unwrap_or(1), |damage| {
                host.note_damage(*node, damage);
            });
            match done {
                Ok(proof) => seen.proofs.push(format!("{node}: {proof}")),
                Err(error) => seen.unclear.push(format!("{node}: {error}")),
            }
        }
        if seen.proofs.is_empty() {
            // Nothing was touched.
            seen.refused = Some(seen.unclear.join("; "));
        }
        seen.acted_ns = act.clock.now_ns();
        Ok(Box::pin(std::future::ready(seen)))
    }
}
