//! When the leader falls silent: nobody starts an election on its own word.
//!
//! As in Redis Sentinel, a node that hears nothing finds the leader *subjectively* down and asks
//! the others. When a majority of all configured nodes finds the same leader of the same epoch
//! down, and recently, it is *objectively* down: that is broadcast, and the nodes look for a new
//! one together. A node that is cut off alone stays a follower and raises no round.
//!
//! A node without a leader counts as finding it down, also when it was never asked and only sent
//! its vote. Otherwise two survivors, one of them just restarted, would wait for each other.
//!
//! Without the prevote (the option `prevote`) a node that hears nothing looks at once, as in ZooKeeper.

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
        if self.options.defects.fin_only_failure_detection && !self.closed.contains(leader) {
            self.hit("fin-only-failure-detection", "the leader is silent");
            self.set(Timer::Silence, self.now + self.options.down_after);
            return;
        }
        if !self.options.prevote {
            self.look("the leader is silent");
            return;
        }
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
            _ if known.is_none() && self.options.defects.prevote_ignores_looking => {
                self.hit("prevote-ignores-looking", "asked");
                false
            }
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
            if self.options.defects.prevote_ignores_looking {
                self.hit("prevote-ignores-looking", "a vote");
                return;
            }
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
        let same = |report: &Report| report.leader == leader && report.epoch == epoch;
        let fresh = |report: &Report| report.at + self.options.down_after > self.now;
        let reporters = |counts: &dyn Fn(&Report) -> bool| {
            let others = self.reports.iter().filter(|(_, report)| same(report) && counts(report));
            others.map(|(id, _)| *id).chain([self.id]).collect::<Vec<_>>()
        };
        let mut found = reporters(&fresh);
        if found.len() < self.odown_quorum() && self.options.defects.sdown_reports_never_expire {
            found = reporters(&|_| true);
            if found.len() >= self.odown_quorum() {
                self.hit("sdown-reports-never-expire", "old reports count");
            }
        }
        if found.len() >= self.odown_quorum() {
            if found.len() < self.quorum() {
                self.hit("odown-quorum-below-majority", "a minority finds it down");
            }
            self.at(Moment::PrevoteQuorum);
            self.broadcast(&Message::ObjectiveDown { leader, epoch, reporters: found });
            self.look("the leader is objectively down");
        }
    }

    /// How many nodes must find a leader down.
    fn odown_quorum(&self) -> usize {
        if self.options.defects.odown_quorum_below_majority {
            return self.quorum().min(2);
        }
        self.quorum()
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
        let majority = plausible.len() >= self.odown_quorum() && plausible.contains(&&from);
        if same && silent && majority {
            self.look("another node found the leader objectively down");
        } else if same && self.options.defects.odown_trusted_blindly {
            self.hit("odown-trusted-blindly", "told that the leader is down");
            self.look("another node found the leader objectively down");
        }
    }
}
