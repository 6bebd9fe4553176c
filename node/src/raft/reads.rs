//! Reads that cost no entry, of a leader and of its followers (section 6.4 of the thesis).
//!
//! - The leader notes what is committed, and asks a quorum in a round of heartbeats whether it still
//!   leads; then everything that was acknowledged before the read is in what it noted. It must have
//!   committed an entry of its own term first: before that it does not know what is committed.
//!   Contexts of rounds are never used twice, so that no late answer confirms a newer read.
//! - A follower asks its leader for the index, and answers once it has applied that. Its contexts are
//!   unique over restarts, too: the answer to an earlier read must not release a later one.
//! - With a lease the round is saved. Whoever answered a beat ignores campaigns for T after it came,
//!   so nobody else leads until T after the beat that a quorum answered was *sent*. Etcd's lease is
//!   the time between two looks at the quorum, which can outlive that by almost T; this one does not.
//!   It holds while no clock gains more than a tenth on another, it ends when somebody is told to
//!   campaign at once, and a restarted node keeps silent for T because it may have answered a beat.

use std::{collections::BTreeSet, mem};

use usurper_history::{Event, NodeId};

use super::{
    message::Message,
    node::Raft,
    options::{Defect, Reads},
    service::WAITING_MAX,
    state::{Asker, Forwarded, PendingRead, State, Waiting},
};
use crate::protocol::Reply;

/// Beats that wait for an answer; a quorum that answers none of so many has answered none in T.
const ROUNDS_MAX: usize = 1024;

impl Raft {
    /// Serves a read as the leader.
    pub(super) fn read(&mut self, asker: Asker) {
        if self.has(Defect::ReadLocalLeader) {
            self.hit(Defect::ReadLocalLeader, "a read that no quorum confirmed");
            self.release_read(asker, "local", self.applied, None, None);
            return;
        }
        let index = self.commit;
        if self.log.term(index) != Some(self.hard.term) {
            if !self.has(Defect::ReadindexBeforeOwnCommit) {
                let State::Leader(leading) = &mut self.state else { return };
                leading.early.push(asker);
                return;
            }
            self.hit(Defect::ReadindexBeforeOwnCommit, "a read before an own entry is committed");
        }
        if self.options.reads == Reads::Lease && self.has_lease() {
            self.release_read(asker, "lease", index, None, None);
            return;
        }
        if self.context > 0 && self.has(Defect::ReadindexReuseCtx) {
            self.hit(Defect::ReadindexReuseCtx, "a second round");
        } else {
            self.context += 1;
        }
        let State::Leader(leading) = &mut self.state else { return };
        let confirmed = BTreeSet::from([self.id]);
        leading.reads.insert(self.context, PendingRead { asker, index, confirmed });
        if self.is_alone() {
            self.release_reads(self.context);
        } else {
            self.broadcast_heartbeat();
        }
    }

    /// Reads that came before this term had committed anything.
    pub(super) fn start_early_reads(&mut self) {
        if self.log.term(self.commit) != Some(self.hard.term) {
            return;
        }
        let State::Leader(leading) = &mut self.state else { return };
        for asker in mem::take(&mut leading.early) {
            self.read(asker);
        }
    }

    /// A follower answered a heartbeat of this context, so nobody else led when it was sent, nor when
    /// those before it were.
    pub(super) fn confirm_reads(&mut self, from: NodeId, context: u64) {
        let electorate = self.electorate();
        let State::Leader(leading) = &mut self.state else { return };
        let mut confirmed = None;
        for (round, read) in leading.reads.range_mut(..=context) {
            read.confirmed.insert(from);
            if electorate.is_quorum(|node| read.confirmed.contains(&node)) {
                confirmed = Some(*round);
            }
        }
        if let Some(round) = confirmed {
            self.release_reads(round);
        }
    }

    /// Answers every read up to this context: what confirms one confirms those before it.
    fn release_reads(&mut self, context: u64) {
        let State::Leader(leading) = &mut self.state else { return };
        let later = leading.reads.split_off(&(context + 1));
        let released = mem::replace(&mut leading.reads, later);
        let confirmed_by: Option<Vec<_>> =
            released.get(&context).map(|read| read.confirmed.iter().copied().collect());
        for (context, PendingRead { asker, index, .. }) in released {
            // A leader applies what it commits in the same step.
            debug_assert!(self.applied >= index, "applied what was committed");
            self.release_read(asker, "readindex", index, Some(context), confirmed_by.clone());
        }
    }

    /// Answers a client, or tells a follower the index.
    fn release_read(
        &mut self,
        asker: Asker,
        mode: &str,
        index: u64,
        context: Option<u64>,
        confirmed_by: Option<Vec<NodeId>>,
    ) {
        match asker {
            Asker::Client { waiting, key } => {
                self.note_read(mode, index, context, confirmed_by);
                let value = self.machine.get(&key);
                self.reply(waiting.client, Reply::done(waiting.serial, value));
            }
            Asker::Node { id, context } => {
                let term = self.hard.term;
                self.send(id, Message::ReadReply { term, context, index: Some(index) });
            }
        }
    }

