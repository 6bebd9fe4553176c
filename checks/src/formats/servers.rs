//! Which file is whose, where its processes start, and what it says of other servers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use usurper_history::NodeId;

use super::{
    dialect::Dialect,
    field::{Entry, Log},
    problem::FormatError,
    zookeeper::Notification,
};

/// Who is who.
#[derive(Debug)]
pub(super) struct Cast {
    /// The node of each file; then those that have none.
    pub(super) nodes: Vec<NodeId>,
    /// The nodes by the servers' own names.
    pub(super) ids: BTreeMap<String, NodeId>,
    /// ZooKeeper's number of each file's server.
    pub(super) sids: Vec<u64>,
    pub(super) notes: Vec<String>,
    pub(super) doubts: Vec<String>,
}

/// Tells whose logs these are. etcd's servers become `n1`, `n2`, … in the order of the files,
/// ZooKeeper's keep their numbers where these are those of nodes.
pub(super) fn cast(logs: &[Log], dialect: Dialect) -> Result<Cast, FormatError> {
    let mut own: Vec<String> = Vec::new();
    let mut all: BTreeSet<String> = BTreeSet::new();
    for log in logs {
        let (id, members) = match dialect {
            Dialect::Etcd => etcd_members(log),
            Dialect::Zookeeper => zookeeper_members(log),
        };
        let Some(id) = id else {
            let (file, format) = (log.file.clone(), dialect.into());
            return Err(FormatError::Nothing { file, format, expected: "line about elections" });
        };
        if let Some(place) = own.iter().position(|other| *other == id) {
            let (one, other) = (logs[place].file.clone(), log.file.clone());
            return Err(FormatError::SameServer { one, other, server: id });
        }
        all.extend(members);
        all.insert(id.clone());
        own.push(id);
    }
    let missing: Vec<String> = all.iter().filter(|id| !own.contains(id)).cloned().collect();
    let ids: Vec<String> = own.iter().chain(&missing).cloned().collect();
    if ids.len() > usize::from(u8::MAX) {
        return Err(FormatError::TooManyServers { servers: ids.len() });
    }
    let number = |id: &String| id.parse::<u8>().ok().filter(|number| *number > 0);
    let keep = dialect == Dialect::Zookeeper && ids.iter().all(|id| number(id).is_some());
    let nodes: Vec<NodeId> = (1_u8..=u8::MAX)
        .zip(&ids)
        .map(|(place, id)| NodeId(number(id).filter(|_| keep).unwrap_or(place)))
        .collect();
    let mut notes = Vec::new();
    for (place, log) in logs.iter().enumerate() {
        let name = match dialect {
            Dialect::Etcd => name_of(log).map(|name| format!(" (`{name}`)")).unwrap_or_default(),
            Dialect::Zookeeper => String::new(),
        };
        notes.push(format!("{} is `{}`: server {}{name}", nodes[place], log.file, ids[place]));
    }
    let mut doubts = Vec::new();
    for (node, id) in nodes.iter().zip(&ids).skip(own.len()) {
        doubts.push(format!("the log of {node}, server {id}, is not among the files"));
    }
    let sids = own.iter().map(|id| id.parse().unwrap_or_default()).collect();
    let ids = ids.into_iter().zip(nodes.iter().copied()).collect();
    Ok(Cast { nodes, ids, sids, notes, doubts })
}

fn name_of(log: &Log) -> Option<&str> {
    let first = |message: &str| message.starts_with("name = ") || message.starts_with("heartbeat");
    let mut names = log.entries.iter().filter(|entry| first(&entry.message));
    names.find_map(|entry| entry.message.split_once("name = ").map(|(_, name)| name))
}

