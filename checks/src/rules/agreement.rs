//! `agreement` (S15): Paxos chooses one value per instance, and proposes one per ballot.
//!
//! An instance is an index (1 where there is one decree only). A ballot is a counter and its
//! proposer, so that two proposers may use one counter. A node accepts with `ack` of kind `accepted`:
//! `id` names counter and instance, `to` the proposer, and the node's own `append` of that id before
//! it the value, by its digest. A value is chosen once a majority of the header's nodes accepted it in
//! one ballot (Lamport, Paxos Made Simple, §2.2); it is decided where a node tells `commit` or `apply`.
//!
//! Rule: in one instance,
//!
//! 1. all acceptances of one ballot are of one value;
//! 2. all values that are chosen, in whichever ballots, are one;
//! 3. whatever any node decides, in any incarnation, is that one.
//!
//! An acceptance counts for ever: what a node forgets is the matter of `persist-before-ack`. A value
//! that some accepted and no majority did may be replaced.
//!
//! What it cannot see: a value that was chosen although not all acceptances were told, and one whose
//! digest no `append` told.
//!
//! Memory: one entry per instance, ballot and value.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    rc::Rc,
};

use usurper_history::{Body, EntryId, Event, Header, NodeId, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    phrase::list,
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "agreement",
    summary: "one value is chosen and decided per instance, and one proposed per ballot",
    source: "S15; A.4",
    needs: &["append", "ack", "commit"],
    options: &[],
    choices: &[],
    make,
};

type Digest = Rc<str>;
/// A counter and the proposer that used it.
type Ballot = (u64, NodeId);

#[derive(Debug, Default)]
struct Instance {
    /// Who accepted what in which ballot, and when first.
    accepted: BTreeMap<Ballot, BTreeMap<Digest, (BTreeSet<NodeId>, Mark)>>,
    chosen: Option<(Digest, Ballot, Mark)>,
    decided: Option<(Digest, NodeId, Mark)>,
}

/// What a node holds.
#[derive(Debug, Default)]
struct Log {
    /// The counter and value that it last put in each place.
    values: BTreeMap<u64, (u64, Digest)>,
    committed: u64,
}

#[derive(Debug)]
struct Agreement {
    majority: usize,
    findings: Findings,
    instances: BTreeMap<u64, Instance>,
    logs: BTreeMap<NodeId, Log>,
    acceptances: u64,
    decisions: u64,
}

fn make(header: &Header, _options: &Options) -> Box<dyn Check> {
    Box::new(Agreement {
        majority: header.nodes.len() / 2 + 1,
        findings: Findings::default(),
        instances: BTreeMap::new(),
        logs: BTreeMap::new(),
        acceptances: 0,
        decisions: 0,
    })
}

impl Check for Agreement {
    fn observe(&mut self, line: u64, record: &Record, _timeline: &Timeline) {
        let Body::Node(event) = &record.body else { return };
        let (now, node) = (Mark { t: record.t, line }, event.node);
        match &event.event {
            Event::Append { first, digests, .. } => {
                let log = self.logs.entry(node).or_default();
                for (index, digest) in (first.index..=u64::MAX).zip(digests) {
                    log.values.insert(index, (first.term, digest.as_str().into()));
                }
            }
            Event::Ack { kind, to, id: Some(id), .. } if kind == "accepted" => {
                let value = self.value_of(node, *id);
                if let Some(value) = value {
                    self.accept(now, node, (id.term, *to), id.index, value);
                }
            }
            Event::Commit { up_to, .. } => {
                let log = self.logs.entry(node).or_default();
                let from = log.committed.min(up_to.index.saturating_sub(1));
                log.committed = log.committed.max(up_to.index);
                let new = (Bound::Excluded(from), Bound::Included(up_to.index));
                let places = log.values.range(new);
                let places: Vec<(u64, Digest)> =
                    places.map(|(index, (_, digest))| (*index, digest.clone())).collect();
                for (index, digest) in places {
                    self.decide(now, node, index, digest);
                }
            }
            Event::Apply { id, digest, .. } => {
                self.decide(now, node, id.index, digest.as_str().into());
            }
            _ => {}
        }
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(self: Box<Self>, _now: u64, _timeline: &Timeline) -> Outcome {
        let unknown = if self.acceptances == 0 {
            Some("no acceptance was told with its value".to_owned())
        } else if self.decisions == 0 && self.instances.values().all(|it| it.chosen.is_none()) {
            Some("nothing was chosen, so nothing could be agreed on".to_owned())
        } else {
            None
        };
        Outcome { findings: self.findings, unknown, ..Outcome::default() }
    }
}

impl Agreement {
    fn value_of(&self, node: NodeId, id: EntryId) -> Option<Digest> {
        let log = self.logs.get(&node)?;
        log.values.get(&id.index).filter(|(ballot, _)| *ballot == id.term).map(|(_, it)| it.clone())
    }

