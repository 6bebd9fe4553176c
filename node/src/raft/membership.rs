//! How the configuration changes (chapter 4 of the thesis).
//!
//! - One change at a time: a leader starts none while one is not committed, nor before an entry of
//!   its own term is. Without the second rule two leaders can change the same configuration, each in
//!   its own way, so that their majorities do not meet (Ongaro, 2015).
//! - One voter more or less is one entry. Anything else is joint: an entry in which the old and the
//!   new voters decide together, and, once it is committed, one that leaves it.
//! - Who is to vote gets the log first, in rounds, while the old configuration goes on. If the rounds
//!   do not get shorter than an election timeout, the change is refused, and nothing has happened.
//! - A change after which those who answer would be no majority is refused.
//! - A leader that removes itself leads, without counting itself, until the entry is committed, and
//!   then steps down. Until then a removed node may be needed, so it may campaign.
//! - Removed nodes get the log until their removal is committed, so that they learn of it if they
//!   can. Those that do not are kept quiet by prevotes and leases.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use usurper_history::{EntryId, Event, NodeId, Role};

use super::{
    command::Command,
    config::{Config, Electorate, Half, Tally},
    node::Raft,
    options::Defect,
    progress::Progress,
    state::{CatchUp, State, Waiting},
};
use crate::protocol::Reply;

/// In so many rounds a new voter has to catch up; as in section 4.2.1 of the thesis.
const ROUNDS_MAX: u32 = 10;
/// A round that takes so many election timeouts shows a node that is not there, or far too slow.
const ROUND_TIMEOUTS_MAX: u32 = 10;

impl Raft {
    /// Which entry put the configuration in force; index 0: none, it is the first one.
    pub(super) fn config_id(&self) -> EntryId {
        self.configs.latest().id
    }

    pub(super) fn electorate(&self) -> Electorate {
        self.config().electorate()
    }

    /// Whose answers keep a leader in office.
    pub(super) fn in_force(&self) -> Electorate {
        let right = self.electorate();
        match self.bend(&right) {
            Some((Defect::QuorumIsHalf, wrong)) => wrong,
            _ => right,
        }
    }

    /// Whether this node alone is a quorum.
    pub(super) fn is_alone(&self) -> bool {
        self.electorate().is_quorum(|node| node == self.id)
    }

    pub(super) fn role(&self) -> Role {
        match self.state.role() {
            Role::Follower if self.is_learner() => Role::Learner,
            role => role,
        }
    }

    fn is_learner(&self) -> bool {
        self.config().learners.contains(&self.id) && !self.config().is_voter(self.id)
    }

    /// A voter may, and a node whose removal may not be committed: it can have the only log that
    /// wins (section 4.2.2).
    pub(super) fn may_campaign(&self) -> bool {
        let latest = self.configs.latest();
        let was_voter = || {
            let before = self.configs.before_latest();
            before.is_some_and(|placed| placed.config.is_voter(self.id))
        };
        if self.abstains {
            return false;
        }
        latest.config.is_voter(self.id) || latest.id.index > self.commit && was_voter()
    }

    /// Whom a candidate asks.
    pub(super) fn asked(&self) -> BTreeSet<NodeId> {
        if self.has(Defect::CampaignWithUnappliedConf) {
            return self.configs.at(self.applied).config.electorate().counted();
        }
        self.electorate().counted()
    }

    pub(super) fn decide_election(&mut self, votes: &BTreeMap<NodeId, bool>) -> Tally {
        let right = self.electorate();
        if self.has(Defect::CampaignWithUnappliedConf) {
            let applied = self.configs.at(self.applied).config.electorate();
            let wrong = applied.tally(votes);
            if wrong != right.tally(votes) {
                self.hit(Defect::CampaignWithUnappliedConf, "votes by an older configuration");
            }
            return wrong;
        }
        self.decide(&right, |electorate| electorate.tally(votes))
    }

    pub(super) fn decide_commit(&mut self, matched: &impl Fn(NodeId) -> u64) -> u64 {
        let right = self.electorate();
        self.decide(&right, |electorate| electorate.quorum_index(matched))
    }

    /// Whose votes and entries are counted here.
    pub(super) fn counted(&self) -> BTreeSet<NodeId> {
        let right = self.electorate();
        self.bend(&right).map_or_else(|| right.counted(), |(_, wrong)| wrong.counted())
    }

