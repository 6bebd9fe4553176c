//! `cut`: directed links carry nothing: frames are dropped silently, new connections refused. With
//! `kinds`, only messages of these kinds are dropped.

use usurper_history::Effect;

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, links};
use crate::{fault::Fault, schedule::Step};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Cut,
    name: "cut",
    summary: "drop every frame of directed links and refuse new connections over them, or only frames of `kinds`",
    needs: Needs::Links,
    undo: Some(Fault::Heal),
    effect: Effect::Cut,
};

pub(super) struct Cut;

impl Inject for Cut {
    fn keys(&self) -> &'static [&'static str] {
        &["kinds"]
    }

    /// A link that loses some messages still carries the others: nobody is out of reach.
    fn effect(&self, step: &Step) -> Effect {
        if step.kinds.is_empty() { INFO.effect } else { Effect::Degraded }
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(links::cut(act, host))
    }
}

#[cfg(test)]
mod tests {
    use usurper_history::{Effect, frame::Kind};

    use crate::{Fault, MessageKind, Step};

    #[test]
    fn a_link_that_loses_messages_of_some_kinds_is_not_cut() {
        let whole = Step::new(Fault::Cut, None);
        let some = Step { kinds: vec![MessageKind(Kind::Heartbeat)], ..whole.clone() };
        assert_eq!((whole.effect(), some.effect()), (Effect::Cut, Effect::Degraded));
    }
}