    fn accept(&mut self, now: Mark, node: NodeId, ballot: Ballot, index: u64, value: Digest) {
        self.acceptances += 1;
        let instance = self.instances.entry(index).or_default();
        let of_ballot = instance.accepted.entry(ballot).or_default();
        let words = format!("ballot {} of {}", ballot.0, ballot.1);
        let is_new = !of_ballot.contains_key(&value);
        let other = of_ballot.iter().find(|(it, _)| **it != value);
        let twice = other.filter(|_| is_new).map(|(other, (by, since))| {
            let sentence = format!(
                "{node} accepted {value} for instance {index} in {words}, in which {} had accepted \
                 {other}",
                list(by)
            );
            (sentence, by.clone(), *since)
        });
        let (by, since) = of_ballot.entry(value.clone()).or_insert((BTreeSet::new(), now));
        by.insert(node);
        let (by, since) = (by.clone(), *since);
        let mut found = Vec::from_iter(twice);
        if by.len() >= self.majority {
            match &instance.chosen {
                None => instance.chosen = Some((value.clone(), ballot, now)),
                Some((other, before, mark)) if *other != value => {
                    let sentence = format!(
                        "{} chose {value} for instance {index} in {words}, and {other} had been \
                         chosen in ballot {} of {}",
                        list(&by),
                        before.0,
                        before.1
                    );
                    found.push((sentence, by, (*mark).earlier(since)));
                }
                Some(_) => {}
            }
        }
        for (sentence, others, since) in found {
            self.found(sentence, others.into_iter().chain([node]), since, now);
        }
    }

    fn decide(&mut self, now: Mark, node: NodeId, index: u64, value: Digest) {
        self.decisions += 1;
        let instance = self.instances.entry(index).or_default();
        let against_chosen = instance.chosen.as_ref().filter(|(it, ..)| *it != value).map(
            |(chosen, ballot, since)| {
                let sentence = format!(
                    "{node} decided {value} for instance {index}, for which {chosen} had been chosen \
                     in ballot {} of {}",
                    ballot.0, ballot.1
                );
                (sentence, ballot.1, *since)
            },
        );
        let against_decided = instance.decided.as_ref().filter(|(it, ..)| *it != value).map(
            |(decided, by, since)| {
                let sentence = format!(
                    "{node} decided {value} for instance {index}, for which {by} had decided {decided}"
                );
                (sentence, *by, *since)
            },
        );
        instance.decided.get_or_insert((value, node, now));
        if let Some((sentence, other, since)) = against_decided.or(against_chosen) {
            self.found(sentence, [node, other], since, now);
        }
    }

    fn found(
        &mut self,
        sentence: String,
        named: impl IntoIterator<Item = NodeId>,
        since: Mark,
        now: Mark,
    ) {
        self.findings.push(Finding {
            sentence,
            nodes: nodes(named),
            from_ns: since.t,
            to_ns: now.t,
            lines: lines([since.line, now.line]),
        });
    }
}
