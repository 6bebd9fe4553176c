//! Between winning an election and leading: a quorum accepts the epoch.
//!
//! Each node accepts one leader per epoch, and never an epoch below one it has accepted, durably.
//! The winner proposes an epoch above all that a quorum has accepted, and leads once a quorum has
//! accepted it. Two winners of one round therefore cannot both lead in one epoch, and of two that
//! lead in different epochs the older one has lost its quorum.
//!
//! This is Zab's discovery without its history. What Zab leaves open is decided so:
//!
//! - A newcomer that has accepted a higher epoch makes an established leader step down once, since
//!   it could never follow it; the next proposal is above that epoch. (Zab lets it loop until the
//!   next election.)
//! - A newcomer that has accepted the same epoch for another winner follows the established leader
//!   without counting. That winner cannot lead in this epoch any more: a quorum accepted another.

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::{Event, NodeId};

use super::{
    failpoint::Moment,
    message::{Message, Vote},
    node::Fle,
    state::{
        Broadcast, Discovery, FollowerPhase, Following, LeaderPhase, Leading, Promise, State, Timer,
    },
};

impl Fle {
    /// Having won, waits for a quorum to accept an epoch.
    pub(super) fn lead(&mut self) {
        let State::Looking(looking) = &mut self.state else { return };
        let votes: Vec<_> = looking.supporters().collect();
        let vote = looking.vote.expect("a candidate was elected");
        let early = std::mem::take(&mut looking.early);
        if self.options.defects.lead_on_votes_alone {
            self.lead_at_once(vote, votes, early);
            return;
        }
        let discovery = Discovery {
            deadline: self.now + self.options.init_limit,
            accepted: BTreeMap::from([(self.id, self.durable.accepted_epoch)]),
            proposed: None,
            acks: BTreeSet::new(),
            voters: votes.iter().copied().collect(),
            deserters: BTreeSet::new(),
            ahead: BTreeSet::new(),
        };
        let deadline = discovery.deadline;
        let phase = LeaderPhase::Discovery(discovery);
        self.enter(State::Leading(Leading { vote, phase }), "the election was won");
        self.emit(Event::LeaderElected {
            // Not yet proposed: it will be this epoch or a higher one.
            in_term: self.epoch_seen + 1,
            established: false,
            votes,
            how: "votes".to_owned(),
            round: Some(self.round),
            config: None,
        });
        self.set(Timer::Discovery, deadline);
        self.at(Moment::Won);
        self.propose();
        for (follower, promise) in early {
            self.on_follower_info(follower, promise);
        }
    }

    /// The defect `lead-on-votes-alone`, instead of asking a quorum to accept the epoch.
    fn lead_at_once(&mut self, vote: Vote, votes: Vec<NodeId>, early: BTreeMap<NodeId, Promise>) {
        self.hit("lead-on-votes-alone", "the election was won");
        let epoch = self.epoch_seen + 1;
        self.accept(epoch, self.id, "won");
        self.enter_epoch(epoch, "won");
        let answered = votes.iter().map(|voter| (*voter, self.now)).collect();
        let broadcast = Broadcast { epoch, beat: 0, answered, elected: true };
        self.become_leader(vote, broadcast, votes, "votes");
        for (follower, promise) in early {
            self.on_follower_info(follower, promise);
        }
    }

    /// Having decided for another, tells it so.
    pub(super) fn follow(&mut self, vote: Vote, reason: &str) {
        let deadline = self.now + self.options.init_limit;
        let phase = FollowerPhase::Discovery { deadline, joined: None };
        let leader = vote.leader;
        self.enter(State::Following(Following { leader, vote, phase }), reason);
        self.set(Timer::Discovery, (self.now + self.options.heartbeat).min(deadline));
        self.send_follower_info(leader);
    }

