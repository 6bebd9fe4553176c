//! `corrupt`: one byte of a message is another. Our frames have a checksum, so a node must see that one
//! is bad, drop the connection and go on; of foreign bytes, one in each piece that was read at once.

use usurper_history::Effect;

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    links::{self, Proof},
};
use crate::{fault::Fault, link::Condition};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Corrupt,
    name: "corrupt",
    summary: "flip a byte of messages, with a `probability` (1 if not given)",
    needs: Needs::Links,
    undo: Some(Fault::Heal),
    effect: Effect::Degraded,
};

pub(super) struct Corrupt;

impl Inject for Corrupt {
    fn keys(&self) -> &'static [&'static str] {
        &["probability", "kinds", "count"]
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let step = &act.step;
        Ok(links::install(act, host, Condition::Corrupt(links::chance(step)), Proof::InForce))
    }
}
