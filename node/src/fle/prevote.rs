//! When the leader falls silent: nobody starts an election on its own word.
//!
//! As in Redis Sentinel, a node that hears nothing finds the leader *subjectively* down and asks
//! the others. When a majority of all configured nodes finds the same leader of the same epoch
//! down, and recently, it is *objectively* down: that is broadcast, and the nodes look for a new
//! one together. A node that is cut off alone stays a follower and raises no round.
//!
//! A node without a leader counts as finding it down, also when it was never asked and only sent
//! its vote. Otherwise two survivors, one of them just restarted, would wait for each other.

use usurper_history::NodeId;

use super::{
    failpoint::Moment,
    message::Message,
    node::Fle,
    state::{FollowerPhase, Following, State, Timer},
};
use crate::protocol::Tick;

/// What another node said of a leader's silence, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    leader: NodeId,
    epoch: u64,
    at: Tick,
}

impl Fle {
    /// The follower's timer: the leader was silent for `down-after`, or is silent still.
    pub(super) fn silence(&mut self) {
        let State::Following(Following {
            leader,
            phase: FollowerPhase::Broadcast { epoch, suspect, .. },
            ..
        }) = &mut self.state
        else {
            return;
        };
        *suspect = true;
        let message = Message::SubjectiveDown { leader: *leader, epoch: *epoch };
        self.broadcast(&message);
        self.set(Timer::Silence, self.now + self.options.heartbeat);
        self.conclude();
    }

    pub(super) fn on_subjective_down(&mut self, from: NodeId, leader: NodeId, epoch: u64) {
        self.report(from, leader, epoch);
        let known = self.leader();
        let down = match &self.state {
            State::Following(Following {
                phase: FollowerPhase::Broadcast { suspect, .. }, ..
            }) => *suspect && known == Some((leader, epoch)),
            // Looking, or its leader is not established.
            _ => known.is_none(),
        };
        self.send(from, Message::DownAnswer { leader, epoch, down, known });
        self.yield_to(epoch);
        self.conclude();
    }

    pub(super) fn on_down_answer(
        &mut self,
        from: NodeId,
        (leader, epoch): (NodeId, u64),
        down: bool,
        known: Option<(NodeId, u64)>,
    ) {
        if down {
            self.report(from, leader, epoch);
        } else {
            self.reports.remove(&from);
        }
        if let Some((_, epoch)) = known {
            self.yield_to(epoch);
        }
        self.conclude();
    }

    /// Somebody had an established leader in this epoch. Whoever is in a lower one looks for it.
    fn yield_to(&mut self, epoch: u64) {
        if self.leader().is_some_and(|(_, own)| own < epoch) {
            self.look("a leader of a higher epoch is known");
        }
    }

    /// A node that looks for a leader has none.
    pub(super) fn report_looking(&mut self, from: NodeId) {
        if let Some((leader, epoch)) = self.leader() {
            self.report(from, leader, epoch);
            self.conclude();
        }
    }

    fn report(&mut self, from: NodeId, leader: NodeId, epoch: u64) {
        self.reports.insert(from, Report { leader, epoch, at: self.now });
    }

    /// Starts an election when a majority finds the leader down.
    fn conclude(&mut self) {
        let State::Following(Following {
            leader,
            phase: FollowerPhase::Broadcast { epoch, suspect: true, .. },
            ..
        }) = &self.state
        else {
            return;
        };
        let (leader, epoch) = (*leader, *epoch);
        let fresh = |report: &Report| {
            let same = report.leader == leader && report.epoch == epoch;
            same && report.at + self.options.down_after > self.now
        };
        let mut reporters: Vec<_> =
            self.reports.iter().filter(|(_, report)| fresh(report)).map(|(id, _)| *id).collect();
        reporters.push(self.id);
        if reporters.len() >= self.quorum() {
            self.at(Moment::PrevoteQuorum);
            self.broadcast(&Message::ObjectiveDown { leader, epoch, reporters });
            self.look("the leader is objectively down");
        }
    }

    pub(super) fn on_objective_down(
        &mut self,
        from: NodeId,
        (leader, epoch): (NodeId, u64),
        reporters: &[NodeId],
    ) {
        let State::Following(Following {
            leader: own_leader,
            phase: FollowerPhase::Broadcast { epoch: own_epoch, heard_at, suspect },
            ..
        }) = &self.state
        else {
            return;
        };
        let same = (*own_leader, *own_epoch) == (leader, epoch);
        let silent = self.now.since(*heard_at) >= 2 * self.options.heartbeat;
        // The finding is not believed blindly: it may be late, or wrong.
        let mut plausible: Vec<_> = reporters
            .iter()
            .filter(|reporter| self.members.contains(reporter))
            .filter(|reporter| **reporter != self.id || *suspect)
            .collect();
        plausible.sort_unstable();
        plausible.dedup();
        let majority = plausible.len() >= self.quorum() && plausible.contains(&&from);
        if same && silent && majority {
            self.look("another node found the leader objectively down");
        }
    }
}