    pub(super) fn send_follower_info(&mut self, leader: NodeId) {
        let message = Message::FollowerInfo {
            accepted_epoch: self.durable.accepted_epoch,
            current_epoch: self.durable.current_epoch,
            zxid: self.durable.zxid,
        };
        self.send(leader, message);
    }

    /// The timer of discovery: a follower asks again; both give up in the end.
    pub(super) fn discover(&mut self) {
        match &self.state {
            State::Following(Following {
                leader,
                phase: FollowerPhase::Discovery { deadline, .. },
                ..
            }) => {
                let (leader, deadline) = (*leader, *deadline);
                if self.now >= deadline {
                    self.look("the winner did not lead in time");
                } else {
                    self.send_follower_info(leader);
                    self.set(Timer::Discovery, (self.now + self.options.heartbeat).min(deadline));
                }
            }
            State::Leading(Leading { phase: LeaderPhase::Discovery(discovery), .. })
                if self.now >= discovery.deadline =>
            {
                self.look("no quorum accepted the epoch in time");
            }
            _ => {}
        }
    }

    pub(super) fn on_follower_info(&mut self, from: NodeId, promise: Promise) {
        self.epoch_seen = self.epoch_seen.max(promise.accepted_epoch);
        let ahead = self.is_ahead(&promise);
        match &mut self.state {
            State::Looking(looking) => {
                looking.early.insert(from, promise);
            }
            State::Following(_) => {}
            State::Leading(Leading { phase: LeaderPhase::Discovery(discovery), .. }) => {
                discovery.voters.insert(from);
                discovery.deserters.remove(&from);
                if ahead {
                    self.do_without(from);
                    return;
                }
                discovery.accepted.insert(from, promise.accepted_epoch);
                match discovery.proposed {
                    Some(epoch) => {
                        self.send(from, Message::LeaderInfo { epoch, established: false });
                    }
                    None => self.propose(),
                }
            }
            State::Leading(Leading { phase: LeaderPhase::Broadcast(broadcast), .. }) => {
                let epoch = broadcast.epoch;
                if promise.accepted_epoch > epoch {
                    self.look("a follower has accepted a higher epoch");
                } else {
                    self.send(from, Message::LeaderInfo { epoch, established: true });
                }
            }
        }
    }

    /// A follower that has more than this node does not count for it, but as with ZooKeeper's
    /// learners only that one is turned away: it may be a member that nobody else can reach.
    fn do_without(&mut self, follower: NodeId) {
        let State::Leading(Leading { phase: LeaderPhase::Discovery(discovery), .. }) =
            &mut self.state
        else {
            return;
        };
        discovery.ahead.insert(follower);
        if !self.has_voters_left() {
            self.look("too many have more than this node");
        }
    }

    /// Whether a quorum could still accept the epoch: otherwise there is nothing to wait for. Two
    /// winners of one round that waited for their time to run out would do so in turn, for ever.
    pub(super) fn has_voters_left(&self) -> bool {
        let State::Leading(Leading { phase: LeaderPhase::Discovery(discovery), .. }) = &self.state
        else {
            return true;
        };
        let Discovery { voters, deserters, ahead, .. } = discovery;
        let left = voters.iter().filter(|id| !deserters.contains(id) && !ahead.contains(id));
        left.count() >= self.quorum()
    }

    fn is_ahead(&self, promise: &Promise) -> bool {
        (promise.current_epoch, promise.zxid) > (self.durable.current_epoch, self.durable.zxid)
    }

    /// Proposes an epoch, once a quorum has said what it has accepted.
    fn propose(&mut self) {
        let (quorum, id) = (self.quorum(), self.id);
        let epoch = self.epoch_seen + 1;
        let State::Leading(Leading { phase: LeaderPhase::Discovery(discovery), .. }) =
            &mut self.state
        else {
            return;
        };
        if discovery.proposed.is_some() || discovery.accepted.len() < quorum {
            return;
        }
        discovery.proposed = Some(epoch);
        discovery.acks.insert(id);
        let followers: Vec<_> =
            discovery.accepted.keys().copied().filter(|node| *node != id).collect();
        self.accept(epoch, id, "proposed");
        self.at(Moment::AcceptSynced);
        self.note_ack(id, epoch);
        for follower in followers {
            self.send(follower, Message::LeaderInfo { epoch, established: false });
        }
        self.establish();
    }

