//! The transcripts of `raft`.
//!
//! A place in a log is written `term.index`, and with its configuration, if the entry has one:
//! `2.5{n1,n2|n3~n4}` are the voters, the outgoing voters and the learners. A snapshot as an input is
//! one that a node of the same page has sent before. Random timers are fixed at 750 ms.

use usurper_history::{EntryId, Event, NodeId};
use usurper_node::{
    protocol::{Input, Setup, Tick},
    raft::{Command, Config, Entry, Hint, Message, Raft},
};

use super::{Dialect, Driver, check, names, parsed};

impl Dialect for Raft {
    /// It starts with an empty disk, and has just started.
    fn begin(mut setup: Setup) -> Driver<Self> {
        setup.params.insert(0, ("campaign-after".to_owned(), "750ms".to_owned()));
        let mut driver = Driver::<Self>::new(setup, Vec::new());
        driver.step(Input::Start);
        driver.log.clear();
        driver
    }

    fn parse(words: &[&str], _: Tick, sent: &[Message]) -> Message {
        match words {
            [kind @ ("vote?" | "prevote?"), term, last, rest @ ..] => Message::VoteRequest {
                term: parsed(term),
                prevote: *kind == "prevote?",
                forced: *rest == ["forced"],
                last: place(last),
            },
            [kind @ ("vote" | "prevote"), term, granted @ ("yes" | "no")] => Message::VoteReply {
                term: parsed(term),
                prevote: *kind == "prevote",
                granted: *granted == "yes",
            },
            // The entries are no-ops.
            ["append", term, "after", prev, commit, entries @ ..] => Message::Append {
                term: parsed(term),
                prev: place(prev),
                entries: entries.iter().map(|text| entry(text)).collect(),
                commit: parsed(commit.strip_prefix("commit=").unwrap()),
            },
            ["appended", term, matched] => {
                Message::AppendReply { term: parsed(term), matched: parsed(matched), refused: None }
            }
            ["snapshot", new_term, id] => {
                let mut snapshots = sent.iter().rev().cloned();
                let found = snapshots.find_map(|mut message| match &mut message {
                    Message::Snapshot { term, last, .. } if *last == place(id) => {
                        *term = parsed(new_term);
                        Some(message)
                    }
                    _ => None,
                });
                found.expect("it was sent before")
            }
            ["received", term, last, received] => Message::SnapshotReply {
                term: parsed(term),
                last: place(last),
                received: parsed(received),
            },
            ["refused", term, refused, hint] => {
                let refused = Some(Hint { refused: parsed(refused), place: place(hint) });
                Message::AppendReply { term: parsed(term), matched: 0, refused }
            }
            ["heartbeat", term, commit] => Message::Heartbeat {
                term: parsed(term),
                commit: parsed(commit.strip_prefix("commit=").unwrap()),
                context: 0,
            },
            ["alive", term, context] => {
                Message::HeartbeatReply { term: parsed(term), context: parsed(context) }
            }
            ["alive", term] => Message::HeartbeatReply { term: parsed(term), context: 0 },
            ["timeout-now", term] => Message::TimeoutNow { term: parsed(term) },
            ["transfer", term, to] => Message::Transfer { term: parsed(term), to: parsed(to) },
            ["index?", term, context] => {
                Message::ReadRequest { term: parsed(term), context: context_of(context) }
            }
            ["index", term, context, index] => Message::ReadReply {
                term: parsed(term),
                context: context_of(context),
                index: (*index != "none").then(|| parsed(index)),
            },
            _ => panic!("unknown message {words:?}"),
        }
    }

    fn show(message: &Message) -> String {
        match message {
            Message::VoteRequest { term, prevote, forced, last } => {
                let kind = if *prevote { "prevote?" } else { "vote?" };
                let forced = if *forced { " forced" } else { "" };
                format!("{kind} {term} {}{forced}", show_place(*last))
            }
            Message::VoteReply { term, prevote, granted } => {
                let kind = if *prevote { "prevote" } else { "vote" };
                format!("{kind} {term} {}", if *granted { "yes" } else { "no" })
            }
            Message::Append { term, prev, entries, commit } => {
                let entries: Vec<_> =
                    entries.iter().map(|entry| format!(" {}", show_entry(entry))).collect();
                let prev = show_place(*prev);
                format!("append {term} after {prev} commit={commit}{}", entries.concat())
            }
            Message::AppendReply { term, matched, refused: None } => {
                format!("appended {term} {matched}")
            }
            Message::AppendReply { term, refused: Some(Hint { refused, place }), .. } => {
                format!("refused {term} {refused} {}", show_place(*place))
            }
            Message::Heartbeat { term, commit, context: 0 } => {
                format!("heartbeat {term} commit={commit}")
            }
            Message::Heartbeat { term, commit, context } => {
                format!("heartbeat {term} commit={commit} context={context}")
            }
            Message::HeartbeatReply { term, context } => format!("alive {term} {context}"),
            Message::Snapshot { term, last, offset, done, .. } => {
                let done = if *done { " done" } else { "" };
                format!("snapshot {term} {} from byte {offset}{done}", show_place(*last))
            }
            Message::SnapshotReply { term, last, received } => {
                format!("received {term} {} {received}", show_place(*last))
            }
            Message::TimeoutNow { term } => format!("timeout-now {term}"),
            Message::Transfer { term, to } => format!("transfer {term} {to}"),
            Message::ReadRequest { term, context } => {
                format!("index? {term} {}", show_context(*context))
            }
            Message::ReadReply { term, context, index } => {
                let index = index.map_or("none".to_owned(), |index| index.to_string());
                format!("index {term} {} {index}", show_context(*context))
            }
        }
    }

