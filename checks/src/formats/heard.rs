//! What servers heard of each other, held against what each says of itself.
//!
//! A server of etcd logs a vote before it is on the disk, so one that was killed may have forgotten what its
//! log says. It sends nothing before it is stored, though: what another server heard, the first one
//! had stored. And what another server heard and the first one's log does not have shows that lines
//! are missing there, so that nothing is proven by what that log does not say.

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::NodeId;

use super::{dialect::Dialect, field::Log, servers::Cast};
use crate::phrase::list;

/// What a server can do of which others hear.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    /// It votes for a server, itself included, in a term.
    Vote {
        whom: String,
        term: u64,
    },
    Lead {
        term: u64,
    },
}

/// What all logs together tell.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The votes that are known to have been stored, with the place of the line: file and entry. Where
    /// a server cast one again after a restart, the last one counts: the first may not have been sent.
    pub(super) stored: BTreeMap<(usize, usize), (NodeId, u64)>,
    /// What shows that lines are missing: at most one sentence for each log.
    pub(super) doubts: Vec<String>,
}

impl Heard {
    pub(super) fn of(logs: &[Log], dialect: Dialect, cast: &Cast) -> Self {
        match dialect {
            Dialect::Etcd => Self::of_etcd(logs, cast),
            Dialect::Zookeeper => {
                let doubt = |(log, node): (&Log, &NodeId)| unsupported(log, *node);
                let doubts = logs.iter().zip(&cast.nodes).filter_map(doubt).collect();
                Self { doubts, ..Self::default() }
            }
        }
    }

    fn of_etcd(logs: &[Log], cast: &Cast) -> Self {
        let mut own: BTreeMap<(String, Act), (usize, usize)> = BTreeMap::new();
        let mut heard: Vec<(String, Act, String)> = Vec::new();
        for (file, log) in logs.iter().enumerate() {
            for (place, entry) in log.entries.iter().enumerate() {
                let words: Vec<&str> = entry.message.split_whitespace().collect();
                if let Some(act) = own_act(&words) {
                    own.insert(act, (file, place));
                }
                if let Some((who, act)) = heard_act(&words) {
                    heard.push((who, act, format!("{}:{}", cast.nodes[file], entry.line)));
                }
            }
        }
        let files: BTreeMap<NodeId, usize> =
            cast.nodes.iter().copied().zip(0..logs.len()).collect();
        let mut all = Self::default();
        let mut incomplete: BTreeMap<usize, String> = BTreeMap::new();
        for (who, act, place) in heard {
            let file = cast.ids.get(&who).and_then(|node| files.get(node)).copied();
            let found = own.get(&(who, act.clone()));
            match (act, found, file) {
                (Act::Vote { whom, term }, Some(at), _) => {
                    let whom = cast.ids.get(&whom).copied();
                    all.stored.extend(whom.map(|whom| (*at, (whom, term))));
                }
                (Act::Lead { .. }, Some(_), _) => {}
                (act, None, Some(file)) if act.term() > begin(&logs[file]) => {
                    let node = cast.nodes[file];
                    incomplete.entry(file).or_insert_with(|| {
                        let what = act.told(cast);
                        format!("lines are missing in the log of {node}: {place} shows that it {what}, and it does not tell")
                    });
                }
                _ => {}
            }
        }
        for (file, log) in logs.iter().enumerate() {
            if let Some(doubt) = uncounted(log, cast.nodes[file], cast) {
                incomplete.entry(file).or_insert(doubt);
            }
        }
        all.doubts = incomplete.into_values().collect();
        all
    }
}

impl Act {
    fn term(&self) -> u64 {
        match self {
            Self::Vote { term, .. } | Self::Lead { term } => *term,
        }
    }

    fn told(&self, cast: &Cast) -> String {
        match self {
            Self::Vote { whom, term } => {
                let whom = cast.ids.get(whom).map_or(whom.clone(), NodeId::to_string);
                format!("voted for {whom} in term {term}")
            }
            Self::Lead { term } => format!("led term {term}"),
        }
    }
}

fn vote(whom: &str, term: &str) -> Option<Act> {
    Some(Act::Vote { whom: whom.to_owned(), term: term.trim_end_matches(']').parse().ok()? })
}