/// The server's own id, and those of the last configuration that it logged.
fn etcd_members(log: &Log) -> (Option<String>, Vec<String>) {
    let (mut own, mut members) = (None, Vec::new());
    for entry in &log.entries {
        let words: Vec<&str> = entry.message.split_whitespace().collect();
        match words.as_slice() {
            [id, "became", _, "at", "term", _] => own = Some((*id).to_owned()),
            [_, "switched", "to", "configuration", ..] => {
                let (_, voters) = entry.message.split_once("voters=").unwrap_or_default();
                let numbers = voters.split(|char: char| !char.is_ascii_digit());
                let ids = numbers.filter_map(|number| number.parse::<u64>().ok());
                members = ids.map(|id| format!("{id:x}")).collect();
            }
            _ => {}
        }
    }
    (own, members)
}

fn own_sid(log: &Log) -> Option<u64> {
    log.entries.iter().find_map(|entry| {
        let message = entry.message.as_str();
        let after = message.strip_prefix("New election. My id = ").or_else(|| {
            let (_, after) = message.strip_prefix("Starting quorum peer")?.split_once("myid=")?;
            Some(after)
        })?;
        let digits: String = after.trim().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    })
}

/// The server's own number, and those of whom it heard.
fn zookeeper_members(log: &Log) -> (Option<String>, Vec<String>) {
    let own = own_sid(log).map(|sid| sid.to_string());
    let others = log.entries.iter().filter_map(|entry| match Notification::parse(&entry.message) {
        Some(heard) => Some(heard.sid),
        None => {
            let after = entry.message.strip_prefix("Cannot open channel to ")?;
            after.split(' ').next()?.parse().ok()
        }
    });
    (own, others.map(|sid| sid.to_string()).collect())
}

/// Refuses logs in which a majority lost what it had: its terms begin again, too, and two leaders of
/// one term are then no violation. Says where fewer begin again.
pub(super) fn refuse_two_clusters(
    logs: &[Log],
    dialect: Dialect,
    nodes: &[NodeId],
) -> Result<Vec<String>, FormatError> {
    let begun: Vec<(&Log, u64)> =
        logs.iter().filter_map(|log| Some((log, begins_again(log, dialect)?))).collect();
    match begun.last() {
        Some((log, line)) if begun.len() * 2 > nodes.len() => {
            Err(FormatError::TwoClusters { file: log.file.clone(), line: *line })
        }
        _ => Ok(logs
            .iter()
            .zip(nodes)
            .filter_map(|(log, node)| Some((node, begins_again(log, dialect)?)))
            .map(|(node, line)| {
                format!(
                    "{node} begins again with an empty disk ({node}:{line}): that its term does is \
                     not held against it"
                )
            })
            .collect()),
    }
}

/// The line that tells of an empty disk after one that tells of a term.
fn begins_again(log: &Log, dialect: Dialect) -> Option<u64> {
    let mut had_term = false;
    log.entries.iter().find_map(|entry| {
        let empty = match dialect {
            Dialect::Etcd => {
                had_term |= entry.message.contains(" became leader at ");
                had_term |= entry.message.contains(" elected leader ");
                entry.message.starts_with("newRaft ") && entry.message.contains(" lastindex: 0,")
            }
            Dialect::Zookeeper => {
                let vote = Notification::parse(&entry.message)?;
                had_term |= vote.peer_epoch > 0;
                // What a server proposes for itself is what it has.
                vote.sid == vote.leader
                    && vote.peer_epoch == 0
                    && vote.state == "LOOKING"
                    && entry.message.contains("my state:LOOKING")
                    && own_sid(log) == Some(vote.sid)
            }
        };
        (empty && had_term).then_some(entry.line)
    })
}

/// The entries with which a new process begins.
pub(super) fn starts(log: &Log, dialect: Dialect) -> BTreeSet<usize> {
    let (begun, prelude): (&str, &[&str]) = match dialect {
        Dialect::Etcd => {
            ("newRaft ", &["became follower at", "voters=(", "added member ", "ing member "])
        }
        Dialect::Zookeeper => ("Starting quorum peer", &[]),
    };
    let first: &[&str] = match dialect {
        Dialect::Etcd => &[
            "name = ",
            "heartbeat = ",
            "election = ",
            "etcd Version:",
            "Running:",
            "configuring peer listeners",
            "server has been already initialized",
        ],
        Dialect::Zookeeper => &["Reading configuration from"],
    };
    let is = |words: &[&str], entry: &Entry| words.iter().any(|word| entry.message.contains(word));
    let start = |begun: usize| {
        // Back over what a start logs before it says that it starts.
        let mut place = begun;
        let mut seen_first = false;
        while place > 0 {
            let above = &log.entries[place - 1];
            if is(first, above) {
                seen_first = true;
            } else if seen_first || !is(prelude, above) {
                break;
            }
            place -= 1;
        }
        place
    };
    let begun = |(place, entry): (usize, &Entry)| entry.message.starts_with(begun).then_some(place);
    log.entries.iter().enumerate().filter_map(begun).map(start).collect()
}

