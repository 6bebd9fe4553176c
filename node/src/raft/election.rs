//! Who leads: campaigns, votes, and when a leader gives up. The rules are those of etcd's `raft.go`.
//!
//! - A message of a higher term makes a follower of its receiver, with two exceptions: a request for
//!   a vote that falls into the lease of a leader is ignored, and prevotes change no term.
//! - A message of a lower term is ignored, with two exceptions. A leader of a lower term is
//!   answered, or a node that once raised its term alone could never return (it is ignored by those
//!   who have a leader, and ignores their leader itself). A prevote of a lower term is refused
//!   with the higher one, or nodes whose terms and logs are ordered oppositely wait for ever.
//! - A vote is granted once per term, first come, to a log that is at least as up to date, and
//!   while no leader of the term is known.
//! - A node that campaigns has no leader, and so no lease to honour.
//! - A node that lost its disk does not know what it has promised: it neither votes nor campaigns, and
//!   only takes entries, until it is replaced by one with another id.

use std::collections::BTreeMap;

use usurper_history::{EntryId, Event, NodeId};

use super::{
    config::{Config, Configs, Placed, Tally},
    durable::HardState,
    message::Message,
    node::Raft,
    options::Defect,
    progress::Progress,
    state::{Leading, State, Timer},
};

impl Raft {
    pub(super) fn receive(&mut self, from: NodeId, message: Message) {
        if from == self.id || !self.members.contains(&from) {
            return;
        }
        let ignored = self.why_ignored(from, &message);
        self.note_vote_message("recv", from, &message, ignored);
        if ignored.is_some() {
            return;
        }
        let term = message.term();
        if term < self.hard.term {
            self.answer_the_past(from, &message);
            return;
        }
        if term > self.hard.term {
            if self.has(Defect::LeaderIgnoresHigherTerm) && matches!(self.state, State::Leader(_)) {
                self.hit(Defect::LeaderIgnoresHigherTerm, "a message of a higher term");
                return;
            }
            self.meet_higher_term(from, &message);
        }
        match message {
            Message::VoteRequest { term, prevote, last, .. } => {
                self.on_vote_request(from, term, prevote, last);
            }
            Message::VoteReply { term, prevote, granted } => {
                self.on_vote_reply(from, term, prevote, granted);
            }
            Message::Append { prev, entries, commit, .. } => {
                self.on_append(from, prev, entries, commit);
            }
            Message::AppendReply { matched, refused, .. } => {
                self.on_append_reply(from, matched, refused);
            }
            Message::Heartbeat { term, commit, context } => {
                self.on_heartbeat(from, term, commit, context);
            }
            Message::HeartbeatReply { context, .. } => self.on_heartbeat_reply(from, context),
            Message::Snapshot { last, offset, piece, done, .. } => {
                self.on_snapshot(from, last, offset, &piece, done);
            }
            Message::SnapshotReply { last, received, .. } => {
                self.on_snapshot_reply(from, last, received);
            }
            Message::TimeoutNow { .. } => self.on_timeout_now(),
            Message::Transfer { to, .. } => self.on_transfer(to),
            Message::ReadRequest { context, .. } => self.on_read_request(from, context),
            Message::ReadReply { context, index, .. } => self.on_read_reply(context, index),
        }
    }