/// What a server says that it does itself.
fn own_act(words: &[&str]) -> Option<(String, Act)> {
    let (who, act) = match words {
        [me, "became", "candidate", "at", "term", term] => (me, vote(me, term)?),
        [me, "became", "leader", "at", "term", term] => {
            (me, Act::Lead { term: term.parse().ok()? })
        }
        [me, .., "cast", "MsgVote", "for", whom, _, _, _, _, "at", "term", term] => {
            (me, vote(whom, term)?)
        }
        _ => return None,
    };
    Some(((*who).to_owned(), act))
}

/// What a server's line shows of another one.
fn heard_act(words: &[&str]) -> Option<(String, Act)> {
    let lead = |term: &str| Some(Act::Lead { term: term.trim_end_matches(']').parse().ok()? });
    let (me, who, act) = match words {
        [me, "received", "MsgVoteResp", "from", who, "at", "term", term] => {
            (me, who, vote(me, term)?)
        }
        [me, .., "cast", "MsgVote", "for", who, _, _, _, _, "at", "term", term]
        | [me, .., "rejected", "MsgVote", "from", who, _, _, _, _, "at", "term", term] => {
            (me, who, vote(who, term)?)
        }
        [
            me,
            _,
            _,
            "received",
            "a",
            kind,
            "message",
            "with",
            "higher",
            "term",
            "from",
            who,
            _,
            term,
        ] => {
            let act = match *kind {
                "MsgVote" => vote(who, term)?,
                "MsgApp" | "MsgHeartbeat" | "MsgSnap" => lead(term)?,
                _ => return None,
            };
            (me, who, act)
        }
        ["raft.node:", me, "elected" | "changed", .., who, "at", "term", term] => {
            (me, who, lead(term)?)
        }
        _ => return None,
    };
    (me != who).then(|| ((*who).to_owned(), act))
}

/// The first term that a log mentions: what it says of later ones is all there.
fn begin(log: &Log) -> u64 {
    let term = |message: &str| {
        let (_, after) = message.split_once(" at term ")?;
        after.trim().parse().ok()
    };
    log.entries.iter().find_map(|entry| term(&entry.message)).unwrap_or(u64::MAX)
}

/// A leader whose log counts no majority of votes for it.
fn uncounted(log: &Log, node: NodeId, cast: &Cast) -> Option<String> {
    let (mut votes, mut voters) = (None::<BTreeSet<String>>, 0);
    for entry in &log.entries {
        let words: Vec<&str> = entry.message.split_whitespace().collect();
        match words.as_slice() {
            [_, "switched", "to", "configuration", ..] => {
                let (_, set) = entry.message.split_once("voters=(").unwrap_or_default();
                let (set, rest) = set.split_once(')').unwrap_or_default();
                // Two configurations at once are not looked at.
                voters = if rest.contains('(') { 0 } else { set.split_whitespace().count() };
            }
            [_, "became", "candidate", ..] => votes = Some(BTreeSet::new()),
            [_, "received", "MsgVoteResp", "from", who, ..] => {
                if let Some(votes) = &mut votes {
                    votes.insert((*who).to_owned());
                }
            }
            [_, "became", "leader", "at", "term", term] => {
                let Some(votes) = votes.take() else { continue };
                if votes.len() * 2 <= voters {
                    let names = votes.iter().map(|id| match cast.ids.get(id) {
                        Some(node) => node.to_string(),
                        None => id.clone(),
                    });
                    let names = list(names);
                    let line = entry.line;
                    return Some(format!(
                        "lines are missing in the log of {node}, or it led without a majority: in term \
                         {term} it counts the votes of {names} ({node}:{line})"
                    ));
                }
            }
            _ => {}
        }
    }
    None
}

/// A leader of ZooKeeper whose log lets it broadcast without the line that tells of its supporters.
fn unsupported(log: &Log, node: NodeId) -> Option<String> {
    let mut supported = true;
    log.entries.iter().find_map(|entry| {
        match entry.message.as_str() {
            "LEADING" | "LOOKING" => supported = false,
            message if message.starts_with("Have quorum of supporters") => supported = true,
            "Peer state changed: leading - broadcast" if !supported => {
                let line = entry.line;
                return Some(format!(
                    "lines are missing in the log of {node}: it leads ({node}:{line}), and does not \
                     tell of its supporters"
                ));
            }
            _ => {}
        }
        None
    })
}
