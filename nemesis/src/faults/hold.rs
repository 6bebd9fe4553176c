//! `hold`: messages are kept until they are released, and then delivered in the order in which they came.
//! Messages of other kinds pass them. The end of a connection waits behind them, too: a message can be
//! delivered after the node that sent it has died.

use usurper_history::Effect;

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    links::{self, Proof},
};
use crate::{fault::Fault, link::Condition};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Hold,
    name: "hold",
    summary: "keep messages until they are released; other kinds pass",
    needs: Needs::Links,
    undo: Some(Fault::Heal),
    effect: Effect::Degraded,
};

pub(super) struct Hold;

impl Inject for Hold {
    fn keys(&self) -> &'static [&'static str] {
        &["kinds"]
    }

    fn needs_frames(&self) -> bool {
        true
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let step = &act.step;
        Ok(links::install(act, host, Condition::Hold { kinds: links::kinds(step) }, Proof::InForce))
    }
}
