//! Who decides: the configurations that may be in force, as the nodes tell of them.
//!
//! In Raft the latest configuration of a node's log is in force on that node (Ongaro 2014, §4.1), so while a
//! change is not committed the nodes may disagree, and nobody can say yet whether it will last. What a
//! bound of liveness asks for is therefore asked of all of these at once:
//!
//! - the latest configuration that is known to be committed: by a `config` of `commit` or `apply`, by a
//!   `commit` of a node whose latest one that covers, by anybody's `commit` of a later entry of its own term,
//!   or as the first one that a node was given;
//! - the latest one of each node's log, if it lies behind everything that was committed by who tells of
//!   configurations. Others may have committed it without a word.
//!
//! A joint configuration takes a majority of its voters and one of the outgoing; learners never count.
//! Where nobody tells of a configuration, the nodes of the header are the voters.
//!
//! One change excuses nothing: a leader that begins it although those whom it could have heard of lately
//! are no quorum of the outcome had to refuse it (§4.2.1, and etcd's strict reconfiguration), or the
//! cluster takes away its own majority.
//!
//! A snapshot's configuration says nothing of learners and of what is outgoing, and is not looked at.

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::{EntryId, Event, Header, NodeId, NodeRecord, Persisted, Role};

/// Who votes: a quorum is a majority of the voters and, of a joint configuration, one of the outgoing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voters {
    pub(crate) voters: BTreeSet<NodeId>,
    pub(crate) outgoing: BTreeSet<NodeId>,
}

impl Voters {
    pub(crate) fn of(voters: &[NodeId], outgoing: &[NodeId]) -> Self {
        let set = |nodes: &[NodeId]| nodes.iter().copied().collect();
        Self { voters: set(voters), outgoing: set(outgoing) }
    }

    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }

    pub(crate) fn is_quorum(&self, counted: &BTreeSet<NodeId>) -> bool {
        let half = |half: &BTreeSet<NodeId>| {
            half.is_empty() || half.intersection(counted).count() > half.len() / 2
        };
        !self.voters.is_empty() && half(&self.voters) && half(&self.outgoing)
    }
}

/// A configuration and the entry that brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Configuration {
    id: EntryId,
    voters: Voters,
    learners: BTreeSet<NodeId>,
}

/// The latest configuration in the log of a node.
#[derive(Clone, Debug)]
struct Held {
    inc: u32,
    config: Configuration,
    /// When it was begun it could have been committed, as far as could be seen.
    possible: bool,
}

/// What is known of the configurations, in memory that grows with the cluster only.
#[derive(Debug)]
pub(crate) struct Configurations {
    /// Somebody has told of one.
    told: bool,
    committed: Configuration,
    /// The highest index that is known to be committed.
    decided: u64,
    held: BTreeMap<NodeId, Held>,
    in_force: Vec<Configuration>,
}

impl Configurations {
    pub(crate) fn new(header: &Header) -> Self {
        let committed = Configuration {
            id: EntryId::default(),
            voters: Voters::of(&header.nodes, &[]),
            learners: BTreeSet::new(),
        };
        let in_force = vec![committed.clone()];
        Self { told: false, committed, decided: 0, held: BTreeMap::new(), in_force }
    }

    /// Takes in what a node tells; `absent` are those whom it can have heard nothing of for long.
    /// Returns whether who decides is another one now.
    pub(crate) fn apply(&mut self, event: &NodeRecord, absent: &BTreeSet<NodeId>) -> bool {
        let stale = self.held.get(&event.node).is_some_and(|held| event.inc < held.inc);
        if stale {
            return false;
        }
        match &event.event {
            Event::NodeStart { persisted, .. } => self.start(event, persisted),
            Event::Config { op, id, voters, outgoing, learners } if !voters.is_empty() => {
                let config = Configuration {
                    id: *id,
                    voters: Voters::of(voters, outgoing.as_deref().unwrap_or_default()),
                    learners: learners.iter().flatten().copied().collect(),
                };
                if op == "commit" {
                    self.commit(config);
                } else {
                    let applied = op == "apply";
                    let absent = (op == "append" && event.role == Role::Leader).then_some(absent);
                    self.hold(event, config.clone(), absent);
                    if applied {
                        self.commit(config);
                    }
                }
            }
            Event::Commit { up_to, .. } => {
                if !self.commit_up_to(event.node, *up_to) {
                    return false;
                }
            }
            _ => return false,
        }
        let uncommitted = (self.held.values())
            .filter(|held| held.possible && held.config.id.index > self.decided);
        let mut in_force = vec![self.committed.clone()];
        for held in uncommitted {
            if !in_force.contains(&held.config) {
                in_force.push(held.config.clone());
            }
        }
        let changed = in_force != self.in_force;
        self.in_force = in_force;
        changed
    }

