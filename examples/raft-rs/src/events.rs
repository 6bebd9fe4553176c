//! What raft-rs does, in usurper's words.
//!
//! raft-rs tells nobody what it decides. But it shows its term, its vote, its role and its leader, and
//! after each call one can see what has changed. A call makes one step of an election, so nothing is
//! overlooked: a candidate wins when a vote arrives, and not while it becomes a candidate. The rest is
//! seen in the messages that it wants sent.

use std::collections::BTreeSet;

use raft::{
    Raft, StateRole,
    eraftpb::{Entry, Message, MessageType},
};
use usurper_history::{EntryId, Event, NodeId, Role};
use usurper_node::raft::Entry as Told;

use crate::{
    log::{Log, id},
    node::{Node, node, role},
    service::command,
};

/// What raft-rs showed at the last look.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    term: u64,
    vote: u64,
    state: StateRole,
    leader: u64,
    transferee: Option<u64>,
    /// Who voted for this node in its term.
    votes: BTreeSet<NodeId>,
}

impl Shown {
    pub(crate) fn new(raft: &Raft<Log>) -> Self {
        Self {
            term: raft.term,
            vote: raft.vote,
            state: raft.state,
            leader: raft.leader_id,
            transferee: raft.lead_transferee,
            votes: BTreeSet::new(),
        }
    }

    /// A vote came.
    pub(crate) fn granted(&mut self, voter: NodeId, term: u64) {
        if self.state == StateRole::Candidate && self.term == term {
            self.votes.insert(voter);
        }
    }

    /// What has changed, as events; whether a leadership has ended; and whether the leader that was
    /// known is not the leader any more.
    pub(crate) fn look(&mut self, raft: &Raft<Log>, cause: &str) -> (Vec<Event>, bool, bool) {
        let new = Self { votes: self.votes.clone(), ..Self::new(raft) };
        let old = std::mem::replace(self, new);
        let mut events = Vec::new();
        let new_term = self.term != old.term;
        if new_term {
            events.push(Event::TermChange {
                kind: "term".to_owned(),
                from: old.term,
                to: self.term,
                cause: cause.to_owned(),
            });
        }
        let campaigns = self.state == StateRole::Candidate && new_term;
        if self.state != old.state || campaigns {
            events.push(change(role(old.state), role(self.state), None, cause));
        }
        if campaigns {
            self.votes = node(raft.id).into_iter().collect();
        }
        let begins = self.state == StateRole::Leader && (old.state != self.state || new_term);
        if begins {
            events.push(Event::LeaderElected {
                in_term: self.term,
                established: true,
                votes: self.votes.iter().copied().collect(),
                how: "votes".to_owned(),
                round: None,
                config: None,
            });
        }
        if self.leader != old.leader {
            events.push(Event::LeaderKnown { leader: node(self.leader), in_term: self.term });
        }
        if let Some(candidate) = node(self.vote)
            && (new_term || self.vote != old.vote)
        {
            events.push(vote_cast(candidate, self.term, false));
        }
        if self.transferee != old.transferee && self.state == StateRole::Leader {
            let phase = if self.transferee.is_some() { "transfer" } else { "steady" };
            events.push(change(Role::Leader, Role::Leader, Some(phase), cause));
        }
        let deposed = old.state == StateRole::Leader && (self.state != old.state || new_term);
        (events, deposed, new_term || self.leader != old.leader)
    }
}

fn change(from: Role, to: Role, phase: Option<&str>, reason: &str) -> Event {
    Event::RoleChange { from, to, phase: phase.map(str::to_owned), reason: reason.to_owned() }
}

fn vote_cast(candidate: NodeId, in_term: u64, prevote: bool) -> Event {
    Event::VoteCast { candidate, in_term, prevote, zxid: None }
}

impl Node {
    /// Entries that raft-rs has put into its log, and that are to be saved. `after` is the place of a
    /// snapshot that comes with them.
    pub(crate) fn note_entries(&mut self, entries: &[Entry], after: EntryId) {
        let Some(first) = entries.first() else { return };
        let log = self.raw.store();
        let mut prev = match after.index {
            0 => log.last(),
            _ => after,
        };
        if after.index == 0
            && let Some(dropped) = log.at(first.index)
        {
            prev = log.at(first.index - 1).unwrap_or_default();
            let truncate = Event::Truncate {
                first: dropped,
                last: log.last(),
                cause: "a conflict with the leader's log".to_owned(),
                // raft-rs may have committed what takes its place in the same call.
                commit: self.committed,
            };
            self.emit(truncate);
        }
        let leads = self.raw.raft.state == StateRole::Leader;
        let told = |entry: &Entry| Told { id: id(entry), command: command(entry) };
        let told: Vec<_> = entries.iter().map(told).collect();
        // One event for each kind and term, so that the terms between first and last are known.
        let alike =
            |one: &Told, other: &Told| one.kind() == other.kind() && one.id.term == other.id.term;
        for batch in told.chunk_by(alike) {
            let last = batch[batch.len() - 1].id;
            self.emit(Event::Append {
                first: batch[0].id,
                last,
                digests: batch.iter().map(Told::digest).collect(),
                kind: batch[0].kind().to_owned(),
                origin: if leads { "self" } else { "leader" }.to_owned(),
                prev: Some(prev),
            });
            prev = last;
        }
    }

    /// What a message promises to its receiver.
    pub(crate) fn note_promise(&mut self, to: NodeId, message: &Message) {
        if message.reject {
            return;
        }
        let in_term = message.term;
        let (kind, id) = match message.get_msg_type() {
            MessageType::MsgRequestPreVoteResponse => {
                self.emit(vote_cast(to, in_term, true));
                return;
            }
            MessageType::MsgRequestVoteResponse => ("vote", None),
            // Without an index it only tells a leader of an earlier term about this one.
            MessageType::MsgAppendResponse if message.index > 0 => {
                let index = message.index;
                let Ok(term) = self.raw.raft.raft_log.term(index) else { return };
                ("append", Some(EntryId { term, index }))
            }
            _ => return,
        };
        self.emit(Event::Ack { to, kind: kind.to_owned(), in_term, id, durable_up_to: id });
    }

    /// Election messages are part of the history; the others have events of their own.
    pub(crate) fn note_vote_message(&mut self, dir: &str, peer: NodeId, message: &Message) {
        let (kind, asks) = match message.get_msg_type() {
            MessageType::MsgRequestVote => ("vote-req", true),
            MessageType::MsgRequestPreVote => ("prevote-req", true),
            MessageType::MsgRequestVoteResponse => ("vote-resp", false),
            MessageType::MsgRequestPreVoteResponse => ("prevote-resp", false),
            _ => return,
        };
        let candidate = if dir == "send" { self.id } else { peer };
        let last = EntryId { term: message.log_term, index: message.index };
        self.emit(Event::VoteMsg {
            dir: dir.to_owned(),
            peer,
            kind: kind.to_owned(),
            msg_term: message.term,
            candidate: asks.then_some(candidate),
            last: asks.then_some(last),
            zxid: None,
            granted: (!asks).then_some(!message.reject),
            reason: None,
        });
    }

    pub(crate) fn note_heartbeat(
        &mut self,
        dir: &str,
        peer: Option<NodeId>,
        msg_term: u64,
        leader: NodeId,
        commit: u64,
        reason: Option<String>,
    ) {
        let (dir, commit) = (dir.to_owned(), Some(commit));
        self.emit(Event::Heartbeat { dir, peer, msg_term, leader, commit, reason });
    }
}
