//! What etcd's log says, as events. The words are those of its raft library and have been the same
//! from 3.0 to 3.5, whatever the logger around them.
//!
//! What a log does not tell (heartbeats, appends, what is on the disk) is not guessed. A vote is
//! logged when it is decided, before it is on the disk.

use std::collections::BTreeMap;

use serde_json::Map;
use usurper_history::{EntryId, Event, NodeId, Persisted, Record, Role};

use super::teller::Teller;

/// The events that a log of etcd is read as.
pub const ETCD_EVENTS: &[&str] = &[
    "node-start",
    "role-change",
    "leader-elected",
    "term-change",
    "leader-known",
    "vote-msg",
    "vote-cast",
];

/// Follows the log of one server.
#[derive(Debug)]
pub struct EtcdLog {
    teller: Teller,
    /// Whether the server has told what it found on its disk; nothing is an event before that.
    started: bool,
    /// etcd's names for the members.
    members: BTreeMap<String, NodeId>,
    votes: Vec<NodeId>,
    /// Why the role is about to change, as the line before says.
    why: Option<String>,
    /// Whether it was told to stop.
    stopping: bool,
}

impl EtcdLog {
    /// Follows one incarnation of a server from its start.
    pub fn new(node: NodeId, inc: u32) -> Self {
        Self {
            teller: Teller::new(node, inc, "raft", Role::Follower),
            started: false,
            members: BTreeMap::new(),
            votes: Vec::new(),
            why: None,
            stopping: false,
        }
    }

    /// Notes who a member is.
    pub fn name_member(&mut self, id: &str, node: NodeId) {
        self.members.insert(id.to_owned(), node);
    }

    /// The log begins while the server runs.
    pub(super) fn join(&mut self) {
        self.started = true;
    }

    /// What a message of etcd's raft says at `t`: `<id> became leader at term 2`,
    /// `raft.node: <id> …`.
    pub fn message(&mut self, message: &str, t: u64) -> Vec<Record> {
        let words: Vec<_> = message.split_whitespace().collect();
        match words.as_slice() {
            ["newRaft", ..] => self.start(message, t),
            [_, "became", role, "at", "term", term] => match (role_of(role), term.parse()) {
                (Some(role), Ok(term)) => self.became(role, term, message, t),
                _ => Vec::new(),
            },
            ["raft.node:", _, verb, .., id, "at", "term", term] => {
                let leader = match *verb {
                    "elected" | "changed" => self.members.get(*id).copied(),
                    "lost" => None,
                    _ => return Vec::new(),
                };
                // A leader whose address has not been logged yet cannot be named.
                let known = leader.is_some() || *verb == "lost";
                match (known, term.parse()) {
                    (true, Ok(in_term)) => {
                        vec![self.teller.event(t, Event::LeaderKnown { leader, in_term })]
                    }
                    _ => Vec::new(),
                }
            }
            [_, "received", "MsgVoteResp", "from", id, "at", "term", term] => {
                match (self.members.get(*id).copied(), term.parse()) {
                    (Some(voter), Ok(in_term)) => self.granted(voter, in_term, t),
                    _ => Vec::new(),
                }
            }
            [
                _,
                _,
                _,
                "received",
                "a",
                _,
                "message",
                "with",
                "higher",
                "term",
                "from",
                id,
                _,
                term,
            ] => {
                let from = self.members.get(*id).map_or((*id).to_owned(), NodeId::to_string);
                let term = term.trim_end_matches(']');
                self.why = Some(format!("{from} told it of term {term}"));
                Vec::new()
            }
            ["received", .., "shutting", "down" | "down..."] => {
                self.stopping = true;
                Vec::new()
            }
            [_, "stepped", "down", "to", "follower", ..] => {
                self.why = Some("no majority answered it".to_owned());
                Vec::new()
            }
            [_, "is", "starting", "a", "new", "election", ..] => {
                self.why = Some("it heard from no leader".to_owned());
                Vec::new()
            }
            [
                _,
                ..,
                "cast",
                kind @ ("MsgVote" | "MsgPreVote"),
                "for",
                id,
                _,
                _,
                _,
                _,
                "at",
                "term",
                term,
            ] => {
                let candidate = self.members.get(*id).copied().filter(|_| self.started);
                match (candidate, term.parse()) {
                    (Some(candidate), Ok(in_term)) => {
                        let prevote = *kind == "MsgPreVote";
                        let cast = Event::VoteCast { candidate, in_term, prevote, zxid: None };
                        vec![self.teller.event(t, cast)]
                    }
                    _ => Vec::new(),
                }
            }
            _ => Vec::new(),
        }
    }

