//! `disk-fail`: writes or syncs fail. A node that is right ends by that: nobody knows what the disk holds then.
//! Its end is no crash, and it stays down until it is started again.

use usurper_history::{
    Effect, NodeId,
    control::{Command, DiskError, DiskOp, EXIT_DISK_FAILED},
};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, machine};
use crate::{fault::Fault, process::Exit, schedule::Step};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::DiskFail,
    name: "disk-fail",
    summary: "writes or syncs (`op`) fail with `error` (eio, enospc), `count` times or until restored",
    needs: Needs::Target,
    undo: Some(Fault::DiskRestore),
    effect: Effect::Degraded,
};

pub(super) struct DiskFail;

impl Inject for DiskFail {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        machine::misfit(node, host)
    }

    fn keys(&self) -> &'static [&'static str] {
        &["op", "error", "count"]
    }

    fn check(&self, step: &Step) -> Result<(), String> {
        match step.count {
            Some(count) if u32::try_from(count).is_err() => Err("`count` is too large".to_owned()),
            _ => Ok(()),
        }
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        for node in &act.nodes {
            host.tolerate(*node, Exit { code: Some(EXIT_DISK_FAILED), signal: None });
        }
        let command = Command::DiskFail {
            op: act.step.op.unwrap_or(DiskOp::Sync),
            error: act.step.error.unwrap_or(DiskError::Io),
            count: act.step.count.and_then(|count| u32::try_from(count).ok()),
        };
        Ok(machine::tell(act, host, &command))
    }
}