    fn decide<T: PartialEq>(&mut self, right: &Electorate, decide: impl Fn(&Electorate) -> T) -> T {
        let Some((defect, wrong)) = self.bend(right) else { return decide(right) };
        let answer = decide(&wrong);
        if answer != decide(right) {
            self.hit(defect, "a majority that is none");
        }
        answer
    }

    /// The electorate as a defect has it, if one is on that changes it.
    fn bend(&self, right: &Electorate) -> Option<(Defect, Electorate)> {
        let on = |defect| self.has(defect).then_some(defect);
        let counting = |more: BTreeSet<NodeId>| {
            let half = |half: &Half| Half { counted: &half.counted | &more, needed: half.needed };
            Electorate { halves: right.halves.iter().map(half).collect() }
        };
        if self.config().is_joint()
            && let Some((defect, half)) = on(Defect::JointCountsNewOnly)
                .map(|defect| (defect, 0))
                .or(on(Defect::JointCountsOldOnly).map(|defect| (defect, 1)))
        {
            let halves = right.halves.get(half).cloned().into_iter().collect();
            return Some((defect, Electorate { halves }));
        }
        if let Some(defect) = on(Defect::QuorumIsHalf) {
            let half = |half: &Half| Half {
                counted: half.counted.clone(),
                needed: (half.counted.len() / 2).max(1),
            };
            return Some((defect, Electorate { halves: right.halves.iter().map(half).collect() }));
        }
        let members = || self.members.iter().copied().collect();
        if let Some(defect) = on(Defect::CountNonMembers) {
            return Some((defect, counting(members())));
        }
        if let Some(defect) = on(Defect::LearnerCounts) {
            return Some((defect, counting(self.config().learners.clone())));
        }
        let defect = on(Defect::RemovedLeaderCountsSelf)?;
        matches!(self.state, State::Leader(_))
            .then(|| (defect, counting(BTreeSet::from([self.id]))))
    }

    /// Another configuration is in force.
    pub(super) fn adopt(&mut self, op: &str, from: Role) {
        self.note_config(op, self.config_id());
        let to = self.role();
        if from != to {
            let reason = "the configuration".to_owned();
            self.emit(Event::RoleChange { from, to, phase: None, reason });
        }
        if matches!(self.state, State::Leader(_)) {
            self.track_members();
            self.check_transferee();
        }
    }

    pub(super) fn note_config(&mut self, op: &str, id: EntryId) {
        let config = self.configs.at(id.index).config.clone();
        let list = |nodes: &BTreeSet<NodeId>| nodes.iter().copied().collect::<Vec<_>>();
        let some = |nodes: &BTreeSet<NodeId>| (!nodes.is_empty()).then(|| list(nodes));
        self.emit(Event::Config {
            op: op.to_owned(),
            id,
            voters: list(&config.voters),
            outgoing: some(&config.outgoing),
            learners: some(&config.learners),
        });
    }

    /// What `node-start` tells of the configuration beside its voters.
    pub(super) fn more_of_config(&self) -> Map<String, Value> {
        let Config { outgoing, learners, .. } = self.config();
        let mut more = Map::new();
        more.insert("config-id".to_owned(), json!(self.config_id()));
        for (name, nodes) in [("outgoing", outgoing), ("learners", learners)] {
            if !nodes.is_empty() {
                more.insert(name.to_owned(), json!(nodes));
            }
        }
        more
    }

    /// Everybody who gets the log: the members, those who were until the latest change, as long as
    /// it is not committed, and those who are to become members.
    pub(super) fn receivers(&self) -> BTreeSet<NodeId> {
        let mut receivers = self.config().members();
        if self.config_id().index > self.commit
            && let Some(before) = self.configs.before_latest()
        {
            receivers.extend(before.config.members());
        }
        if let State::Leader(leading) = &self.state
            && let Some(catch_up) = &leading.catch_up
        {
            receivers.extend(&catch_up.newcomers);
        }
        receivers.remove(&self.id);
        receivers
    }

    /// Has a progress for everybody who gets the log, and for nobody else.
    pub(super) fn track_members(&mut self) {
        let receivers = self.receivers();
        let next = self.log.last().index + 1;
        let now = self.now;
        let State::Leader(leading) = &mut self.state else { return };
        leading.progress.retain(|peer, _| receivers.contains(peer));
        for peer in receivers {
            leading.progress.entry(peer).or_insert_with(|| {
                // Whoever has just come had no time to answer.
                let mut progress = Progress::new(next);
                progress.answered(now);
                progress
            });
        }
    }

