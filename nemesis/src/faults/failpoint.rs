//! `failpoint`: at a named moment of its protocol a node crashes, or stands still. The node says so in an event,
//! `failpoint`, before it does. A point is armed for one hit.
//!
//! A node that may stand still counts as degraded from when it is armed. One that is to crash does not:
//! its end is in the history, and until then it works.

use usurper_history::{
    Effect, NodeId,
    control::{Command, FailpointAct},
};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, machine};
use crate::{fault::Fault, schedule::Step};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Failpoint,
    name: "failpoint",
    summary: "at the moment named `point` the node will `act`: crash, pause, or delay for `delay`; once",
    needs: Needs::Target,
    undo: Some(Fault::FailpointRelease),
    effect: Effect::Degraded,
};

pub(super) struct Failpoint;

impl Inject for Failpoint {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        machine::misfit(node, host)
    }

    fn keys(&self) -> &'static [&'static str] {
        &["point", "act", "delay"]
    }

    fn check(&self, step: &Step) -> Result<(), String> {
        let Some(act) = step.act else {
            return Err("`failpoint` needs an `act`: `crash`, `pause` or `delay`".to_owned());
        };
        if step.point.is_none() {
            return Err("`failpoint` needs a `point`".to_owned());
        }
        match (act, step.delay) {
            (FailpointAct::Delay, None) => Err("`act = \"delay\"` needs a `delay`".to_owned()),
            (FailpointAct::Crash | FailpointAct::Pause, Some(_)) => {
                Err(format!("`act = \"{act}\"` takes no `delay`"))
            }
            _ => Ok(()),
        }
    }

    fn effect(&self, step: &Step) -> Effect {
        if step.act == Some(FailpointAct::Crash) { Effect::None } else { INFO.effect }
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let command = Command::Failpoint {
            point: act.step.point.clone().unwrap_or_default(),
            act: act.step.act.unwrap_or(FailpointAct::Crash),
            delay_ns: act.step.delay.unwrap_or_default().as_nanos(),
        };
        Ok(machine::tell(act, host, &command))
    }
}