    /// Whether some nodes can decide, whichever configuration turns out to be in force.
    pub(crate) fn is_quorum(&self, counted: &BTreeSet<NodeId>) -> bool {
        self.in_force.iter().all(|config| config.voters.is_quorum(counted))
    }

    /// Whether some nodes can decide by any configuration that may be in force, or that this node
    /// takes for it.
    pub(crate) fn may_be_quorum(&self, by: NodeId, counted: &BTreeSet<NodeId>) -> bool {
        let own = self.held.get(&by).map(|held| &held.config);
        self.in_force.iter().chain(own).any(|config| config.voters.is_quorum(counted))
    }

    /// Whether a node votes, whichever configuration turns out to be in force.
    pub(crate) fn is_voter(&self, node: NodeId) -> bool {
        self.in_force.iter().all(|config| config.voters.has(node))
    }

    /// Whether a node votes or learns, whichever configuration turns out to be in force.
    pub(crate) fn is_member(&self, node: NodeId) -> bool {
        self.in_force.iter().all(|config| config.has(node))
    }

    /// Whether a node votes or learns by any configuration that may be in force.
    pub(crate) fn may_be_member(&self, node: NodeId) -> bool {
        self.in_force.iter().any(|config| config.has(node))
    }

    /// The voters by whom a node counts, if it has told of them.
    pub(crate) fn own(&self, node: NodeId) -> Option<&Voters> {
        self.held.get(&node).map(|held| &held.config.voters)
    }

    /// The voters by whom a node counts; where it has told of none, those of all configurations
    /// that may be in force.
    pub(crate) fn counted_by(&self, node: NodeId) -> Vec<Voters> {
        match self.own(node) {
            Some(own) => vec![own.clone()],
            None => self.in_force.iter().map(|config| config.voters.clone()).collect(),
        }
    }

    fn start(&mut self, event: &NodeRecord, persisted: &Persisted) {
        let of = |name: &str| persisted.extra.get(name).cloned().unwrap_or_default();
        let nodes =
            |name: &str| serde_json::from_value::<Vec<NodeId>>(of(name)).unwrap_or_default();
        let Some(voters) = persisted.config.as_ref().filter(|voters| !voters.is_empty()) else {
            // Its log may be as long as it was, and hold what it held.
            let last = persisted.last.unwrap_or_default().index;
            self.held.retain(|node, held| *node != event.node || held.config.id.index <= last);
            if let Some(held) = self.held.get_mut(&event.node) {
                held.inc = event.inc;
            }
            return;
        };
        let config = Configuration {
            id: serde_json::from_value(of("config-id")).unwrap_or_default(),
            voters: Voters::of(voters, &nodes("outgoing")),
            learners: nodes("learners").into_iter().collect(),
        };
        let commit = persisted.commit.or(persisted.applied).unwrap_or(0);
        self.hold(event, config.clone(), None);
        if config.id.index <= commit {
            self.commit(config);
        }
    }

    fn hold(
        &mut self,
        event: &NodeRecord,
        config: Configuration,
        absent: Option<&BTreeSet<NodeId>>,
    ) {
        let known = self.held.values().find(|held| held.config.id == config.id);
        let possible = known.map_or_else(
            || {
                absent.is_none_or(|absent| {
                    let all = &config.voters.voters | &config.voters.outgoing;
                    config.voters.is_quorum(&(&all - absent))
                })
            },
            |held| held.possible,
        );
        self.held.insert(event.node, Held { inc: event.inc, config, possible });
    }

    /// Returns whether that says anything new.
    fn commit_up_to(&mut self, node: NodeId, up_to: EntryId) -> bool {
        // Before an entry stand all of its term, whoever told of them (Log Matching).
        let is_before = |id: EntryId| id.term == up_to.term && id.index <= up_to.index;
        let own = self.held.get(&node).map(|held| &held.config);
        // What is not in the log of who has committed so far was replaced, if that one tells of its log.
        let decided = if own.is_some() { self.decided.max(up_to.index) } else { self.decided };
        let covered = own.filter(|config| config.id.index <= up_to.index);
        let before = self.held.values().map(|held| &held.config).filter(|it| is_before(it.id));
        let latest = before.chain(covered).max_by_key(|config| config.id.index);
        let is_new = |it: &&Configuration| !self.told || it.id.index > self.committed.id.index;
        let latest = latest.filter(is_new).cloned();
        let says = decided > self.decided || latest.is_some();
        self.decided = decided;
        if let Some(config) = latest {
            self.commit(config);
        }
        says
    }

    fn commit(&mut self, config: Configuration) {
        self.decided = self.decided.max(config.id.index);
        if !self.told || config.id.index > self.committed.id.index {
            self.committed = config;
        }
        self.told = true;
    }
}

impl Configuration {
    fn has(&self, node: NodeId) -> bool {
        self.voters.has(node) || self.learners.contains(&node)
    }
}
