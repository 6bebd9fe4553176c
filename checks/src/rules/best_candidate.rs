//! `best-candidate`: how often the winner of a fast election was not the best that it could have heard.
//!
//! Rule: what a node has to offer is the epoch that it was last in and its last zxid, as found at its
//! start (`node-start`), stored since (`persist` of a zxid) or told when it stood (`vote-cast` for
//! itself). When votes are counted (`leader-elected`, not yet established), every other voter that is
//! in that round or a later one (`term-change` of a round, or `vote-cast`), has not found an established
//! leader since, runs, and has no cut link to or from the winner could have been heard in the finalize
//! wait. If one of them has
//! a higher epoch, or in the same epoch a higher zxid, the winner was not the best. Nobody needs to have
//! stood to be the better one: who hears others late stands late, or has decided for another by then.
//!
//! Fast leader election promises this as an effort only: the finalize wait is finite (ZooKeeper's
//! `finalizeWait` of 200 ms), and who leads is settled by discovery, which no acknowledged entry is lost
//! in. So this check is never invalid: it warns, and says how many of how many elections it was.
//!
//! A slow link is no excuse: the wait is what is set to outlast it. What it cannot see: how long a vote
//! needs, so one that was on its way for longer than the wait counts as one that could have been heard;
//! and protocols whose votes tell no zxid.

use std::collections::BTreeMap;

use usurper_history::{Body, Event, Header, NodeId, Record, Zxid};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    phrase::counted,
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "best-candidate",
    summary: "how often a better candidate than the winner could have been heard",
    source: "seed 000; A.4",
    needs: &["leader-elected", "vote-cast"],
    options: &[],
    choices: &[],
    make,
};

/// What a node has to offer, and the round that it is in.
#[derive(Clone, Copy, Debug)]
struct Standing {
    inc: u32,
    round: u64,
    epoch: u64,
    zxid: Zxid,
    /// When it stood for itself first, or entered the round if it did not.
    mark: Mark,
    stood: bool,
    /// It knows an established leader, so this round is over for it.
    settled: bool,
}

#[derive(Debug, Default)]
struct BestCandidate {
    standing: BTreeMap<NodeId, Standing>,
    warnings: Findings,
    elections: u64,
    surpassed: u64,
}

fn make(_header: &Header, _options: &Options) -> Box<dyn Check> {
    Box::new(BestCandidate::default())
}

impl Standing {
    fn key(&self) -> (u64, Zxid) {
        (self.epoch, self.zxid)
    }
}

impl Check for BestCandidate {
    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let Body::Node(event) = &record.body else { return };
        let (mark, node) = (Mark { t: record.t, line }, event.node);
        match &event.event {
            Event::NodeStart { persisted, .. } => {
                let epoch = persisted.current_epoch.unwrap_or(0);
                let zxid = persisted.zxid.unwrap_or_default();
                let fresh = Standing {
                    inc: event.inc,
                    round: 0,
                    epoch,
                    zxid,
                    mark,
                    stood: false,
                    settled: false,
                };
                self.standing.insert(node, fresh);
            }
            Event::Persist { what, zxid: Some(zxid), ok: true, .. } if what == "zxid" => {
                if let Some(it) = self.standing.get_mut(&node) {
                    it.zxid = *zxid;
                }
            }
            Event::TermChange { kind, to, .. } if kind == "round" => {
                if let Some(it) = self.standing.get_mut(&node) {
                    *it = Standing {
                        round: *to,
                        epoch: event.term,
                        mark,
                        stood: false,
                        settled: false,
                        ..*it
                    };
                }
            }
            Event::VoteCast { candidate, in_term, prevote: false, zxid: Some(zxid) }
                if *candidate == node =>
            {
                // Votes for oneself are repeated within a round; the first is when it stood.
                let again = self.standing.get(&node).filter(|it| it.stood && it.round == *in_term);
                let mark = again.map_or(mark, |it| it.mark);
                let (inc, round, epoch, zxid) = (event.inc, *in_term, event.term, *zxid);
                self.standing.insert(
                    node,
                    Standing { inc, round, epoch, zxid, mark, stood: true, settled: false },
                );
            }
            Event::LeaderKnown { .. } | Event::LeaderElected { established: true, .. } => {
                if let Some(it) = self.standing.get_mut(&node) {
                    it.settled = true;
                }
            }
            Event::LeaderElected { established: false, round, .. } => {
                let stood =
                    self.standing.get(&node).filter(|it| it.stood && it.inc == event.inc).copied();
                let Some(winner) = stood else { return };
                self.elections += 1;
                let round = round.unwrap_or(winner.round);
                let could_be_heard = |other: &NodeId, it: &Standing| {
                    *other != node
                        && it.round >= round
                        && timeline.configurations.is_voter(*other)
                        && !it.settled
                        && timeline.is_usable(*other)
                        && !timeline.is_severed(node, *other)
                };
                let better = (self.standing.iter())
                    .filter(|(other, it)| it.key() > winner.key() && could_be_heard(other, it))
                    .max_by_key(|(_, it)| it.key());
                if let Some((other, best)) = better {
                    self.surpassed += 1;
                    let sentence = format!(
                        "{node} won round {round} with epoch {} and {}, although {other}, with epoch {} \
                         and {}, was in the election and connected",
                        winner.epoch, winner.zxid, best.epoch, best.zxid
                    );
                    self.warnings.push(Finding {
                        sentence,
                        nodes: nodes([node, *other]),
                        from_ns: best.mark.t,
                        to_ns: mark.t,
                        lines: lines([best.mark.line, winner.mark.line, mark.line]),
                    });
                }
            }
            _ => {}
        }
    }

    fn finish(self: Box<Self>, _now: u64, _timeline: &Timeline) -> Outcome {
        if self.elections == 0 {
            let unknown = Some("no winner told what it stood with".to_owned());
            return Outcome { unknown, ..Outcome::default() };
        }
        let of = counted(self.elections, "election");
        let note =
            format!("a better candidate could have been heard in {} of {of}", self.surpassed);
        Outcome { warnings: self.warnings, note: Some(note), ..Outcome::default() }
    }
}
