//! Looking for a leader: ZooKeeper's fast leader election.
//!
//! Every node that has exchanged votes with a majority votes for itself, and every node adopts each
//! better vote that it hears, so all come to vote for the best candidate that they know. A majority of equal votes that hears of nothing
//! better for a while decides. That is not yet leadership: a voter may move on after it has been
//! counted, so two candidates can win one round. Which of them leads is settled by discovery.
//!
//! A node that is not looking answers whoever looks with its settled vote, of whatever round. That
//! is how a node joins a leader that it did not elect, and why nodes need not start together.

use rand::RngExt;
use usurper_history::{Event, NodeId, Zxid};

use super::{
    failpoint::Moment,
    message::{Message, Standing, Vote},
    node::Fle,
    state::{LeaderPhase, Looking, Settled, State, Timer},
};

impl Fle {
    /// Starts a new round.
    pub(super) fn look(&mut self, reason: &str) {
        self.enter(State::Looking(Looking::default()), reason);
        self.know(None);
        self.reports.clear();
        self.set_round(self.round + 1, reason);
        self.back_off_anew();
        self.at(Moment::RoundBumped);
        match self.candidacy() {
            Some(vote) => self.cast(vote),
            None => self.announce(),
        }
    }

    pub(super) fn on_notification(
        &mut self,
        from: NodeId,
        round: u64,
        vote: Option<Vote>,
        standing: Standing,
        heard: bool,
    ) {
        if vote.is_some_and(|vote| !self.members.contains(&vote.leader)) {
            return;
        }
        if standing == Standing::Looking
            && round < self.round
            && self.options.defects.drops_earlier_rounds
        {
            self.hit("drops-earlier-rounds", "a vote");
            return;
        }
        match (&mut self.state, standing, vote) {
            (State::Looking(_), Standing::Looking, _) => self.on_ballot(from, round, vote, heard),
            (State::Looking(_), _, Some(vote)) => self.on_settled_vote(from, round, vote, standing),
            (_, Standing::Looking, _) => {
                self.notify(from);
                self.on_straggler(from, round, vote);
            }
            // Both have a leader; heartbeats say whether it is the same.
            _ => {}
        }
    }

    fn on_ballot(&mut self, from: NodeId, round: u64, vote: Option<Vote>, heard: bool) {
        let own_round = self.round;
        if round < own_round {
            // It adopts this round when it hears of it.
            if let State::Looking(looking) = &mut self.state {
                looking.heard.insert(from);
            }
            self.notify(from);
            return;
        }
        let later = round > own_round;
        if later {
            self.set_round(round, "a later round was heard of");
            let State::Looking(looking) = &mut self.state else { return };
            // The candidate that was known in the old round may not stand in this one, and who
            // could be reached then may have gone.
            looking.vote = None;
            looking.ballots.clear();
            looking.heard.clear();
            looking.reached.clear();
        }
        let State::Looking(looking) = &mut self.state else { return };
        let before = looking.vote;
        let met = looking.heard.insert(from);
        let nearer = heard && looking.reached.insert(from);
        if let Some(vote) = vote {
            looking.ballots.insert(from, vote);
        }
        looking.settled.remove(&from);
        let own = if later || nearer { self.candidacy() } else { None };
        let mut choice = before;
        for candidate in [vote, own].into_iter().flatten() {
            if self.improves(candidate, choice) {
                choice = Some(candidate);
            }
        }
        if later || choice != before {
            self.back_off_anew();
        }
        match choice {
            Some(vote) if choice != before => self.cast(vote),
            _ => {
                if later {
                    self.announce();
                } else if met || !heard || (vote.is_none() && choice.is_some()) {
                    self.notify(from);
                }
                self.count();
            }
        }
    }

    /// Whom this node nominates: itself, once it has exchanged votes with a majority.
    ///
    /// Votes travel by hearsay, further than connections do. A better candidate that only one
    /// member reaches would win every election and lead none. Therefore, as in the ballot leader
    /// election of OmniPaxos (EuroSys 2023, section 5), whoever is not connected to a quorum does
    /// not stand.
    fn candidacy(&mut self) -> Option<Vote> {
        let State::Looking(looking) = &self.state else { return None };
        if !self.members.contains(&self.id) {
            return None;
        }
        let connected = looking.reached.len() + 1 >= self.quorum();
        let highest = *self.members.last().expect("a cluster has a member");
        if self.options.defects.static_priority_election && highest != self.id {
            self.hit("static-priority-election", "nominates by rank");
            return Some(Vote { peer_epoch: 0, zxid: Zxid::default(), leader: highest });
        }
        if !connected && self.options.defects.stands_without_quorum {
            self.hit("stands-without-quorum", "nominates itself");
            return Some(self.own_vote());
        }
        connected.then(|| self.own_vote())
    }