    /// `newRaft <id> [peers: [], term: 2, commit: 7, applied: 0, lastindex: 8, lastterm: 2]`
    fn start(&mut self, message: &str, t: u64) -> Vec<Record> {
        let number = |key: &str| -> Option<u64> {
            let (_, rest) = message.split_once(&format!(" {key}: "))?;
            rest.split([',', ']']).next()?.trim().parse().ok()
        };
        let last = number("lastterm").zip(number("lastindex"));
        let persisted = Persisted {
            term: number("term"),
            commit: number("commit"),
            applied: number("applied"),
            last: last.map(|(term, index)| EntryId { term, index }),
            ..Persisted::default()
        };
        self.teller.term = persisted.term.unwrap_or(self.teller.term);
        self.started = true;
        let fresh = number("lastindex") == Some(0);
        let start = Event::NodeStart { persisted, fresh, defects: Vec::new(), params: Map::new() };
        vec![self.teller.event(t, start)]
    }

    /// A vote was counted, its own included, which needs no message.
    fn granted(&mut self, voter: NodeId, in_term: u64, t: u64) -> Vec<Record> {
        self.votes.push(voter);
        if voter == self.teller.node || !self.started {
            return Vec::new();
        }
        let counted = Event::VoteMsg {
            dir: "recv".to_owned(),
            peer: voter,
            kind: "vote-resp".to_owned(),
            msg_term: in_term,
            candidate: Some(self.teller.node),
            last: None,
            zxid: None,
            granted: Some(true),
            reason: None,
        };
        vec![self.teller.event(t, counted)]
    }

    /// The server is known to have stored that it voted for `candidate` in `term`.
    pub(super) fn stored(&mut self, candidate: NodeId, term: u64, t: u64) -> Record {
        let stored = Event::Persist {
            what: "hard-state".to_owned(),
            value: Some(term),
            bound_to: Some(candidate),
            up_to: None,
            zxid: None,
            ok: true,
        };
        self.teller.event(t, stored)
    }

    fn became(&mut self, role: Role, term: u64, message: &str, t: u64) -> Vec<Record> {
        let (from_term, from) = (self.teller.term, self.teller.role);
        (self.teller.term, self.teller.role) = (term, role);
        if role == Role::Candidate {
            self.votes.clear();
        }
        if !self.started {
            self.why = None;
            return Vec::new();
        }
        let why = self.why.take();
        let told = self.stopping.then(|| "it was told to stop".to_owned());
        let reason = told.or(why).unwrap_or_else(|| message.to_owned());
        let mut records = Vec::new();
        if term != from_term {
            let (kind, cause) = ("term".to_owned(), reason.clone());
            let change = Event::TermChange { kind, from: from_term, to: term, cause };
            records.push(self.teller.event(t, change));
        }
        if role != from {
            let change = Event::RoleChange { from, to: role, phase: None, reason };
            records.push(self.teller.event(t, change));
        }
        if role == Role::Candidate {
            let vote = Event::VoteCast {
                candidate: self.teller.node,
                in_term: term,
                prevote: false,
                zxid: None,
            };
            records.push(self.teller.event(t, vote));
        }
        if role == Role::Leader {
            let mut votes = std::mem::take(&mut self.votes);
            votes.sort_unstable();
            votes.dedup();
            let how = "votes".to_owned();
            let (round, config) = (None, None);
            let elected = Event::LeaderElected {
                in_term: term,
                established: true,
                votes,
                how,
                round,
                config,
            };
            records.push(self.teller.event(t, elected));
        }
        records
    }
}

fn role_of(word: &str) -> Option<Role> {
    Some(match word {
        "follower" => Role::Follower,
        "pre-candidate" => Role::PreCandidate,
        "candidate" => Role::Candidate,
        "leader" => Role::Leader,
        _ => return None,
    })
}
