//! The transcripts of `fle`.
//!
//! Votes are written `peer-epoch/zxid/leader`, or `nobody`; `unheard` is a vote of somebody who has
//! had none from its receiver yet.

use usurper_history::{Event, Zxid};
use usurper_node::{
    fle::{Fle, Message, Standing, Vote},
    protocol::{Input, Output, Protocol, Setup, Tick},
};

use super::{Dialect, Driver, check, names, parsed};

impl Dialect for Fle {
    /// With `epoch=EPOCH`, it has followed the highest node in that epoch before this start.
    fn begin(mut setup: Setup) -> Driver<Self> {
        let epoch = setup.params.iter().position(|(key, _)| key == "epoch");
        let epoch = epoch.map(|at| setup.params.remove(at).1);
        let disk = epoch.map_or_else(Vec::new, |epoch| followed(&setup, parsed(&epoch)));
        Driver::new(setup, disk)
    }

    fn parse(words: &[&str], now: Tick, _: &[Message]) -> Message {
        match words {
            ["notification", round, ballot, standing, rest @ ..] => Message::Notification {
                round: parsed(round),
                vote: (*ballot != "nobody").then(|| vote(ballot)),
                heard: rest != ["unheard"],
                standing: match *standing {
                    "looking" => Standing::Looking,
                    "deciding" => Standing::Following { established: false },
                    "following" => Standing::Following { established: true },
                    "winning" => Standing::Leading { established: false },
                    "leading" => Standing::Leading { established: true },
                    other => panic!("unknown standing `{other}`"),
                },
            },
            ["follower-info", accepted, current, logged] => Message::FollowerInfo {
                accepted_epoch: parsed(accepted),
                current_epoch: parsed(current),
                zxid: zxid(logged),
            },
            ["leader-info", epoch, rest @ ..] => {
                Message::LeaderInfo { epoch: parsed(epoch), established: rest == ["established"] }
            }
            ["epoch-ack", epoch, granted, accepted, current, logged] => Message::EpochAck {
                epoch: parsed(epoch),
                granted: *granted == "yes",
                accepted_epoch: parsed(accepted),
                current_epoch: parsed(current),
                zxid: zxid(logged),
            },
            ["heartbeat", epoch] => {
                Message::Heartbeat { epoch: parsed(epoch), beat: 1, sent_at: now }
            }
            // Of the heartbeat that was sent so many milliseconds ago.
            ["heartbeat-reply", epoch, accepted, own, ago] => Message::HeartbeatReply {
                epoch: parsed(epoch),
                beat: 1,
                sent_at: Tick(now.0 - parsed::<u64>(ago) * 1_000_000),
                accepted: *accepted == "yes",
                own_epoch: parsed(own),
                own_leader: None,
            },
            ["sdown", leader, epoch] => {
                Message::SubjectiveDown { leader: parsed(leader), epoch: parsed(epoch) }
            }
            ["sdown-answer", leader, epoch, down, known @ ..] => Message::DownAnswer {
                leader: parsed(leader),
                epoch: parsed(epoch),
                down: *down == "down",
                known: known.first().map(|leader| (parsed(leader), parsed(known[1]))),
            },
            ["odown", leader, epoch, reporters] => Message::ObjectiveDown {
                leader: parsed(leader),
                epoch: parsed(epoch),
                reporters: reporters.split(',').map(parsed).collect(),
            },
            _ => panic!("unknown message {words:?}"),
        }
    }

    fn show(message: &Message) -> String {
        match message {
            Message::Notification { round, vote, standing, heard } => {
                let standing = match standing {
                    Standing::Looking => "looking",
                    Standing::Following { established: false } => "deciding",
                    Standing::Following { established: true } => "following",
                    Standing::Leading { established: false } => "winning",
                    Standing::Leading { established: true } => "leading",
                };
                let ballot = vote.map_or("nobody".to_owned(), |vote| {
                    format!("{}/{}/{}", vote.peer_epoch, show_zxid(vote.zxid), vote.leader)
                });
                let heard = if *heard { "" } else { " unheard" };
                format!("notification {round} {ballot} {standing}{heard}")
            }
            Message::FollowerInfo { accepted_epoch, current_epoch, zxid } => {
                format!("follower-info {accepted_epoch} {current_epoch} {}", show_zxid(*zxid))
            }
            Message::LeaderInfo { epoch, established } => {
                format!("leader-info {epoch}{}", if *established { " established" } else { "" })
            }
            Message::EpochAck { epoch, granted, accepted_epoch, current_epoch, zxid } => format!(
                "epoch-ack {epoch} {} {accepted_epoch} {current_epoch} {}",
                if *granted { "yes" } else { "no" },
                show_zxid(*zxid)
            ),
            Message::Heartbeat { epoch, .. } => format!("heartbeat {epoch}"),
            Message::HeartbeatReply { epoch, accepted, own_epoch, .. } => {
                format!(
                    "heartbeat-reply {epoch} {} {own_epoch}",
                    if *accepted { "yes" } else { "no" }
                )
            }
            Message::SubjectiveDown { leader, epoch } => format!("sdown {leader} {epoch}"),
            Message::DownAnswer { leader, epoch, down, known } => {
                let known =
                    known.map_or(String::new(), |(leader, epoch)| format!(" {leader} {epoch}"));
                format!(
                    "sdown-answer {leader} {epoch} {}{known}",
                    if *down { "down" } else { "up" }
                )
            }
            Message::ObjectiveDown { leader, epoch, reporters } => {
                format!("odown {leader} {epoch} {}", names(reporters))
            }
        }
    }