    /// Votes for itself, where that is better than what it votes for.
    pub(super) fn stand(&mut self) {
        let State::Looking(looking) = &self.state else { return };
        let current = looking.vote;
        if let Some(own) = self.candidacy()
            && self.improves(own, current)
        {
            self.cast(own);
        }
    }

    fn on_settled_vote(&mut self, from: NodeId, round: u64, vote: Vote, standing: Standing) {
        let (leading, established) = match standing {
            Standing::Leading { established } => (true, established),
            Standing::Following { established } => (false, established),
            Standing::Looking => return,
        };
        let own_round = self.round;
        let State::Looking(looking) = &mut self.state else { return };
        looking.settled.insert(from, Settled { vote, round, leading });
        // It answers: each of the two has heard the other.
        looking.heard.insert(from);
        let nearer = looking.reached.insert(from);
        // The vote of a node that already follows an established leader speaks for that leader's
        // epoch, and for nobody who would have to win a new one.
        if round == own_round && !established {
            looking.ballots.insert(from, vote);
        } else {
            looking.ballots.remove(&from);
        }
        if self.can_join(vote, round) {
            self.set_round(round.max(self.round), "joins a leader of another round");
            self.follow(vote, "a majority names this leader");
            return;
        }
        if nearer {
            self.stand();
        }
        self.count();
    }

    /// Whether a majority outside this election names the same leader and epoch, and the leader
    /// itself is one of them: without its own word, nodes would go on electing a dead one.
    ///
    /// Only the leader and its epoch are compared: members that were elected, or joined, in
    /// different rounds report different rounds and zxids for one and the same leader.
    fn can_join(&mut self, vote: Vote, round: u64) -> bool {
        let State::Looking(looking) = &self.state else { return false };
        let agrees = |settled: &Settled| {
            settled.vote.leader == vote.leader && settled.vote.peer_epoch == vote.peer_epoch
        };
        let quorum = self.quorum();
        let agreeing = looking.settled.values().filter(|settled| agrees(settled)).count();
        let equal = looking.settled.values().filter(|it| it.vote == vote && it.round == round);
        let equal = equal.count();
        let leader_agrees = looking
            .settled
            .get(&vote.leader)
            .is_some_and(|settled| settled.leading && agrees(settled));
        if vote.leader == self.id || agreeing < quorum {
            return false;
        }
        if !leader_agrees && self.options.defects.no_check_leader {
            self.hit("no-check-leader", "joins without the leader's word");
            return true;
        }
        if leader_agrees && equal < quorum && self.options.defects.settled_vote_full_compare {
            self.hit("settled-vote-full-compare", "votes for one leader differ");
            return false;
        }
        leader_agrees
    }

    /// Whether a candidate is better than whom the node votes for, if it votes for anybody.
    fn improves(&mut self, candidate: Vote, current: Option<Vote>) -> bool {
        match current {
            Some(current) => self.is_better(candidate, current),
            // With this defect nobody gives its first vote to an equal, either.
            None if self.options.defects.no_id_tiebreak && candidate.leader != self.id => {
                let own = self.own_vote();
                self.is_better(candidate, own)
            }
            None => true,
        }
    }

    /// The order of candidates: the epoch that they were last in, then their log, then their id.
    pub(super) fn is_better(&mut self, one: Vote, other: Vote) -> bool {
        let better = one > other;
        let defects = self.options.defects;
        let (name, wrong) = if defects.zxid_only_order {
            let key = |vote: Vote| (vote.zxid, vote.leader);
            ("zxid-only-order", key(one) > key(other))
        } else if defects.no_id_tiebreak {
            let key = |vote: Vote| (vote.peer_epoch, vote.zxid);
            ("no-id-tiebreak", key(one) > key(other))
        } else {
            return better;
        };
        if wrong != better {
            self.hit(name, "compares candidates");
        }
        wrong
    }

