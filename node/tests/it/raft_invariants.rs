//! What must hold in every run of `raft`: figure 3 of the paper, what must be durable before it is
//! said, and what clients were promised.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use usurper_history::{EntryId, Event, NodeId};
use usurper_node::{
    protocol::{Protocol, Reply, Request, Stamped},
    raft::{Config, Message, Raft},
};

use super::raft_sim::SimNode;

/// The keys that chaos uses: a list that is appended to, and a counter.
pub(crate) const LIST: &str = "list";
pub(crate) const COUNTER: &str = "counter";

fn id_at(raft: &Raft, index: u64) -> Option<EntryId> {
    let place = index.checked_sub(raft.base().index + 1)?;
    raft.entries().get(usize::try_from(place).ok()?).map(|entry| entry.id)
}

/// A majority of the voters and, while voters are replaced, of the outgoing ones.
fn is_quorum(config: &Config, nodes: &[NodeId]) -> bool {
    let has_majority = |voters: &BTreeSet<NodeId>| {
        2 * voters.iter().filter(|voter| nodes.contains(voter)).count() > voters.len()
    };
    let outgoing = config.outgoing.is_empty() || has_majority(&config.outgoing);
    has_majority(&config.voters) && outgoing
}

#[derive(Default)]
pub(crate) struct Invariants {
    /// Who led each term.
    leaders: BTreeMap<u64, NodeId>,
    /// For whom each node told anybody that it voted, across restarts.
    votes: BTreeMap<(NodeId, u64), NodeId>,
    terms: BTreeMap<NodeId, u64>,
    /// The digest of each entry and what came before it.
    entries: BTreeMap<EntryId, (String, EntryId)>,
    /// What was committed at each index, by anybody, ever.
    committed: BTreeMap<u64, EntryId>,
    /// What was applied at each index, and the state after it.
    applied: BTreeMap<u64, (EntryId, String, Option<String>)>,
    /// The configuration of each node, as it says.
    in_force: BTreeMap<NodeId, Config>,
    /// Of the running incarnation.
    commits: BTreeMap<NodeId, u64>,
    applied_last: BTreeMap<NodeId, u64>,
    /// The highest answer of the counter when a request was made, by request.
    asked: BTreeMap<u64, (String, Option<Value>, u64)>,
    counter: u64,
    /// Values whose append was acknowledged, and refused.
    pub(crate) done: BTreeSet<u64>,
    pub(crate) refused: BTreeSet<u64>,
    pub(crate) unknown: usize,
    pub(crate) violations: Vec<String>,
    pub(crate) elections: usize,
    /// Snapshots of other nodes that were installed.
    pub(crate) installed: usize,
    /// Configurations that were found committed, by the entry.
    pub(crate) configs: BTreeSet<EntryId>,
    pub(crate) names: BTreeSet<&'static str>,
    pub(crate) defect_hits: BTreeSet<String>,
    pub(crate) transcript: Option<Vec<String>>,
}

impl Invariants {
    /// A node starts with what its snapshot has, which was committed and applied.
    pub(crate) fn started(&mut self, node: NodeId, commit: u64) {
        self.commits.insert(node, commit);
        self.applied_last.insert(node, commit);
    }

    pub(crate) fn event(&mut self, now: u64, id: NodeId, node: &SimNode, stamped: &Stamped) {
        if let Some(transcript) = &mut self.transcript {
            let inc = node.setup.inc;
            transcript.push(format!("{:>6} ms {id}.{inc} {stamped:?}", now / 1_000_000));
        }
        self.names.insert(stamped.event.name());
        if let Some(rule) = self.judge(id, node, &stamped.event) {
            self.broken(rule, now, id, &stamped.event);
        }
    }