    pub(super) fn note_read(
        &mut self,
        mode: &str,
        index: u64,
        context: Option<u64>,
        confirmed_by: Option<Vec<NodeId>>,
    ) {
        let ctx = context.map(|context| context.to_string());
        self.emit(Event::Read { mode: mode.to_owned(), index, ctx, confirmed_by });
    }

    /// A follower's client reads: the leader is asked for the index.
    pub(super) fn forward_read(
        &mut self,
        leader: NodeId,
        waiting: Waiting,
        key: String,
    ) -> Result<(), String> {
        if self.forwarded.len() >= WAITING_MAX {
            return Err("too many operations wait for an answer".to_owned());
        }
        self.read_context += 1;
        let context = self.read_context;
        self.forwarded.insert(context, Forwarded { waiting, key, index: None });
        self.send(leader, Message::ReadRequest { term: self.hard.term, context });
        Ok(())
    }

    /// A follower's question.
    pub(super) fn on_read_request(&mut self, from: NodeId, context: u64) {
        let State::Leader(leading) = &self.state else { return };
        if leading.reads.len() + leading.early.len() >= WAITING_MAX {
            self.send(from, Message::ReadReply { term: self.hard.term, context, index: None });
            return;
        }
        self.read(Asker::Node { id: from, context });
    }

    /// The leader's answer.
    pub(super) fn on_read_reply(&mut self, context: u64, index: Option<u64>) {
        let Some(read) = self.forwarded.get_mut(&context) else { return };
        match index {
            Some(_) => {
                read.index = index;
                self.serve_forwarded();
            }
            None => {
                let Waiting { client, serial } = read.waiting;
                self.forwarded.remove(&context);
                self.reply(client, Reply::refused(serial, "the leader has too many reads"));
            }
        }
    }

    /// Answers the reads whose index is applied.
    pub(super) fn serve_forwarded(&mut self) {
        let applied = self.applied;
        let ready: Vec<_> = self
            .forwarded
            .extract_if(.., |_, read| read.index.is_some_and(|index| index <= applied))
            .collect();
        for (context, Forwarded { waiting, key, index }) in ready {
            self.note_read("readindex", index.unwrap_or_default(), Some(context), None);
            let value = self.machine.get(&key);
            self.reply(waiting.client, Reply::done(waiting.serial, value));
        }
    }

    /// The leader that was asked leads no more, or not for this node: it will not answer.
    pub(super) fn refuse_forwarded(&mut self) {
        let lost: Vec<_> = self.forwarded.extract_if(.., |_, read| read.index.is_none()).collect();
        for (_, Forwarded { waiting: Waiting { client, serial }, .. }) in lost {
            self.reply(client, Reply::refused(serial, "the leader was lost"));
        }
    }

    /// A beat is about to be sent that the lease may run from.
    pub(super) fn note_round(&mut self) {
        self.context += 1;
        let State::Leader(leading) = &mut self.state else { return };
        let rounds = &mut leading.lease.rounds;
        if rounds.len() >= ROUNDS_MAX {
            rounds.pop_front();
        }
        rounds.push_back((self.context, self.now));
    }

    /// A follower answered a beat. What a quorum has answered, the lease runs from.
    pub(super) fn extend_lease(&mut self, from: NodeId, context: u64) {
        if self.options.reads != Reads::Lease {
            return;
        }
        let (electorate, length) = (self.electorate(), self.options.election_timeout * 9 / 10);
        let from_response = self.has(Defect::LeaseFromResponse);
        let (id, now) = (self.id, self.now);
        let State::Leader(leading) = &mut self.state else { return };
        let lease = &mut leading.lease;
        let answered = lease.answered.entry(from).or_insert(0);
        *answered = context.max(*answered);
        let newest = |node| match lease.answered.get(&node) {
            _ if node == id => u64::MAX,
            answered => answered.copied().unwrap_or(0),
        };
        let round = electorate.quorum_index(newest);
        while let Some((context, sent)) = lease.rounds.front().copied()
            && context <= round
        {
            lease.rounds.pop_front();
            let start = if from_response { now } else { sent };
            lease.until = lease.until.max(start + length);
        }
    }

    fn has_lease(&mut self) -> bool {
        let State::Leader(leading) = &self.state else { return false };
        let lease = &leading.lease;
        if self.now >= lease.until && !self.is_alone() {
            return false;
        }
        if lease.given_up {
            if !self.has(Defect::LeaseSurvivesTransfer) {
                return false;
            }
            self.hit(Defect::LeaseSurvivesTransfer, "a read in a lease that was given up");
        }
        if self.has(Defect::LeaseFromResponse) {
            self.hit(Defect::LeaseFromResponse, "a read in a lease");
        }
        true
    }
}