    /// What a node that is not looking makes of one that is, beyond answering it.
    fn on_straggler(&mut self, from: NodeId, round: u64, vote: Option<Vote>) {
        let (id, own_round) = (self.id, self.round);
        match &mut self.state {
            State::Leading(leading) => {
                let LeaderPhase::Discovery(discovery) = &mut leading.phase else { return };
                if round > own_round || vote.is_some_and(|vote| vote.leader != id) {
                    discovery.deserters.insert(from);
                    // Nobody is left to accept the epoch: do not wait for the time to run out.
                    if !self.has_voters_left() {
                        self.look("its voters moved on");
                    }
                }
            }
            State::Following(following) => {
                let deserted = following.leader == from && round > own_round;
                if following.phase.is_discovery() {
                    if deserted {
                        self.look("the winner gave up");
                    }
                } else {
                    self.report_looking(from);
                }
            }
            State::Looking(_) => {}
        }
    }

    /// Votes, and tells everybody.
    pub(super) fn cast(&mut self, vote: Vote) {
        let id = self.id;
        let State::Looking(looking) = &mut self.state else { return };
        looking.vote = Some(vote);
        looking.ballots.insert(id, vote);
        // A better vote starts the wait again.
        if std::mem::take(&mut looking.finalizing) {
            self.cancel(Timer::Finalize);
        }
        self.emit(Event::VoteCast {
            candidate: vote.leader,
            in_term: self.round,
            prevote: false,
            zxid: Some(vote.zxid),
        });
        self.at(Moment::VoteCast);
        self.announce();
        self.count();
    }

    /// Tells everybody the own vote, or that there is none yet.
    fn announce(&mut self) {
        let now = self.now;
        if let State::Looking(looking) = &mut self.state {
            looking.sent_at = now;
        }
        for peer in self.peers().collect::<Vec<_>>() {
            self.notify(peer);
        }
    }

    fn count(&mut self) {
        let deadline = self.now + self.options.finalize_wait;
        let quorum = self.quorum();
        let State::Looking(looking) = &mut self.state else { return };
        let agreed = looking.supporters().count() >= quorum;
        if agreed && !looking.finalizing {
            looking.finalizing = true;
            self.set(Timer::Finalize, deadline);
        } else if !agreed && looking.finalizing {
            looking.finalizing = false;
            self.cancel(Timer::Finalize);
        }
    }

    /// Silence decides.
    pub(super) fn finalize(&mut self) {
        let State::Looking(looking) = &self.state else { return };
        let vote = looking.vote.expect("a majority votes for somebody");
        assert!(
            looking.supporters().count() >= self.quorum(),
            "the wait runs only while a majority agrees"
        );
        if vote.leader == self.id {
            self.lead();
        } else {
            self.follow(vote, "the election was decided");
        }
    }

    pub(super) fn resend(&mut self) {
        let longest = self.options.notify_max;
        let State::Looking(looking) = &mut self.state else { return };
        looking.resend_after = (looking.resend_after * 2).min(longest);
        self.announce();
        self.arm_resend();
    }

    /// Something moves again: votes are worth repeating soon.
    pub(super) fn back_off_anew(&mut self) {
        let shortest = self.options.notify_min;
        let State::Looking(looking) = &mut self.state else { return };
        looking.resend_after = shortest;
        self.arm_resend();
    }

    /// A leader is about, so ask again, but not with each of its heartbeats.
    pub(super) fn ask_again(&mut self) {
        let State::Looking(looking) = &self.state else { return };
        if self.now >= looking.sent_at + self.options.notify_min {
            self.back_off_anew();
            self.resend();
        }
    }

    fn arm_resend(&mut self) {
        let State::Looking(looking) = &self.state else { return };
        // Up to a tenth more, so that nodes that started together do not repeat in step for ever.
        let wait = looking.resend_after.mul_f64(self.rng.random_range(1.0..1.1));
        self.set(Timer::Resend, self.now + wait);
    }

    /// Tells one node the own vote.
    pub(super) fn notify(&mut self, peer: NodeId) {
        let (vote, standing) = self.state.ballot();
        let heard = match &self.state {
            State::Looking(looking) => looking.heard.contains(&peer),
            // It answers.
            _ => true,
        };
        self.send(peer, Message::Notification { round: self.round, vote, standing, heard });
    }

    fn set_round(&mut self, round: u64, cause: &str) {
        if round != self.round {
            let from = std::mem::replace(&mut self.round, round);
            self.note_change("round", from, round, cause);
            if self.options.defects.round_stored_not_epoch {
                self.store_round(round);
            }
        }
    }
}

impl Looking {
    /// The nodes that vote as this one does.
    pub(super) fn supporters(&self) -> impl Iterator<Item = NodeId> {
        let agreeing = self.ballots.iter().filter(|(_, ballot)| Some(**ballot) == self.vote);
        agreeing.map(|(id, _)| *id)
    }
}
