//! While there is a leader: heartbeats, who may send them, and when a leader gives up.
//!
//! A heartbeat counts only from the leader that the node follows, in the epoch that it follows it
//! in. All others are rejected, and their sender is told the highest epoch that the node has
//! accepted: a leader steps down at once for a higher epoch, and never for an equal or lower one.
//!
//! A leader that no quorum answers steps down as well, in the time in which nobody else can have been
//! elected: whoever took its last heartbeat is silent for `down-after`, and every election waits for
//! `finalize-wait`. To give up earlier would only make slow answers costly. A reply counts from when the heartbeat it
//! answers was *sent*, so replies that lay in a buffer while the process was stopped count for
//! nothing, and but for them the check comes before any other thought of a step.

use usurper_history::{Event, NodeId};

use super::{
    defects::Defects,
    message::Message,
    node::Fle,
    state::{Broadcast, FollowerPhase, Following, LeaderPhase, Leading, State, Timer},
};
use crate::protocol::Tick;

/// Why a heartbeat is refused in discovery.
const NO_EPOCH: &str = "no epoch is agreed on";

impl Fle {
    /// Steps down when no quorum has answered for too long.
    pub(super) fn fence(&mut self) {
        let State::Leading(leading) = &self.state else { return };
        match &leading.phase {
            LeaderPhase::Discovery(discovery) if self.now > discovery.deadline => {
                self.look("no quorum accepted the epoch in time");
            }
            LeaderPhase::Broadcast(broadcast)
                if self.followers_alive(broadcast) + 1 < self.quorum() =>
            {
                if self.options.defects.no_leader_self_fence {
                    self.hit("no-leader-self-fence", "no quorum answers");
                } else {
                    self.look("no quorum answers the heartbeats");
                }
            }
            _ => {}
        }
    }

    fn followers_alive(&self, broadcast: &Broadcast) -> usize {
        let fresh = |peer: &NodeId| {
            let answered = broadcast.answered.get(peer);
            answered.is_some_and(|at| *at + self.options.answer_within() > self.now)
        };
        self.peers().filter(fresh).count()
    }

    /// The leader's timer, and its first heartbeat.
    pub(super) fn beat(&mut self) {
        if self.speak(None) {
            self.set(Timer::Beat, self.now + self.options.heartbeat);
        }
    }

    /// One heartbeat out of turn.
    pub(super) fn beat_to(&mut self, follower: NodeId) {
        self.speak(Some(follower));
    }

    /// A leader's heartbeat to one follower or to all. Says whether this node leads.
    fn speak(&mut self, to: Option<NodeId>) -> bool {
        let silent = self.options.defects.no_hb_after_elected;
        let State::Leading(Leading { phase: LeaderPhase::Broadcast(broadcast), .. }) =
            &mut self.state
        else {
            return false;
        };
        if !(silent && broadcast.elected) {
            broadcast.beat += 1;
            let (epoch, beat) = (broadcast.epoch, broadcast.beat);
            self.note_heartbeat("sent", to, epoch, self.id, None);
            let message = Message::Heartbeat { epoch, beat, sent_at: self.now };
            match to {
                Some(follower) => self.send(follower, message),
                None => self.broadcast(&message),
            }
        }
        true
    }

    pub(super) fn on_heartbeat(&mut self, from: NodeId, epoch: u64, beat: u64, sent_at: Tick) {
        let following = matches!(self.state, State::Following(_));
        let accepted = match self.judge(from, epoch) {
            Ok(()) => {
                if self.state.phase() == "discovery" {
                    self.enter_epoch(epoch, "first heartbeat of the epoch");
                }
                true
            }
            // Whoever speaks is the leader, and no epoch is asked for.
            Err(reason) if following && self.options.defects.hb_from_anyone => {
                self.hit("hb-from-anyone", reason);
                true
            }
            Err(reason)
                if self.options.defects.no_epoch_in_heartbeat
                    && self.follows(from)
                    && reason != NO_EPOCH =>
            {
                self.hit("no-epoch-in-heartbeat", reason);
                true
            }
            Err(reason) => {
                self.note_heartbeat("rejected", Some(from), epoch, from, Some(reason));
                false
            }
        };
        if accepted {
            self.hear(from, epoch);
        }
        let own_leader = self.leader().map(|(leader, _)| leader);
        let own_epoch = self.durable.accepted_epoch;
        self.send(
            from,
            Message::HeartbeatReply { epoch, beat, sent_at, accepted, own_epoch, own_leader },
        );
        if !accepted {
            self.react_to_foreign_leader(from, epoch);
        }
    }

    fn follows(&self, leader: NodeId) -> bool {
        matches!(&self.state, State::Following(following) if following.leader == leader)
    }