    /// A client wants another configuration. Why nothing is done, if nothing is.
    pub(super) fn reconfigure(
        &mut self,
        waiting: Waiting,
        value: Option<&Value>,
    ) -> Result<(), String> {
        self.takes_proposals()?;
        let State::Leader(leading) = &self.state else { return Err(self.not_leader()) };
        let under_way = leading.catch_up.is_some();
        let (target, joint) = self.target(value)?;
        if target == *self.config() {
            return Err("the configuration is so already".to_owned());
        }
        if self.config_id().index > self.commit || self.config().is_joint() {
            let pending = Defect::MultiplePendingConf;
            if !self.has(pending) || self.config().is_joint() {
                return Err("another change of the configuration is not committed yet".to_owned());
            }
            self.hit(pending, "a change while another one is not committed");
        }
        if under_way {
            return Err("another change of the configuration is under way".to_owned());
        }
        if self.log.term(self.commit) != Some(self.hard.term) {
            if !self.has(Defect::ConfChangeBeforeOwnCommit) {
                return Err("no entry of this leader's term is committed yet".to_owned());
            }
            self.hit(Defect::ConfChangeBeforeOwnCommit, "a change of the configuration");
        }
        let voters = self.electorate().counted();
        let newcomers: BTreeSet<_> = target.voters.difference(&voters).copied().collect();
        if !self.is_answered_by_quorum(&target, &newcomers) {
            if !self.has(Defect::NoStrictReconfig) {
                return Err("those who answer would be no majority".to_owned());
            }
            self.hit(Defect::NoStrictReconfig, "a change that nobody could commit after");
        }
        if newcomers.is_empty() {
            self.propose_config(target, joint, waiting);
        } else if self.has(Defect::NoCatchup) {
            self.hit(Defect::NoCatchup, "a voter without the log");
            self.propose_config(target, joint, waiting);
        } else {
            self.begin_catching_up(target, joint, newcomers, waiting);
        }
        Ok(())
    }

    /// What a request asks for: whole lists (`voters`, `learners`), or changes (`add`, `remove`,
    /// `learn`); `joint: true` goes through a joint configuration in any case.
    fn target(&self, value: Option<&Value>) -> Result<(Config, bool), String> {
        let form = "`reconfigure` takes an object of `voters`, `learners`, `add`, `remove`, \
                    `learn` (lists of nodes) and `joint`";
        let Some(Value::Object(request)) = value else { return Err(form.to_owned()) };
        let mut target = Config { outgoing: BTreeSet::new(), ..self.config().clone() };
        let mut joint = false;
        // In this order, whatever the order of the request.
        for name in ["voters", "learners", "add", "learn", "remove"] {
            let Some(value) = request.get(name) else { continue };
            let nodes = self.nodes(value).ok_or_else(|| {
                format!("`{name}` is {value}, not a list of nodes of this cluster")
            })?;
            match name {
                "voters" => target.voters = nodes,
                "learners" => target.learners = nodes,
                "add" => target.voters.extend(nodes),
                "learn" => {
                    target.voters.retain(|node| !nodes.contains(node));
                    target.learners.extend(nodes);
                }
                _ => {
                    target.voters.retain(|node| !nodes.contains(node));
                    target.learners.retain(|node| !nodes.contains(node));
                }
            }
        }
        for (name, value) in request {
            match name.as_str() {
                "joint" => joint = value.as_bool().ok_or_else(|| form.to_owned())?,
                "voters" | "learners" | "add" | "learn" | "remove" => {}
                _ => return Err(form.to_owned()),
            }
        }
        target.learners.retain(|node| !target.voters.contains(node));
        if target.voters.is_empty() {
            return Err("a configuration needs a voter".to_owned());
        }
        Ok((target, joint))
    }

    fn nodes(&self, value: &Value) -> Option<BTreeSet<NodeId>> {
        let node = |value: &Value| value.as_str()?.parse().ok();
        let nodes: BTreeSet<_> = value.as_array()?.iter().map(node).collect::<Option<_>>()?;
        nodes.iter().all(|node| self.members.contains(node)).then_some(nodes)
    }

    /// Whether the voters who answered lately, with those who are still to come, are a majority.
    fn is_answered_by_quorum(&self, target: &Config, newcomers: &BTreeSet<NodeId>) -> bool {
        let State::Leader(leading) = &self.state else { return false };
        let lately =
            |progress: &Progress| self.now.since(progress.heard) < self.options.election_timeout;
        target.electorate().is_quorum(|node| {
            let answers = leading.progress.get(&node).is_some_and(lately);
            node == self.id || newcomers.contains(&node) || answers
        })
    }

