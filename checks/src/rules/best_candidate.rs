//! `best-candidate`: how often the winner of a fast election was not the best that it could have heard.
//!
//! Rule: a node that starts a round stands for itself (`vote-cast` for itself, with the epoch that it
//! was last in and its last zxid). When votes are counted (`leader-elected`, not yet established),
//! every other node that is still looking, stood in that round or a later one before, and is connected
//! with the winner could have been heard in the finalize wait. If one of them has a higher epoch, or in
//! the same epoch a higher zxid, the winner was not the best.
//!
//! Fast leader election promises this as an effort only: the finalize wait is finite (ZooKeeper's
//! `finalizeWait` of 200 ms), and who leads is settled by discovery, which no acknowledged entry is lost
//! in. So this check is never invalid: it warns, and says how many of how many elections it was.
//!
//! What it cannot see: a vote that was on its way longer than the wait because the network is slow
//! without a fault counts as one that could have been heard; and protocols whose votes tell no zxid.

use std::collections::BTreeMap;

use usurper_history::{Body, Event, Header, NodeId, Record, Role, Zxid};

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

/// A node as it stood in a round.
#[derive(Clone, Copy, Debug)]
struct Standing {
    inc: u32,
    round: u64,
    epoch: u64,
    zxid: Zxid,
    mark: Mark,
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
            Event::NodeStart { .. } => drop(self.standing.remove(&node)),
            Event::VoteCast { candidate, in_term, prevote: false, zxid: Some(zxid) }
                if *candidate == node =>
            {
                // Votes for oneself are repeated within a round; the first is when it stood.
                let again = self.standing.get(&node).filter(|it| it.round == *in_term);
                let mark = again.map_or(mark, |it| it.mark);
                let (inc, round, epoch, zxid) = (event.inc, *in_term, event.term, *zxid);
                self.standing.insert(node, Standing { inc, round, epoch, zxid, mark });
            }
            Event::LeaderElected { established: false, round, .. } => {
                let stood = self.standing.get(&node).filter(|it| it.inc == event.inc).copied();
                let Some(winner) = stood else { return };
                self.elections += 1;
                let round = round.unwrap_or(winner.round);
                let could_be_heard = |other: &NodeId, it: &Standing| {
                    *other != node
                        && it.round >= round
                        && timeline.leaders.role(*other) == Some(Role::Looking)
                        && timeline.is_connected(*other, node)
                };
                let better = (self.standing.iter())
                    .filter(|(other, it)| it.key() > winner.key() && could_be_heard(other, it))
                    .max_by_key(|(_, it)| it.key());
                if let Some((other, best)) = better {
                    self.surpassed += 1;
                    let sentence = format!(
                        "{node} won round {round} with epoch {} and {}, although {other} stood with \
                         epoch {} and {} and was connected",
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
