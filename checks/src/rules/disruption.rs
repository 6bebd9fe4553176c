//! `disruption` (L5): a leader that has a working majority is not deposed.
//!
//! Rule: let a leader's reign end at time `t`, because it steps down by itself or because another one
//! is established in a higher term. Its *followers* are the nodes that have been connected with it,
//! in both directions and without interruption, for three election timeouts of that reign, and that
//! accepted one of its heartbeats of that term shortly before `t`: within half an election timeout if
//! it steps down, within a whole one if it is superseded, and each one within half an election timeout
//! of the one before, for the last election timeout. Leader and followers must not be a quorum
//! of every configuration that may be in force (see [`crate::configurations`]); learners do not count.
//!
//! Why a correct protocol is not flagged: nobody leaves a leader that it has heard within the election
//! timeout, and any quorum that elects another has a member among those followers; a leader that
//! steps down for want of answers has had none for an election timeout. The times of acceptance, not
//! only the faults, are looked at, so that a machine that was too slow excuses the cluster;
//! also one that gave a follower its time again just before, whose answers the leader has not had yet.
//!
//! Excused is a leader that steps down once somebody has accepted an epoch above its own, before its
//! reign or out of its reach: in Zab such a node can never follow it, so it has to begin anew. Excused
//! is also a leader that has told, by its phase `transfer`, that it hands over, and one that may have been
//! removed: it leads until that is committed (Ongaro 2014, §4.2.2).
//!
//! What it cannot see: a disruption at the time of a fault that would explain it, too, and one while the
//! machine stood still or in the grace after that (see [`crate::stalls`]).

use std::collections::BTreeMap;

use usurper_history::{Body, Event, Header, NodeId, NodeRecord, Record, Role};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    phrase::{list, term_word},
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "disruption",
    summary: "a leader that a majority follows is not deposed",
    source: "L5; F-022, F-031, F-035",
    needs: &["leader-elected", "role-change", "heartbeat"],
    options: &[(
        "steady-ns",
        "how long followers must have been connected with the leader (default: three election timeouts)",
    )],
    choices: &[],
    make,
};

#[derive(Debug)]
struct Disruption {
    word: &'static str,
    timeout_ns: u64,
    steady_ns: u64,
    findings: Findings,
    /// The highest epoch that anybody is known to have accepted.
    accepted: u64,
    reign: Option<Reign>,
}

#[derive(Debug)]
struct Reign {
    leader: NodeId,
    term: u64,
    since: Mark,
    /// Since when each node is connected with the leader.
    connected: BTreeMap<NodeId, u64>,
    /// What each node accepted of its heartbeats.
    heard: BTreeMap<NodeId, Heard>,
    excused: bool,
    /// It was asked to hand over: whoever leads next was told to, perhaps much later.
    hands_over: bool,
}

/// Heartbeats that a node accepted.
#[derive(Clone, Copy, Debug)]
struct Heard {
    last: Mark,
    /// Since when none came more than half an election timeout after the one before.
    regular_since: u64,
}

fn make(header: &Header, options: &Options) -> Box<dyn Check> {
    let timeout_ns = header.timing.election_timeout_ns;
    Box::new(Disruption {
        word: term_word(&header.system),
        timeout_ns,
        steady_ns: options.get("steady-ns").unwrap_or(timeout_ns.saturating_mul(3)),
        findings: Findings::default(),
        accepted: 0,
        reign: None,
    })
}

impl Check for Disruption {
    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let now = Mark { t: record.t, line };
        if !timeline.is_judged() {
            self.reign = None;
            return;
        }
        if let Some(reign) = &mut self.reign {
            for node in timeline.members() {
                if *node == reign.leader {
                } else if timeline.is_connected(*node, reign.leader) {
                    reign.connected.entry(*node).or_insert(now.t);
                } else {
                    reign.connected.remove(node);
                }
            }
            if !timeline.is_usable(reign.leader) {
                reign.connected.clear();
            }
        }
        if let Body::Node(node) = &record.body {
            self.node_event(now, node, timeline);
        }
        if let Some(tenure) = timeline.leaders.opened() {
            let newer = self.reign.as_ref().is_none_or(|reign| tenure.term >= reign.term);
            if newer {
                self.reign = Some(Reign {
                    leader: tenure.node,
                    term: tenure.term,
                    since: now,
                    connected: BTreeMap::new(),
                    heard: BTreeMap::new(),
                    excused: self.accepted > tenure.term,
                    hands_over: false,
                });
            }
        }
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(self: Box<Self>, _now: u64, _timeline: &Timeline) -> Outcome {
        Outcome { findings: self.findings, ..Outcome::default() }
    }
}

