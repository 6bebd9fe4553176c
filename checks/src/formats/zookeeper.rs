//! What ZooKeeper's log says, as events. Written for the lines of 3.8; those of 3.4 to 3.7 that tell
//! of elections differ only in how a notification is spelled.
//!
//! A leader is established when it has a quorum of supporters: that line names the supporters and,
//! in the upper half of the zxid that it starts with, the epoch. That votes were counted (`LEADING`)
//! is a change of role and no more. What a follower accepted, and when, is not logged. A server that
//! proposes itself tells the epoch that it has on its disk.

use std::collections::BTreeMap;

use serde_json::Map;
use usurper_history::{Event, NodeId, Persisted, Record, Role, Zxid};

use super::teller::Teller;

/// The events that a log of ZooKeeper is read as.
pub const ZOOKEEPER_EVENTS: &[&str] = &[
    "node-start",
    "role-change",
    "leader-elected",
    "term-change",
    "vote-msg",
    "vote-cast",
    "persist",
    "leader-known",
];

/// Follows the log of one server.
#[derive(Debug)]
pub struct ZookeeperLog {
    teller: Teller,
    sid: u64,
    phase: Option<String>,
    members: BTreeMap<u64, NodeId>,
    /// Whom the server votes for, and who says that it leads.
    vote: Option<u64>,
    leading: Option<u64>,
    /// Why the role is about to change, as a line before says.
    why: Option<String>,
}

/// A line about a vote of some server, its own included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notification {
    pub(super) sid: u64,
    pub(super) state: String,
    pub(super) leader: u64,
    pub(super) round: u64,
    pub(super) peer_epoch: u64,
    pub(super) zxid: u64,
}

impl Notification {
    /// `Notification: my state:LOOKING; n.sid:1, n.state:LOOKING, n.leader:3, n.round:0x1, …`, or,
    /// before 3.8, `Notification: … 3 (n.leader), 0x1 (n.round), …`.
    pub(super) fn parse(message: &str) -> Option<Self> {
        let rest = message.strip_prefix("Notification: ")?;
        let field = |name: &str| -> Option<&str> {
            if let Some((_, after)) = rest.split_once(&format!("n.{name}:")) {
                return after.split([',', ';', ' ']).next();
            }
            let (before, _) = rest.split_once(&format!(" (n.{name})"))?;
            before.rsplit([',', ' ', ')']).next()
        };
        Some(Self {
            sid: number(field("sid")?)?,
            state: field("state")?.to_owned(),
            leader: number(field("leader")?)?,
            round: number(field("round")?)?,
            peer_epoch: field("peerEpoch").or_else(|| field("peerEPoch")).and_then(number)?,
            zxid: number(field("zxid")?)?,
        })
    }
}

/// Decimal, or hexadecimal with `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn zxid(number: u64) -> Zxid {
    Zxid { epoch: number >> 32, counter: number & 0xffff_ffff }
}

impl ZookeeperLog {
    /// Follows one incarnation of the server `sid` from its start.
    pub fn new(node: NodeId, inc: u32, sid: u64) -> Self {
        Self {
            teller: Teller::new(node, inc, "zab", Role::Looking),
            sid,
            phase: None,
            members: BTreeMap::from([(sid, node)]),
            vote: None,
            leading: None,
            why: None,
        }
    }

    /// Notes who a server is.
    pub fn name_member(&mut self, sid: u64, node: NodeId) {
        self.members.insert(sid, node);
    }

    /// What a message says at `t`. A `leader-known` comes without its epoch, which no follower logs:
    /// its `in-term` is 0.
    pub fn message(&mut self, message: &str, t: u64) -> Vec<Record> {
        if message.starts_with("Starting quorum peer") {
            let (persisted, params) = (Persisted::default(), Map::new());
            let (fresh, defects) = (false, Vec::new());
            return vec![
                self.teller.event(t, Event::NodeStart { persisted, fresh, defects, params }),
            ];
        }
        if let Some(notification) = Notification::parse(message) {
            return self.notified(&notification, t);
        }
        if let Some((_, reason)) = message.split_once("Shutdown called. For the reason ") {
            self.why = Some(format!("it gave up: {reason}"));
            return Vec::new();
        }
        if message.starts_with("Disconnected from leader") {
            self.why = Some("it lost its leader".to_owned());
            return Vec::new();
        }
        if let Some(rest) = message.strip_prefix("Have quorum of supporters, sids: ") {
            return self.established(rest, t);
        }
        let state = match message {
            "LOOKING" => "looking",
            "FOLLOWING" => "following",
            "LEADING" => "leading",
            "OBSERVING" => "observing",
            other => match other.strip_prefix("Peer state changed: ") {
                Some(state) => state,
                None => return Vec::new(),
            },
        };
        let mut words = state.split(" - ");
        let role = match words.next() {
            Some("looking") => Role::Looking,
            Some("following") => Role::Follower,
            Some("leading") => Role::Leader,
            Some("observing") => Role::Observer,
            _ => return Vec::new(),
        };
        let phase =
            words.next().map(|phase| if phase == "synchronization" { "sync" } else { phase });
        self.change(role, phase, message, t)
    }