    fn judge(&mut self, id: NodeId, node: &SimNode, event: &Event) -> Option<&'static str> {
        let raft = node.raft.as_ref()?;
        match event {
            Event::NodeStart { persisted, .. } => {
                self.in_force.insert(id, raft.config().clone());
                let found = persisted.term.unwrap_or(0);
                if self.terms.get(&id).is_some_and(|before| found < *before) {
                    return Some("a term that was told is never forgotten");
                }
            }
            Event::LeaderElected { in_term, votes, .. } => {
                self.elections += 1;
                if *self.leaders.entry(*in_term).or_insert(id) != id {
                    return Some("election safety: one leader per term");
                }
                if !is_quorum(&self.in_force[&id], votes) {
                    return Some("a quorum elects");
                }
                // What a snapshot covers was judged when it was taken.
                let has = |(index, entry): (&u64, &EntryId)| {
                    *index <= raft.base().index || id_at(raft, *index) == Some(*entry)
                };
                if !self.committed.iter().all(has) {
                    return Some("leader completeness: a leader has all that was committed");
                }
            }
            Event::Append { first, digests, prev, .. } => {
                let mut prev = prev.unwrap();
                // All entries of a batch are of one term.
                for (index, digest) in (first.index..).zip(digests) {
                    let entry = EntryId { term: first.term, index };
                    let known = self.entries.entry(entry).or_insert((digest.clone(), prev));
                    if *known != (digest.clone(), prev) {
                        return Some("log matching: one entry, and one past, per index and term");
                    }
                    prev = entry;
                }
            }
            Event::Truncate { first, .. } if first.index <= self.commits[&id] => {
                return Some("what is committed is never truncated");
            }
            Event::Commit { quorum: Some(quorum), .. }
                if !is_quorum(&self.in_force[&id], quorum) =>
            {
                return Some("a quorum commits");
            }
            Event::Commit { up_to, .. } => {
                let before = self.commits.insert(id, up_to.index).unwrap_or(0);
                if up_to.index <= before {
                    return Some("the commit index never goes back");
                }
                // The same step may have put them into a snapshot.
                let held = raft.entries().iter().map(|entry| entry.id);
                for id in held.take_while(|id| id.index <= up_to.index).chain([*up_to]) {
                    if *self.committed.entry(id.index).or_insert(id) != id {
                        return Some("what is committed is never replaced");
                    }
                }
            }
            Event::Apply { id: entry, digest, state_digest, .. } => {
                let last = self.applied_last.insert(id, entry.index).unwrap_or(0);
                if entry.index != last + 1 || entry.index > self.commits[&id] {
                    return Some("entries are applied in order, once committed");
                }
                let now = (*entry, digest.clone(), state_digest.clone());
                if *self.applied.entry(entry.index).or_insert_with(|| now.clone()) != now {
                    return Some("state machine safety: one entry and one state per index");
                }
            }
            Event::Snapshot { op, last, state_digest, .. } if op == "take" || op == "install" => {
                if op == "install" {
                    self.installed += 1;
                    let commit = self.commits.insert(id, last.index).unwrap_or(0);
                    self.applied_last.insert(id, last.index);
                    if last.index <= commit {
                        return Some("a snapshot that is installed is ahead");
                    }
                }
                if self.committed.get(&last.index) != Some(last) {
                    return Some("a snapshot ends at what is committed");
                }
                let (_, _, state) = &self.applied[&last.index];
                if state != state_digest {
                    return Some("a snapshot has the state that all have there");
                }
            }
            Event::Config { op, id: entry, .. } if op == "commit" => {
                self.configs.insert(*entry);
            }
            Event::Config { voters, outgoing, .. } => {
                let outgoing = outgoing.iter().flatten().copied().collect();
                let voters = voters.iter().copied().collect();
                self.in_force.insert(id, Config { voters, outgoing, ..Config::default() });
            }
            Event::DefectHit { name, .. } => {
                self.defect_hits.insert(name.clone());
            }
            _ => {}
        }
        None
    }

    /// What a message promises must be on the sender's disk, whatever happens to it now.
    pub(crate) fn sent(
        &mut self,
        now: u64,
        id: NodeId,
        node: &SimNode,
        to: NodeId,
        message: &Message,
    ) {
        let term = message.term();
        let vote = match message {
            Message::VoteReply { prevote: false, granted: true, .. } => Some(to),
            Message::VoteRequest { prevote: false, .. } => Some(id),
            _ => None,
        };
        if let Some(candidate) = vote
            && *self.votes.entry((id, term)).or_insert(candidate) != candidate
        {
            self.broken("a node votes once per term", now, id, message);
        }
        let matched = match message {
            Message::AppendReply { matched, refused: None, .. } => *matched,
            _ => 0,
        };
        if matches!(message, Message::VoteReply { prevote: true, granted: true, .. }) {
            return;
        }
        if !matches!(message, Message::VoteRequest { prevote: true, .. }) {
            let told = self.terms.entry(id).or_insert(0);
            *told = term.max(*told);
        }
        if vote.is_none() && matched == 0 {
            return;
        }
        let disk = Raft::recover(&node.setup, &node.disk[..node.durable]);
        let Ok(disk) = disk else {
            self.broken("what is durable can be recovered", now, id, message);
            return;
        };
        let durable = disk.last().index;
        if vote.is_some() && (disk.envelope().0 < term || disk.vote() != vote) {
            self.broken("a vote is durable before it is told", now, id, message);
        }
        if durable < matched {
            self.broken("entries are durable before they are acknowledged", now, id, message);
        }
    }

    pub(crate) fn asked(&mut self, request: &Request) {
        // Of the keys that are read, only the counter has an order that is known here.
        let f = match request.key.as_deref() {
            Some(COUNTER) | None => request.f.clone(),
            Some(key) => format!("{} {key}", request.f),
        };
        let what = (f, request.value.clone(), self.counter);
        self.asked.insert(request.serial, what);
    }

    pub(crate) fn replied(&mut self, now: u64, id: NodeId, reply: &Reply) {
        let Some((f, value, counter)) = self.asked.remove(&reply.serial) else {
            self.broken("a request is answered once", now, id, reply);
            return;
        };
        self.unknown += usize::from(reply.unknown);
        match f.as_str() {
            "append list" => {
                let value = value.and_then(|value| value.as_u64()).unwrap();
                if reply.ok {
                    self.done.insert(value);
                } else if !reply.unknown {
                    self.refused.insert(value);
                }
            }
            // Both return the counter, which all answers before the request had seen.
            "advance" | "read" if reply.ok => {
                let answer = reply.value.as_ref().and_then(Value::as_u64).unwrap_or(0);
                if answer < counter + u64::from(f == "advance") {
                    self.broken("an answer is not older than those before it", now, id, reply);
                }
                self.counter = self.counter.max(answer);
            }
            _ => {}
        }
    }

    fn broken(&mut self, rule: &str, now: u64, node: NodeId, what: &impl std::fmt::Debug) {
        if self.violations.len() < 10 {
            let at = now / 1_000_000;
            self.violations.push(format!("{rule}: {node} at {at} ms: {what:?}"));
        }
    }
}