    fn begin_catching_up(
        &mut self,
        target: Config,
        joint: bool,
        newcomers: BTreeSet<NodeId>,
        waiting: Waiting,
    ) {
        let (began, goal) = (self.now, self.log.last().index);
        let State::Leader(leading) = &mut self.state else { return };
        let peers = newcomers.clone();
        leading.catch_up =
            Some(CatchUp { target, joint, newcomers, waiting, round: 1, began, goal });
        self.track_members();
        for peer in peers {
            self.send_append(peer);
        }
        // A learner that is to vote may have it all.
        self.go_on_catching_up();
    }

    /// Looks whether a round is over, and what follows from it.
    pub(super) fn go_on_catching_up(&mut self) {
        let (now, last) = (self.now, self.log.last().index);
        let timeout = self.options.election_timeout;
        let State::Leader(leading) = &mut self.state else { return };
        let Some(catch_up) = &mut leading.catch_up else { return };
        let has_it = |node: &NodeId| {
            leading.progress.get(node).is_some_and(|progress| progress.matched >= catch_up.goal)
        };
        if !catch_up.newcomers.iter().all(has_it) {
            return;
        }
        if now.since(catch_up.began) < timeout {
            let CatchUp { target, joint, waiting, .. } = catch_up.clone();
            leading.catch_up = None;
            self.propose_config(target, joint, waiting);
            return;
        }
        let over = catch_up.round == ROUNDS_MAX;
        catch_up.round += 1;
        (catch_up.began, catch_up.goal) = (now, last);
        if over {
            self.give_up_catching_up(&format!("does not catch up in {ROUNDS_MAX} rounds"));
        }
    }

    /// A round that never ends is given up, too.
    pub(super) fn limit_catch_up(&mut self) {
        let State::Leader(leading) = &self.state else { return };
        let Some(catch_up) = &leading.catch_up else { return };
        let limit = self.options.election_timeout * ROUND_TIMEOUTS_MAX;
        if self.now.since(catch_up.began) < limit {
            return;
        }
        self.give_up_catching_up("does not catch up");
    }

    fn give_up_catching_up(&mut self, why: &str) {
        let State::Leader(leading) = &mut self.state else { return };
        let Some(CatchUp { newcomers, waiting, .. }) = leading.catch_up.take() else { return };
        self.track_members();
        let names: Vec<_> = newcomers.iter().map(NodeId::to_string).collect();
        let reason = format!("{} {why}", names.join(" and "));
        self.reply(waiting.client, Reply::refused(waiting.serial, reason));
    }

    /// Puts a configuration into the log: one voter more or less at once, more of them jointly.
    fn propose_config(&mut self, target: Config, joint: bool, waiting: Waiting) {
        let current = self.config().voters.clone();
        let changed = target.voters.symmetric_difference(&current).count();
        let mut joint = joint || changed > 1;
        if changed > 1 && self.has(Defect::ChangeManyAtOnce) {
            self.hit(Defect::ChangeManyAtOnce, "a configuration that is not joint");
            joint = false;
        }
        if joint {
            let config = Config { outgoing: current, ..target };
            if let State::Leader(leading) = &mut self.state {
                leading.leaving = Some(waiting);
            }
            self.propose(Command::Configure(config), None);
        } else {
            self.propose(Command::Configure(target), Some(waiting));
        }
    }

    /// The commit index has moved: a joint configuration that is committed is left, and a leader
    /// that has been removed steps down.
    pub(super) fn settle_config(&mut self) {
        let index = self.config_id().index;
        let State::Leader(leading) = &mut self.state else { return };
        if index > self.commit || leading.settled == Some(index) {
            return;
        }
        leading.settled = Some(index);
        let config = &self.configs.latest().config;
        if config.is_joint() {
            let waiting = leading.leaving.take();
            let config = Config { outgoing: BTreeSet::new(), ..config.clone() };
            self.propose(Command::Configure(config), waiting);
            return;
        }
        let is_voter = config.is_voter(self.id);
        self.track_members();
        if is_voter {
            return;
        }
        if self.has(Defect::RemovedLeaderStays) {
            self.hit(Defect::RemovedLeaderStays, "it was removed");
            return;
        }
        self.step_down(self.hard.term, None, "removed by the configuration");
    }
}