impl Disruption {
    fn node_event(&mut self, now: Mark, node: &NodeRecord, timeline: &Timeline) {
        match &node.event {
            Event::NodeStart { persisted, .. } => {
                self.promise(now, node.node, persisted.accepted_epoch.unwrap_or(0));
                // The leader is gone; who follows then follows nobody.
                if self.reign.as_ref().is_some_and(|reign| reign.leader == node.node) {
                    self.reign = None;
                }
            }
            Event::Persist { what, value: Some(epoch), .. } if what == "accepted-epoch" => {
                self.promise(now, node.node, *epoch);
            }
            Event::Heartbeat { dir, leader, msg_term, .. } if dir == "accepted" => {
                if let Some(reign) = &mut self.reign
                    && (reign.leader, reign.term) == (*leader, *msg_term)
                {
                    let first = Heard { last: now, regular_since: now.t };
                    let heard = reign.heard.entry(node.node).or_insert(first);
                    if now.t - heard.last.t > self.timeout_ns / 2 {
                        heard.regular_since = now.t;
                    }
                    heard.last = now;
                }
            }
            Event::RoleChange {
                from: Role::Leader, to: Role::Leader, phase: Some(phase), ..
            } if phase == "transfer" => {
                if let Some(reign) = &mut self.reign {
                    reign.hands_over |= reign.leader == node.node;
                }
            }
            Event::RoleChange { from: Role::Leader, to, reason, .. } if *to != Role::Leader => {
                let own = self.reign.take_if(|reign| reign.leader == node.node);
                if let Some(reign) = own {
                    let how = format!("gave up ({reason})");
                    if !reign.excused && !reign.hands_over {
                        self.judge(&reign, now, self.timeout_ns / 2, (&how, None), timeline);
                    }
                }
            }
            Event::LeaderElected { in_term, established: true, .. } => {
                let newer = |reign: &mut Reign| reign.leader != node.node && *in_term > reign.term;
                if let Some(reign) = self.reign.take_if(newer)
                    && !reign.hands_over
                {
                    let how = format!("was replaced by {} in {} {in_term}", node.node, self.word);
                    self.judge(&reign, now, self.timeout_ns, (&how, Some(node.node)), timeline);
                }
            }
            _ => {}
        }
    }

    /// Somebody has accepted an epoch, now or before it started.
    fn promise(&mut self, now: Mark, node: NodeId, epoch: u64) {
        self.accepted = self.accepted.max(epoch);
        let steady_ns = self.steady_ns;
        if let Some(reign) = &mut self.reign
            && epoch > reign.term
        {
            let connected = reign.connected.get(&node);
            let within =
                node == reign.leader || connected.is_some_and(|it| now.t - it >= steady_ns);
            reign.excused |= !within;
        }
    }

    fn judge(
        &mut self,
        reign: &Reign,
        now: Mark,
        age: u64,
        (how, by): (&str, Option<NodeId>),
        timeline: &Timeline,
    ) {
        let steady = |node: &NodeId| {
            reign.connected.get(node).is_some_and(|since| now.t - since >= self.steady_ns)
        };
        let followers: BTreeMap<NodeId, Mark> = reign
            .heard
            .iter()
            .filter(|(node, heard)| {
                let regular = now.t - heard.regular_since >= self.timeout_ns;
                steady(node) && regular && now.t - heard.last.t < age
            })
            .map(|(node, heard)| (*node, heard.last))
            .collect();
        // What a stall broke off may end only now.
        if timeline.stalls.is_resting(now.t) {
            return;
        }
        let configurations = &timeline.configurations;
        let held = followers.keys().copied().chain([reign.leader]).collect();
        if !configurations.is_voter(reign.leader) || !configurations.is_quorum(&held) {
            return;
        }
        self.findings.push(Finding {
            sentence: format!(
                "{} led {} {} and {how} although {} followed it and nothing was broken between them",
                reign.leader,
                self.word,
                reign.term,
                list(followers.keys())
            ),
            nodes: nodes(followers.keys().copied().chain([reign.leader]).chain(by)),
            from_ns: reign.since.t,
            to_ns: now.t,
            lines: lines(
                followers.values().map(|heard| heard.line).take(6).chain([reign.since.line, now.line]),
            ),
        });
    }
}