    /// Why a request for a vote gets no answer at all.
    fn why_ignored(&mut self, from: NodeId, message: &Message) -> Option<&'static str> {
        let Message::VoteRequest { term, prevote, forced, .. } = *message else { return None };
        if term > self.hard.term && !forced && self.in_lease() {
            if matches!(self.state, State::PreCandidate(_) | State::Candidate(_)) {
                self.hit(Defect::CampaignerKeepsLeader, "a campaign in the lease of nobody");
            }
            return Some("in the lease of a leader");
        }
        if self.abstains {
            return Some("this node has lost its disk");
        }
        if self.has(Defect::LearnerRefusesVote) && !self.config().is_voter(self.id) {
            self.hit(Defect::LearnerRefusesVote, &format!("a request of {from}"));
            return Some("this node has no vote");
        }
        if term < self.hard.term && prevote && self.has(Defect::DropLowTermPrevote) {
            self.hit(Defect::DropLowTermPrevote, &format!("a prevote of {from}"));
            return Some("of a lower term");
        }
        None
    }

    /// Whether a leader was heard so lately that no campaign can be needed. A leader is in its own
    /// lease until it finds that it has no quorum.
    fn in_lease(&self) -> bool {
        let on = self.options.lease && self.options.check_quorum;
        let heard = match self.state {
            State::Leader(_) => true,
            _ => {
                self.leader.is_some()
                    && self.now.since(self.quiet_since) < self.options.election_timeout
                    || self.now < self.silent_until
            }
        };
        on && heard && !self.has(Defect::NoCheckquorum)
    }

    /// A message of a lower term. Its sender may need to hear of the higher one.
    fn answer_the_past(&mut self, from: NodeId, message: &Message) {
        let term = self.hard.term;
        match message {
            Message::Heartbeat { term: theirs, commit, .. } => {
                self.note_heartbeat("rejected", Some(from), *theirs, from, *commit, "a lower term");
                self.answer_lower_leader(from);
            }
            Message::Append { .. } | Message::Snapshot { .. } => self.answer_lower_leader(from),
            Message::TimeoutNow { .. } => self.late_timeout_now(),
            Message::VoteRequest { prevote: true, .. } => {
                self.send(from, Message::VoteReply { term, prevote: true, granted: false });
            }
            _ => {}
        }
    }

    /// The leader of a lower term hears of ours, and steps down. Only with a prevote or a lease:
    /// without them this node's own campaign deposes it.
    fn answer_lower_leader(&mut self, from: NodeId) {
        if !self.options.prevote && !self.options.check_quorum {
            return;
        }
        if self.has(Defect::NoReplyToLowerTermLeader) {
            self.hit(Defect::NoReplyToLowerTermLeader, "a message of a leader of a lower term");
            return;
        }
        let term = self.hard.term;
        self.send(from, Message::AppendReply { term, matched: 0, refused: None });
    }

    fn meet_higher_term(&mut self, from: NodeId, message: &Message) {
        let term = message.term();
        match message {
            Message::VoteRequest { prevote: true, .. }
            | Message::VoteReply { prevote: true, granted: true, .. } => {}
            Message::Append { .. } | Message::Heartbeat { .. } | Message::Snapshot { .. } => {
                self.step_down(term, Some(from), "a leader of a higher term");
            }
            _ => self.step_down(term, None, "a higher term"),
        }
    }

    /// Becomes a follower in `term`, its own or a higher one.
    pub(super) fn step_down(&mut self, term: u64, leader: Option<NodeId>, reason: &str) {
        if term > self.hard.term {
            self.enter_term(term, reason);
        } else if self.hard.vote.is_some() && self.has(Defect::VoteClearedOnStepDown) {
            // The vote belongs to the term: only a higher term frees it.
            self.hit(Defect::VoteClearedOnStepDown, reason);
            self.write_hard(HardState { vote: None, ..self.hard });
        }
        self.enter(State::Follower, reason);
        self.know(leader);
        self.draw_patience();
        self.restart_timer();
    }

    /// A leader of this very term speaks. Whether it is heard.
    pub(super) fn follow(&mut self, leader: NodeId) -> bool {
        match self.state {
            State::Leader(_) => return false,
            State::Candidate(_) if self.has(Defect::CandidateIgnoresLeader) => {
                self.hit(Defect::CandidateIgnoresLeader, "a leader of this term speaks");
                return false;
            }
            State::Follower => {
                self.restart_timer();
                self.know(Some(leader));
            }
            State::PreCandidate(_) | State::Candidate(_) => {
                self.step_down(self.hard.term, Some(leader), "this term has a leader");
            }
        }
        true
    }

    fn on_vote_request(&mut self, from: NodeId, term: u64, prevote: bool, last: EntryId) {
        let HardState { term: own_term, vote } = self.hard;
        let free = vote == Some(from)
            || vote.is_none() && self.leader.is_none()
            || prevote && term > own_term;
        let own = self.log.last();
        let mut up_to_date = last >= own;
        if free && last == own && self.has(Defect::VoteNeedsStrictlyNewer) {
            self.hit(Defect::VoteNeedsStrictlyNewer, "an equal log");
            up_to_date = false;
        }
        if !(free && up_to_date) {
            if self.has(Defect::RefusedVoteResetsTimer) {
                self.hit(Defect::RefusedVoteResetsTimer, "a vote that was refused");
                self.restart_timer();
            }
            self.send(from, Message::VoteReply { term: own_term, prevote, granted: false });
            return;
        }
        self.emit(Event::VoteCast { candidate: from, in_term: term, prevote, zxid: None });
        if !prevote {
            self.restart_timer();
            self.cast_vote(from);
            self.emit(Event::Ack {
                to: from,
                kind: "vote".to_owned(),
                in_term: term,
                id: None,
                durable_up_to: None,
            });
        }
        self.send(from, Message::VoteReply { term, prevote, granted: true });
    }

    /// Binds this node to a candidate for the rest of the term.
    fn cast_vote(&mut self, candidate: NodeId) {
        if self.hard.vote == Some(candidate) {
            return;
        }
        if self.has(Defect::VoteNotSynced) {
            self.write_vote_unsynced(candidate);
            self.hit(Defect::VoteNotSynced, "a vote that nobody synced");
            return;
        }
        self.write_hard(HardState { vote: Some(candidate), ..self.hard });
        self.flush();
    }

    /// No leader was heard for long; as a leader: time to look for the quorum.
    pub(super) fn election_timeout(&mut self) {
        match self.state {
            State::Leader(_) => self.check_quorum(),
            _ if self.makes_its_own_cluster() => self.bootstrap_alone(),
            // A learner, or a node that was removed: nobody waits for its campaign.
            _ if !self.may_campaign() => {
                self.know(None);
                self.restart_timer();
            }
            _ if self.options.prevote => self.campaign_for_prevotes(),
            _ => self.campaign(false),
        }
    }

    /// A leader that no quorum answered since the last look cannot commit, and may have been
    /// replaced: it steps down, so that its followers can elect one that they all reach.
    fn check_quorum(&mut self) {
        self.set(Timer::Election, self.now + self.options.election_timeout);
        self.limit_catch_up();
        let State::Leader(leading) = &self.state else { return };
        let active = |node| leading.progress.get(&node).is_some_and(|progress| progress.active);
        let has_quorum = self.in_force().is_quorum(|node| node == self.id || active(node));
        let State::Leader(leading) = &mut self.state else { return };
        for progress in leading.progress.values_mut() {
            progress.active = false;
        }
        if has_quorum || !self.options.check_quorum {
            self.give_up_transfer();
            return;
        }
        for defect in [Defect::NoCheckquorum, Defect::LeaseWithoutCheckquorum] {
            if self.has(defect) {
                self.hit(defect, "a leader without a quorum");
                return;
            }
        }
        self.step_down(self.hard.term, None, "no quorum answers");
    }

    /// The defect `bootstrap-without-expect`: it never heard of a cluster, and nobody is there.
    fn makes_its_own_cluster(&self) -> bool {
        self.has(Defect::BootstrapWithoutExpect)
            && self.fresh
            && self.hard == HardState::default()
            && self.misled.reached.is_empty()
    }

    fn bootstrap_alone(&mut self) {
        self.hit(Defect::BootstrapWithoutExpect, "a cluster of one node");
        let config = Config::of([self.id]);
        self.configs = Configs::new(Placed { id: EntryId::default(), config });
        self.campaign(false);
    }

    pub(super) fn campaign_for_prevotes(&mut self) {
        self.enter(State::PreCandidate(BTreeMap::from([(self.id, true)])), "no leader is heard");
        self.give_up_leader();
        if self.is_alone() {
            self.campaign(false);
            return;
        }
        let (term, last) = (self.hard.term + 1, self.log.last());
        self.ask_all(&Message::VoteRequest { term, prevote: true, forced: false, last });
    }

    /// Raises the term and asks for votes; `forced` if the leader asked for it.
    pub(super) fn campaign(&mut self, forced: bool) {
        let term = self.hard.term + 1;
        self.enter_term(term, "campaign");
        let reason = if forced { "the leader hands over" } else { "campaign" };
        let again = matches!(self.state, State::Candidate(_));
        self.enter(State::Candidate(BTreeMap::from([(self.id, true)])), reason);
        self.forced = forced;
        self.give_up_leader();
        self.emit(Event::VoteCast {
            candidate: self.id,
            in_term: term,
            prevote: false,
            zxid: None,
        });
        self.write_hard(HardState { term, vote: Some(self.id) });
        // The own vote counts like any other: once it is durable.
        self.flush();
        if self.is_alone() {
            self.lead(vec![self.id]);
            return;
        }
        if again && self.has(Defect::CandidateRestartWithoutPoll) {
            self.hit(Defect::CandidateRestartWithoutPoll, "a second campaign");
            return;
        }
        self.ask_all(&Message::VoteRequest { term, prevote: false, forced, last: self.log.last() });
    }

    /// A node that campaigns has no leader. If it kept the old one, it would refuse its rivals in
    /// the lease of a node that it found dead itself.
    fn give_up_leader(&mut self) {
        if !self.has(Defect::CampaignerKeepsLeader) {
            self.know(None);
        }
        self.draw_patience();
        self.restart_timer();
    }

    fn ask_all(&mut self, message: &Message) {
        let mut peers = self.asked();
        peers.remove(&self.id);
        for peer in peers {
            self.send(peer, message.clone());
        }
    }

    fn on_vote_reply(&mut self, from: NodeId, term: u64, prevote: bool, granted: bool) {
        let asked = self.hard.term + u64::from(prevote && granted);
        let votes = match &mut self.state {
            State::PreCandidate(votes) if prevote => votes,
            State::Candidate(votes) if !prevote => votes,
            _ => return,
        };
        // A grant of an earlier round says nothing about this one.
        if term != asked {
            return;
        }
        votes.insert(from, granted);
        let votes = votes.clone();
        match self.decide_election(&votes) {
            Tally::Won if prevote => self.campaign(false),
            Tally::Won => {
                let granted = |node: &NodeId| votes.get(node) == Some(&true);
                self.lead(self.counted().into_iter().filter(granted).collect());
            }
            Tally::Lost => self.step_down(self.hard.term, None, "a quorum refused"),
            Tally::Open => {}
        }
    }

    pub(super) fn lead(&mut self, votes: Vec<NodeId>) {
        let next = self.log.last().index + 1;
        let peers = self.receivers().into_iter();
        let progress = peers.map(|peer| (peer, Progress::new(next))).collect();
        let leading = Leading { progress, ..Leading::default() };
        self.enter(State::Leader(Box::new(leading)), "elected");
        self.led = true;
        self.emit(Event::LeaderElected {
            in_term: self.hard.term,
            established: true,
            votes,
            how: if self.forced { "transfer" } else { "votes" }.to_owned(),
            round: None,
            config: Some(self.config_id().index),
        });
        self.know(Some(self.id));
        self.set(Timer::Election, self.now + self.options.election_timeout);
        if self.is_mute() {
            self.hit(Defect::NoHbAfterElected, "elected");
        }
        self.beat();
        // Entries of earlier terms are committed by this one.
        self.propose(super::command::Command::Noop, None);
    }
}