    fn describe(event: &Event) -> Option<String> {
        Some(match event {
            Event::RoleChange { to, phase, reason, .. } => {
                let phase = phase.as_ref().map_or(String::new(), |phase| format!(" in {phase}"));
                format!("{}{phase} ({reason})", to.name())
            }
            Event::TermChange { from, to, .. } => format!("term {from} -> {to}"),
            Event::Persist { what, value: Some(term), bound_to, .. } => {
                let vote = bound_to.map_or(String::new(), |vote| format!(", vote {vote}"));
                format!("persist {what} {term}{vote}")
            }
            Event::Persist { what, up_to: Some(id), .. } => {
                format!("persist {what} {}", show_place(*id))
            }
            Event::LeaderElected { in_term, votes, how, .. } => {
                let how = if how == "votes" { "" } else { ", in a transfer" };
                format!("elected in {in_term} by {}{how}", names(votes))
            }
            Event::LeaderKnown { leader: Some(leader), .. } => format!("knows {leader}"),
            Event::LeaderKnown { leader: None, .. } => "knows none".to_owned(),
            Event::VoteMsg { dir, peer, reason: Some(reason), .. } if dir == "recv" => {
                format!("ignores {peer} ({reason})")
            }
            Event::Heartbeat { dir, peer: Some(peer), reason: Some(reason), .. }
                if dir == "rejected" =>
            {
                format!("rejects the heartbeat of {peer} ({reason})")
            }
            Event::Commit { up_to, quorum, .. } => {
                let by =
                    quorum.as_ref().map_or(String::new(), |nodes| format!(" by {}", names(nodes)));
                format!("commit {}{by}", show_place(*up_to))
            }
            Event::Truncate { first, last, cause, .. } => {
                format!("truncate {} to {} ({cause})", show_place(*first), show_place(*last))
            }
            Event::Config { op, id, voters, outgoing, learners } => {
                let (outgoing, learners) = (outgoing.as_deref(), learners.as_deref());
                let config = show_config(
                    &voters[..],
                    outgoing.unwrap_or_default(),
                    learners.unwrap_or_default(),
                );
                format!("config {op} {}{config}", show_place(*id))
            }
            Event::Snapshot { op, last, config, .. } if op != "send" => {
                let config = config
                    .as_ref()
                    .map_or(String::new(), |config| show_config(&config[..], &[], &[]));
                format!("snapshot {op} {}{config}", show_place(*last))
            }
            Event::Read { mode, index, .. } => format!("{mode} read at {index}"),
            Event::DefectHit { name, place } => format!("defect {name} ({place})"),
            _ => return None,
        })
    }
}

fn place(text: &str) -> EntryId {
    let (term, index) = text.split_once('.').unwrap();
    EntryId { term: parsed(term), index: parsed(index) }
}

fn show_place(id: EntryId) -> String {
    format!("{}.{}", id.term, id.index)
}

/// `2.5` is a no-op, `2.5{n1,n2|n3~n4}` a configuration.
fn entry(text: &str) -> Entry {
    let Some((id, config)) = text.strip_suffix('}').and_then(|text| text.split_once('{')) else {
        return Entry { id: place(text), command: Command::Noop };
    };
    let (voters, learners) = config.split_once('~').unwrap_or((config, ""));
    let (voters, outgoing) = voters.split_once('|').unwrap_or((voters, ""));
    let nodes = |text: &str| text.split(',').filter(|it| !it.is_empty()).map(parsed).collect();
    let [voters, outgoing, learners] = [voters, outgoing, learners].map(nodes);
    let command = Command::Configure(Config { voters, outgoing, learners });
    Entry { id: place(id), command }
}

fn show_entry(entry: &Entry) -> String {
    let id = show_place(entry.id);
    match &entry.command {
        Command::Configure(Config { voters, outgoing, learners }) => {
            format!("{id}{}", show_config(voters, outgoing, learners))
        }
        _ => id,
    }
}

fn show_config<'a, I>(voters: I, outgoing: I, learners: I) -> String
where
    I: IntoIterator<Item = &'a NodeId>,
{
    let list = |sign: &str, nodes: I| {
        let nodes = names(nodes);
        if nodes.is_empty() { nodes } else { format!("{sign}{nodes}") }
    };
    format!("{{{}{}{}}}", list("", voters), list("|", outgoing), list("~", learners))
}

/// The context of a follower's read: `incarnation.number`.
fn context_of(text: &str) -> u64 {
    let (inc, number) = text.split_once('.').unwrap();
    parsed::<u64>(inc) << 32 | parsed::<u64>(number)
}

fn show_context(context: u64) -> String {
    format!("{}.{}", context >> 32, context & 0xffff_ffff)
}

#[test]
fn campaigns_and_votes() {
    check::<Raft>("election.txt");
}

#[test]
fn asking_before_raising_the_term() {
    check::<Raft>("prevote.txt");
}

#[test]
fn leases_and_quorums() {
    check::<Raft>("check-quorum.txt");
}

#[test]
fn the_log() {
    check::<Raft>("replication.txt");
}

#[test]
fn one_change_of_the_members_at_a_time() {
    check::<Raft>("membership.txt");
}

#[test]
fn joint_consensus() {
    check::<Raft>("joint.txt");
}

#[test]
fn learners_and_catching_up() {
    check::<Raft>("learners.txt");
}

#[test]
fn snapshots() {
    check::<Raft>("snapshot.txt");
}

#[test]
fn clients() {
    check::<Raft>("clients.txt");
}

#[test]
fn reads() {
    check::<Raft>("reads.txt");
}

#[test]
fn handing_over() {
    check::<Raft>("transfer.txt");
}