    fn describe(event: &Event) -> Option<String> {
        Some(match event {
            Event::RoleChange { to, phase, reason, .. } => {
                format!("{} in {} ({reason})", to.name(), phase.as_deref()?)
            }
            Event::TermChange { kind, from, to, .. } => format!("{kind} {from} -> {to}"),
            Event::Persist { what, value: Some(value), bound_to, .. } => {
                let leader = bound_to.map_or(String::new(), |leader| format!(" for {leader}"));
                format!("persist {what} {value}{leader}")
            }
            Event::Persist { what, zxid: Some(zxid), .. } => {
                format!("persist {what} {}", show_zxid(*zxid))
            }
            Event::VoteCast { candidate, in_term, .. } => format!("vote {candidate} in {in_term}"),
            Event::LeaderElected { in_term, established, votes, .. } => {
                let what = if *established { "established" } else { "elected" };
                format!("{what} in {in_term} by {}", names(votes))
            }
            Event::LeaderKnown { leader: Some(leader), in_term } => {
                format!("knows {leader} in {in_term}")
            }
            Event::LeaderKnown { leader: None, .. } => "knows none".to_owned(),
            Event::Heartbeat { dir, peer: Some(peer), reason, .. } if dir == "rejected" => {
                format!("rejects the heartbeat of {peer} ({})", reason.as_deref()?)
            }
            Event::Heartbeat { dir, peer: Some(peer), .. } if dir == "accepted" => {
                format!("accepts the heartbeat of {peer}")
            }
            Event::DefectHit { name, place } => format!("defect {name} ({place})"),
            _ => return None,
        })
    }
}

/// The log of a node that followed the highest node in this epoch.
fn followed(setup: &Setup, epoch: u64) -> Vec<Vec<u8>> {
    let leader = *setup.members.last().unwrap();
    assert_ne!(leader, setup.id, "it follows the highest node");
    let setup = &Setup { defects: Vec::new(), ..setup.clone() };
    let mut node = Fle::recover(setup, &[]).unwrap();
    let vote = Vote { peer_epoch: 0, zxid: Zxid::default(), leader };
    let settled = |following| Message::Notification {
        round: 1,
        vote: Some(vote),
        standing: following,
        heard: true,
    };
    let mut disk = Vec::new();
    let mut step = |now, input| {
        let written = node.step(Tick(now), input).into_iter();
        disk.extend(written.filter_map(|output| match output {
            Output::Write(record) => Some(record),
            _ => None,
        }));
    };
    step(0, Input::Start);
    for from in setup.members.iter().copied().filter(|member| *member != setup.id) {
        let message = settled(if from == leader {
            Standing::Leading { established: false }
        } else {
            Standing::Following { established: false }
        });
        step(0, Input::Message { from, message });
    }
    let message = Message::LeaderInfo { epoch, established: false };
    step(0, Input::Message { from: leader, message });
    let message = Message::Heartbeat { epoch, beat: 1, sent_at: Tick(0) };
    step(0, Input::Message { from: leader, message });
    disk
}

fn zxid(text: &str) -> Zxid {
    let (epoch, counter) = text.split_once('.').unwrap();
    Zxid { epoch: parsed(epoch), counter: parsed(counter) }
}

fn vote(text: &str) -> Vote {
    let parts: Vec<_> = text.split('/').collect();
    Vote { peer_epoch: parsed(parts[0]), zxid: zxid(parts[1]), leader: parsed(parts[2]) }
}

fn show_zxid(zxid: Zxid) -> String {
    format!("{}.{}", zxid.epoch, zxid.counter)
}

#[test]
fn electing() {
    check::<Fle>("election.txt");
}

#[test]
fn joining_a_leader_that_others_elected() {
    check::<Fle>("joining.txt");
}

#[test]
fn agreeing_on_an_epoch() {
    check::<Fle>("discovery.txt");
}

#[test]
fn heartbeats() {
    check::<Fle>("heartbeat.txt");
}

#[test]
fn a_silent_leader() {
    check::<Fle>("prevote.txt");
}

#[test]
fn defects() {
    check::<Fle>("defects.txt");
}
