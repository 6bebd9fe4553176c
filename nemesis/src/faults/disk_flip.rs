//! `disk-flip`: a byte of the log of a node that is down is inverted. A node that is right finds it, says
//! where it is and does not start.

use usurper_history::{Effect, NodeId, control::EXIT_BAD_DATA};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, Seen, damage::Damage};
use crate::{fault::Fault, process::Exit};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::DiskFlip,
    name: "disk-flip",
    summary: "invert one byte of the log of a node that is down: `byte`, or the middle one",
    needs: Needs::Target,
    undo: Some(Fault::DiskRestore),
    effect: Effect::None,
};

pub(super) struct DiskFlip;

impl Inject for DiskFlip {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        host.process(node).is_some().then_some("runs still")
    }

    fn keys(&self) -> &'static [&'static str] {
        &["byte"]
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let mut seen = Seen::new(0);
        for node in &act.nodes {
            host.tolerate(*node, Exit { code: Some(EXIT_BAD_DATA), signal: None });
            let log = host.log(*node);
            let done = Damage::flip(&log, act.step.byte, |damage| {
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