    /// Whether a heartbeat counts, or why not.
    fn judge(&self, from: NodeId, epoch: u64) -> Result<(), &'static str> {
        let (leader, phase) = match &self.state {
            State::Looking(_) => return Err("looking"),
            State::Leading(_) => return Err("leading"),
            State::Following(following) => (following.leader, &following.phase),
        };
        if leader != from {
            return Err("follows another leader");
        }
        let joined = match phase {
            FollowerPhase::Broadcast { epoch, .. } => Some(*epoch),
            FollowerPhase::Discovery { joined, .. } => *joined,
        };
        match joined {
            Some(joined) if epoch == joined => Ok(()),
            Some(joined) if epoch < joined => Err("an epoch of the past"),
            Some(_) => Err("an epoch that was not accepted"),
            None => Err(NO_EPOCH),
        }
    }

    /// Takes a heartbeat that counts.
    fn hear(&mut self, from: NodeId, epoch: u64) {
        let now = self.now;
        assert!(
            epoch >= self.durable.accepted_epoch || self.options.defects != Defects::default(),
            "a heartbeat below the accepted epoch {} counted",
            self.durable.accepted_epoch
        );
        let State::Following(following) = &mut self.state else { return };
        let vote = following.vote;
        let same = following.leader == from;
        match &mut following.phase {
            FollowerPhase::Broadcast { epoch: followed, heard_at, suspect }
                if same && *followed == epoch =>
            {
                *heard_at = now;
                *suspect = false;
                self.set(Timer::Silence, now + self.options.down_after);
            }
            _ => self.become_follower(from, vote, epoch, "first heartbeat of the epoch"),
        }
        self.note_heartbeat("accepted", Some(from), epoch, from, None);
    }

    /// Somebody leads whom this node does not follow.
    fn react_to_foreign_leader(&mut self, from: NodeId, epoch: u64) {
        let deaf = self.options.defects.hb_from_anyone;
        // Where corrections decide, the reply was one, and no epoch is compared.
        if self.correcting() && !matches!(self.state, State::Looking(_)) {
            return;
        }
        let accepted = self.durable.accepted_epoch;
        match &self.state {
            State::Looking(_) => self.ask_again(),
            State::Leading(Leading { phase: LeaderPhase::Broadcast(broadcast), .. })
                if epoch > broadcast.epoch =>
            {
                if deaf {
                    self.hit("hb-from-anyone", "leading");
                } else {
                    self.look("another node leads in a higher epoch");
                }
            }
            State::Leading(Leading { phase: LeaderPhase::Discovery(_), .. })
                if epoch > accepted && !deaf =>
            {
                self.look("another node leads in a higher epoch");
            }
            State::Following(Following { leader, phase, .. }) if *leader != from => {
                let own = match phase {
                    FollowerPhase::Broadcast { epoch, .. } => *epoch,
                    FollowerPhase::Discovery { .. } => accepted,
                };
                if epoch > own {
                    self.look("another node leads in a higher epoch");
                }
            }
            // The own leader leads again, in a new epoch.
            State::Following(Following {
                phase: FollowerPhase::Broadcast { epoch: own, .. },
                ..
            }) if epoch > *own => self.look("the leader has a new epoch"),
            _ => {}
        }
    }

    pub(super) fn on_heartbeat_reply(
        &mut self,
        from: NodeId,
        epoch: u64,
        sent_at: Tick,
        accepted: bool,
        own_epoch: u64,
        own_leader: Option<NodeId>,
    ) {
        let deaf = self.options.defects.hb_from_anyone;
        self.epoch_seen = self.epoch_seen.max(own_epoch);
        if self.correcting() && !accepted {
            self.on_correction(from, own_leader, own_epoch);
            return;
        }
        let now = self.now;
        let State::Leading(Leading { phase: LeaderPhase::Broadcast(broadcast), .. }) =
            &mut self.state
        else {
            return;
        };
        if accepted && epoch == broadcast.epoch {
            let answered = broadcast.answered.entry(from).or_default();
            *answered = sent_at.min(now).max(*answered);
        }
        if own_epoch > broadcast.epoch {
            if deaf {
                self.hit("hb-from-anyone", "heartbeat reply");
            } else {
                self.look("a node has accepted a higher epoch");
            }
        }
    }

    fn correcting(&self) -> bool {
        let defects = self.options.defects;
        defects.correction_single || defects.correction_majority_cumulative
    }

    /// The defects `correction-*`: a leader is told that another one leads, and yields to that one
    /// whatever its epoch. The right rule is in `on_heartbeat_reply`: to a higher epoch at once, to
    /// an equal or lower one never.
    fn on_correction(&mut self, from: NodeId, named: Option<NodeId>, epoch: u64) {
        let State::Leading(Leading { vote, phase: LeaderPhase::Broadcast(_) }) = &self.state else {
            return;
        };
        let vote = *vote;
        let Some(leader) = named.filter(|leader| *leader != self.id) else { return };
        self.corrections.insert(from);
        if self.options.defects.correction_single {
            self.hit("correction-single", "one node knows another leader");
        } else if self.corrections.len() >= self.quorum() {
            self.hit("correction-majority-cumulative", "a majority knew another leader once");
        } else {
            return;
        }
        let epoch = epoch.max(self.durable.accepted_epoch);
        if epoch > self.durable.accepted_epoch {
            self.accept(epoch, leader, "corrected");
        }
        self.enter_epoch(epoch, "corrected");
        self.become_follower(leader, vote, epoch, "corrected");
    }

    fn note_heartbeat(
        &mut self,
        dir: &str,
        peer: Option<NodeId>,
        epoch: u64,
        leader: NodeId,
        reason: Option<&str>,
    ) {
        self.emit(Event::Heartbeat {
            dir: dir.to_owned(),
            peer,
            msg_term: epoch,
            leader,
            commit: None,
            reason: reason.map(str::to_owned),
        });
    }
}