    pub(super) fn on_leader_info(&mut self, from: NodeId, epoch: u64, established: bool) {
        let (accepted_epoch, accepted_leader) =
            (self.durable.accepted_epoch, self.durable.accepted_leader);
        let State::Following(Following {
            leader,
            phase: FollowerPhase::Discovery { joined, .. },
            ..
        }) = &mut self.state
        else {
            return;
        };
        if *leader != from {
            return;
        }
        if epoch > accepted_epoch {
            *joined = Some(epoch);
            self.accept(epoch, from, "accepted");
            self.acknowledge(from, epoch, true);
        } else if epoch == accepted_epoch && accepted_leader == Some(from) {
            *joined = Some(epoch);
            self.acknowledge(from, epoch, true);
        } else if epoch == accepted_epoch && established {
            *joined = Some(epoch);
        } else {
            self.acknowledge(from, epoch, false);
            self.look("the winner's epoch is taken");
        }
    }

    fn acknowledge(&mut self, leader: NodeId, epoch: u64, granted: bool) {
        if granted {
            self.at(Moment::AcceptSynced);
            self.note_ack(leader, epoch);
        }
        let message = Message::EpochAck {
            epoch,
            granted,
            accepted_epoch: self.durable.accepted_epoch,
            current_epoch: self.durable.current_epoch,
            zxid: self.durable.zxid,
        };
        self.send(leader, message);
    }

    fn note_ack(&mut self, to: NodeId, epoch: u64) {
        self.emit(Event::Ack {
            to,
            kind: "ackepoch".to_owned(),
            in_term: epoch,
            id: None,
            durable_up_to: None,
        });
    }

    pub(super) fn on_epoch_ack(
        &mut self,
        from: NodeId,
        epoch: u64,
        granted: bool,
        promise: Promise,
    ) {
        self.epoch_seen = self.epoch_seen.max(promise.accepted_epoch);
        let ahead = self.is_ahead(&promise);
        match &mut self.state {
            State::Leading(Leading { phase: LeaderPhase::Discovery(discovery), .. })
                if discovery.proposed == Some(epoch) =>
            {
                if !granted {
                    self.look("a follower refused the epoch");
                } else if ahead {
                    self.do_without(from);
                } else {
                    discovery.acks.insert(from);
                    self.establish();
                }
            }
            State::Leading(Leading { phase: LeaderPhase::Broadcast(broadcast), .. }) => {
                if promise.accepted_epoch > broadcast.epoch {
                    self.look("a follower has accepted a higher epoch");
                } else if granted && broadcast.epoch == epoch {
                    // It follows from the next heartbeat on: let it not wait.
                    self.beat_to(from);
                }
            }
            _ => {}
        }
    }

    /// Leads, once a quorum has accepted the epoch.
    fn establish(&mut self) {
        let quorum = self.quorum();
        let State::Leading(Leading { vote, phase: LeaderPhase::Discovery(discovery) }) =
            &self.state
        else {
            return;
        };
        let Some(epoch) = discovery.proposed.filter(|_| discovery.acks.len() >= quorum) else {
            return;
        };
        let vote = *vote;
        let acks: Vec<_> = discovery.acks.iter().copied().collect();
        let answered = acks.iter().map(|follower| (*follower, self.now)).collect();
        self.enter_epoch(epoch, "established");
        let broadcast = Broadcast { epoch, beat: 0, answered, elected: true };
        self.become_leader(vote, broadcast, acks, "discovery");
    }
}

impl FollowerPhase {
    pub(super) fn is_discovery(&self) -> bool {
        matches!(self, Self::Discovery { .. })
    }
}