/// That a line is the cause, or an effect, of what the key names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hint {
    Cause(String, usize),
    Effect(String, usize),
}

/// What the lines of one log caused in others', or were caused by. A cause counts from the first
/// time that it is logged, which is before it is sent.
pub(super) fn hints(log: &Log, dialect: Dialect, sid: Option<u64>) -> Vec<Hint> {
    let entries = (0..).zip(log.entries.iter());
    match dialect {
        Dialect::Etcd => entries.flat_map(|(at, entry)| etcd_hints(at, &entry.message)).collect(),
        Dialect::Zookeeper => zookeeper_hints(log, sid.unwrap_or_default()),
    }
}

/// A vote is asked for, granted and counted; who counted enough is followed.
fn etcd_hints(at: usize, message: &str) -> Vec<Hint> {
    let words: Vec<&str> = message.split_whitespace().collect();
    let asked = |from: &str, to: &str, term: &str| format!("asked {from} {to} {term}");
    let granted = |from: &str, to: &str, term: &str| format!("granted {from} {to} {term}");
    let led = |leader: &str, term: &str| format!("led {leader} {term}");
    match words.as_slice() {
        [me, .., "sent", "MsgVote", "request", "to", to, "at", "term", term] => {
            vec![Hint::Cause(asked(me, to, term), at)]
        }
        [me, .., "cast", "MsgVote", "for", to, _, _, _, _, "at", "term", term] => {
            vec![Hint::Effect(asked(to, me, term), at), Hint::Cause(granted(me, to, term), at)]
        }
        [
            me,
            ..,
            "received",
            "a",
            "MsgVote",
            "message",
            "with",
            "higher",
            "term",
            "from",
            from,
            "[term:",
            term,
        ] => {
            vec![Hint::Effect(asked(from, me, term.trim_end_matches(']')), at)]
        }
        [me, "received", "MsgVoteResp", "from", from, "at", "term", term] if me != from => {
            vec![Hint::Effect(granted(from, me, term), at)]
        }
        [me, "became", "leader", "at", "term", term] => vec![Hint::Cause(led(me, term), at)],
        ["raft.node:", _, "elected", "leader", leader, "at", "term", term] => {
            vec![Hint::Effect(led(leader, term), at)]
        }
        _ => Vec::new(),
    }
}

/// A server votes for itself once its election has begun, and for another once it has heard of it.
fn zookeeper_hints(log: &Log, sid: u64) -> Vec<Hint> {
    let mut hints = Vec::new();
    let mut begun = None;
    let mut heard: HashMap<(u64, u64), usize> = HashMap::new();
    for (at, entry) in log.entries.iter().enumerate() {
        if entry.message.starts_with("New election. ") {
            begun = Some(at);
        }
        let Some(vote) = Notification::parse(&entry.message) else { continue };
        if vote.state != "LOOKING" {
            continue;
        }
        let Notification { sid: of, leader, round, peer_epoch, zxid, .. } = vote;
        let key = format!("{of} {leader} {round} {peer_epoch} {zxid}");
        if of != sid {
            heard.entry((leader, round)).or_insert(at);
            hints.push(Hint::Effect(key, at));
        } else {
            let cause = if leader == sid { begun } else { heard.get(&(leader, round)).copied() };
            hints.extend(cause.map(|cause| Hint::Cause(key, cause)));
        }
    }
    hints
}