    fn change(&mut self, to: Role, phase: Option<&str>, message: &str, t: u64) -> Vec<Record> {
        let from = self.teller.role;
        // `FOLLOWING` comes after `Peer state changed: following`, in the middle of phases.
        if from == to && (phase.is_none() || self.phase.as_deref() == phase) {
            return Vec::new();
        }
        (self.teller.role, self.phase) = (to, phase.map(str::to_owned));
        if to == Role::Looking {
            (self.vote, self.leading) = (None, None);
        }
        let reason = self.why.take().unwrap_or_else(|| message.to_owned());
        let change = Event::RoleChange { from, to, phase: self.phase.clone(), reason };
        let mut records = vec![self.teller.event(t, change)];
        let leader = match (to, phase) {
            (Role::Follower | Role::Observer, Some("broadcast")) => self.leading.or(self.vote),
            _ => None,
        };
        if let Some(leader) = leader.and_then(|sid| self.members.get(&sid)) {
            let known = Event::LeaderKnown { leader: Some(*leader), in_term: 0 };
            records.push(self.teller.event(t, known));
        }
        records
    }

    fn notified(&mut self, vote: &Notification, t: u64) -> Vec<Record> {
        let own = vote.sid == self.sid;
        let mut records = Vec::new();
        if own && vote.state == "LOOKING" {
            self.vote = Some(vote.leader);
            if vote.leader == self.sid {
                self.teller.term = self.teller.term.max(vote.peer_epoch);
                // One that has no epoch has an empty disk, and nobody tells who emptied it.
                let stored = (vote.peer_epoch > 0).then(|| Event::Persist {
                    what: "current-epoch".to_owned(),
                    value: Some(vote.peer_epoch),
                    bound_to: None,
                    up_to: None,
                    zxid: None,
                    ok: true,
                });
                records.extend(stored.map(|stored| self.teller.event(t, stored)));
            }
        } else if vote.state == "LEADING" {
            self.leading = Some(vote.sid);
        }
        let peer = self.members.get(&vote.sid).copied();
        let (Some(candidate), Some(peer)) = (self.members.get(&vote.leader).copied(), peer) else {
            return records;
        };
        let zxid = Some(zxid(vote.zxid));
        let event = if own {
            Event::VoteCast { candidate, in_term: vote.round, prevote: false, zxid }
        } else {
            Event::VoteMsg {
                dir: "recv".to_owned(),
                peer,
                kind: "notification".to_owned(),
                msg_term: vote.round,
                candidate: Some(candidate),
                last: None,
                zxid,
                granted: None,
                reason: Some(vote.state.to_lowercase()),
            }
        };
        records.push(self.teller.event(t, event));
        records
    }

    /// `[[1, 3],[1, 3]]; starting up and setting last processed zxid: 0x100000000`
    fn established(&mut self, rest: &str, t: u64) -> Vec<Record> {
        let Some((sids, rest)) = rest.split_once(';') else { return Vec::new() };
        let Some(started) = rest.rsplit(' ').next().and_then(number) else { return Vec::new() };
        let digits = |char: char| !char.is_ascii_digit();
        let sids = sids.split(digits).filter_map(|sid| sid.parse::<u64>().ok());
        let mut votes: Vec<NodeId> =
            sids.filter_map(|sid| self.members.get(&sid).copied()).collect();
        votes.sort_unstable();
        votes.dedup();
        let (from, to) = (self.teller.term, zxid(started).epoch);
        self.teller.term = to;
        let (kind, cause) = ("current-epoch".to_owned(), "quorum of supporters".to_owned());
        let mut records = Vec::new();
        if from != to {
            records.push(self.teller.event(t, Event::TermChange { kind, from, to, cause }));
        }
        let (how, round, config) = ("supporters".to_owned(), None, None);
        let elected =
            Event::LeaderElected { in_term: to, established: true, votes, how, round, config };
        records.push(self.teller.event(t, elected));
        records
    }
}

#[cfg(test)]
mod tests {
    use super::Notification;

    #[test]
    fn a_notification_is_read_in_both_spellings() {
        let expected = Notification {
            sid: 2,
            state: "FOLLOWING".to_owned(),
            leader: 3,
            round: 16,
            peer_epoch: 1,
            zxid: 1 << 32,
        };
        for message in [
            "Notification: my state:LOOKING; n.sid:2, n.state:FOLLOWING, n.leader:3, n.round:0x10, n.peerEpoch:0x1, n.zxid:0x100000000, message format version:0x2, n.config version:0x0",
            "Notification: 1 (message format version), 3 (n.leader), 0x100000000 (n.zxid), 0x10 (n.round), FOLLOWING (n.state), 2 (n.sid), 0x1 (n.peerEpoch) LOOKING (my state)",
        ] {
            assert_eq!(Notification::parse(message), Some(expected.clone()), "{message}");
        }
        assert_eq!(Notification::parse("Notification time out: 400"), None);
        assert_eq!(Notification::parse("Notification: n.sid:x"), None);
    }
}
