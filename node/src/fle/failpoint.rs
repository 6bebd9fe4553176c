//! The moments of `fle` at which a crash or a wait is worth having.

use super::node::Fle;
use crate::{
    machine::FailpointInfo,
    protocol::{Output, Protocol},
};

/// A moment, and its name outside.
macro_rules! failpoints {
    ($( $variant:ident $name:literal $summary:literal )*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Moment { $($variant),* }

        impl Moment {
            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }

        pub(crate) const FAILPOINTS: &[FailpointInfo] =
            &[$( FailpointInfo { name: $name, summary: $summary } ),*];
    };
}

failpoints! {
    PrevoteQuorum "prevote.after-quorum-before-campaign"
        "the leader is objectively down, and nobody has been told"
    RoundBumped "campaign.after-round-bump-before-send"
        "a new round has begun, and no vote has been cast in it"
    VoteCast "vote.after-cast-before-send"
        "a vote is decided, and nobody has been told"
    Won "lead.after-won-before-proposal"
        "the election is won, and no epoch is proposed"
    AcceptWritten "accept.after-write-before-sync"
        "an epoch is accepted in the log, which is not synced"
    AcceptSynced "accept.after-sync-before-ack"
        "an epoch is durably accepted, and the leader has not been told"
    EpochWritten "epoch.after-write-before-sync"
        "an epoch is entered in the log, which is not synced"
    Established "lead.after-elected-before-first-hb"
        "a quorum has accepted the epoch, and no heartbeat has been sent in it"
    ZxidWritten "zxid.after-write-before-sync"
        "a transaction is in the log, which is not synced"
    ZxidSynced "zxid.after-sync-before-reply"
        "a transaction is durable, and the client has not been told"
}

impl Fle {
    pub(super) fn at(&mut self, moment: Moment) {
        let (term, role) = self.envelope();
        self.put(Output::Failpoint { point: moment.name(), term, role });
    }
}
