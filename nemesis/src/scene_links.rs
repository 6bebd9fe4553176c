//! The scenes in which links fail: some of the nodes cannot reach some of the others, or not in time.

use std::time::Duration;

use rand::RngExt;
use usurper_history::frame::Kind;

use crate::{
    episode::{Episodes, HEARTBEAT, Span},
    fault::Fault,
    generator::whole_millis,
    link::MessageKind,
    mix::{Mix, Strike},
    pattern::Pattern,
    schedule::Step,
    sequence::Then,
    target::{LinkTarget, Target},
};

/// What a node says first on a new connection.
const GREETING: MessageKind = MessageKind(Kind::Hello);
/// New connections fail for at most so long: each may take a second until it is given up.
const REFUSED_MAX: Duration = Duration::from_secs(5);

impl Episodes<'_> {
    /// Elections without terms take a message of an earlier reign for one of this (MongoDB's protocol
    /// version 0). The leader loses its followers, because they do not hear it or because it stops, and
    /// wins them again; what it said before arrives then.
    pub(crate) fn old_words(&mut self, span: Span) {
        let Some(mix) = self.one_of(&[Mix::Hold, Mix::Hold, Mix::Delay]) else { return };
        let mut steps = Vec::new();
        let leader = self.the_leader(&mut steps);
        // Not heard by anybody, it is deposed for that alone.
        let by_all = self.random.random_bool(0.5);
        let to = match by_all {
            true => Target::Not(Box::new(leader.clone())),
            false => Target::Node(self.any_node()),
        };
        let Strike { mut fault, undos } = self.between(mix, leader.clone(), to, false);
        fault.count = None;
        fault.kinds = match self.options.kinds.contains(&HEARTBEAT) && self.random.random_bool(0.8)
        {
            true => vec![HEARTBEAT],
            false => self.kinds.clone(),
        };
        if mix == Mix::Delay {
            fault.delay = Some(whole_millis(self.timeouts(1.5, 4.0)));
            fault.jitter = None;
        }
        steps.push(Then::at_once(fault));
        let (cue, wait) = (self.elected(None), self.timeouts(3.0, 3.0));
        match self.one_of(&[Mix::Pause, Mix::Partition]) {
            Some(away) if !by_all => {
                let gone = self.simple(away, leader);
                let (quiet, soon) = (self.timeouts(0.0, 0.5), self.soon(0.5));
                steps.push(Then::after(quiet, gone.fault));
                steps
                    .extend(gone.undos.into_iter().map(|it| Then::on(cue.clone(), wait, soon, it)));
            }
            _ => steps.push(Then::on(cue, wait, Duration::ZERO, Step::new(Fault::Wait, None))),
        }
        let mut finally = Vec::new();
        if let Some(stop) = self.stopper() {
            let second = self.simple(stop, Target::Leader);
            let after = self.timeouts(0.2, 1.5);
            steps.push(Then::after(after, second.fault));
            finally = second.undos;
        }
        let (cue, wait, soon) = (self.elected(None), self.timeouts(3.5, 3.5), self.soon(0.5));
        steps.extend(undos.into_iter().map(|it| Then::on(cue.clone(), wait, soon, it)));
        self.in_turn(span, steps, finally);
    }

    /// Whoever listens has to expect garbage, silence, and many at once (ZOOKEEPER-3320, 2836).
    pub(crate) fn reconnect(&mut self, span: Span) {
        let Some(mix) = self.messenger() else { return };
        let garbage = self.asked(Mix::Corrupt) && self.random.random_bool(0.4);
        let mix = if garbage { Mix::Corrupt } else { mix };
        let node = self.any_node();
        let (node, others) = match self.random.random_bool(0.8) {
            true => (Target::Node(node), Target::Not(Box::new(Target::Node(node)))),
            false => (Target::Node(node), Target::Node(self.any_node())),
        };
        let Strike { mut fault, undos } = self.between(mix, node.clone(), others.clone(), true);
        surely(&mut fault);
        fault.count = None;
        fault.kinds = match self.options.kinds.contains(&GREETING) && self.random.random_bool(0.8) {
            true => vec![GREETING],
            false => self.kinds.clone(),
        };
        let mut steps = Vec::new();
        let _leader = self.the_leader(&mut steps);
        let links = vec![LinkTarget { from: node, to: others, both: true }];
        let reset = Step { links, ..Step::new(Fault::Reset, None) };
        let lasts = REFUSED_MAX.mul_f64(self.random.random_range(0.2..1.0));
        steps.push(Then::at_once(fault));
        steps.push(Then::at_once(reset));
        steps.extend(undos.into_iter().map(|it| Then::after(lasts, it)));
        let mut finally = Vec::new();
        if self.random.random_bool(0.4) {
            let whom = Target::Node(self.any_node());
            if let Some(second) = self.take(whom) {
                let soon = self.soon(2.0);
                steps.push(Then::after(soon, second.fault));
                finally = second.undos;
            }
        }
        self.in_turn(span, steps, finally);
    }

    /// What is said in the very election that the loss brings about is damaged, late or lost, and from
    /// then on nothing stands in the way (ZOOKEEPER-3769).
    pub(crate) fn disturbed_survivors(&mut self, span: Span) {
        let Some(mix) = self.messenger() else { return };
        let mut steps = Vec::new();
        let leader = self.the_leader(&mut steps);
        let others = Target::Not(Box::new(leader.clone()));
        let Strike { mut fault, undos } = self.between(mix, others.clone(), others, true);
        if self.random.random_bool(0.5) {
            surely(&mut fault);
            fault.kinds.clear();
        }
        let Some(lost) = self.take(leader) else { return };
        let soon = self.soon(0.5);
        steps.push(Then::at_once(fault));
        steps.push(Then::after(soon, lost.fault));
        let until = self.timeouts(1.0, 3.0);
        steps.extend(undos.into_iter().map(|it| Then::after(until, it)));
        self.in_turn(span, steps, lost.undos);
    }

    /// A host that is gone refuses nothing (ZOOKEEPER-2930, 3756).
    pub(crate) fn vanish(&mut self, span: Span) {
        let minority = (self.nodes.len() - 1) / 2;
        let count = self.random.random_range(1..=minority);
        let (gone, rest) = self.sides(count);
        let mut steps = Vec::new();
        let _leader = self.the_leader(&mut steps);
        let Strike { fault, undos } =
            self.between(Mix::Blackhole, gone.clone(), rest.clone(), true);
        let links = vec![LinkTarget { from: gone, to: rest, both: true }];
        steps.push(Then::at_once(fault));
        steps.push(Then::at_once(Step { links, ..Step::new(Fault::Reset, None) }));
        self.in_turn(span, steps, undos);
    }

    /// The best candidate is heard of further than it is heard (Ceph 28607 and 32336; OmniPaxos calls it
    /// quorum loss).
    pub(crate) fn one_link(&mut self, span: Span) {
        let mut steps = Vec::new();
        let leader = self.the_leader(&mut steps);
        let kept = Target::Not(Box::new(Target::Node(self.any_node())));
        let (cut, heal) = self.cut(leader.clone(), kept, true);
        // It takes part in the election only if it has noticed that it does not lead any more.
        let whom = match self.random.random_range(0..10) {
            0..2 => None,
            2..6 => Some(leader),
            _ => Some(Target::All),
        };
        let again = whom.and_then(|whom| Some((self.stopper()?, whom)));
        let again = again.map(|(stop, whom)| self.simple(stop, whom));
        steps.extend(again.iter().map(|it| Then::at_once(it.fault.clone())));
        steps.push(Then::at_once(cut));
        steps.extend(again.into_iter().flat_map(|it| it.undos).map(Then::at_once));
        self.in_turn(span, steps, vec![heal]);
    }

    /// One that restarts, or all do, and a link is missing: what one side has decided the other side
    /// decides later, in another round, or not at all.
    pub(crate) fn half_seen(&mut self, span: Span) {
        let Some(stop) = self.stopper() else { return };
        let mut steps = Vec::new();
        let leader = self.the_leader(&mut steps);
        let node = self.a_follower(&mut steps);
        let alone = self.random.random_bool(0.2);
        let again = self.simple(stop, if alone { node.clone() } else { Target::All });
        let others = match self.random.random_bool(0.75) {
            true => leader,
            false => Target::Not(Box::new(node.clone())),
        };
        let (cut, heal) = self.cut(node, others, true);
        let soon = self.soon(1.0);
        steps.push(Then::after(soon, again.fault));
        steps.push(Then::at_once(cut));
        steps.extend(again.undos.into_iter().map(Then::at_once));
        let early = self.random.random_bool(0.3);
        let witness = self.next_name();
        let (cue, wait) = (self.hears(&witness), self.timeouts(3.0, 3.0));
        let who = match cue.is_some() && !early {
            true => Target::Captured(witness),
            false => Target::Node(self.any_node()),
        };
        match early {
            // Just when it is decided without that node.
            true => {
                let (cue, soon) = (self.elected(None), self.soon(0.3));
                steps.push(Then::on(cue, wait, soon, heal));
            }
            // It decides without the others, and again.
            false => {
                let after = self.timeouts(0.5, 5.0);
                steps.push(Then::on(cue, wait, after, heal));
            }
        }
        let last = self.simple(stop, who);
        let (after, soon) = (self.timeouts(0.5, 3.0), self.soon(0.5));
        steps.push(Then::after(after, last.fault));
        steps.extend(last.undos.into_iter().map(|it| Then::after(soon, it)));
        self.in_turn(span, steps, Vec::new());
    }

    /// Who is about to win hears the others, and is not heard: what it has promised itself nobody knows
    /// when it returns.
    pub(crate) fn unheard(&mut self, span: Span) {
        let Some(stop) = self.stopper() else { return };
        let mut steps = Vec::new();
        let leader = self.the_leader(&mut steps);
        let first = self.simple(stop, leader);
        steps.push(Then::at_once(first.fault));
        let name = self.next_name();
        let whom = || serde_json::Value::from(format!("${name}"));
        let told = ["vote-cast", "leader-elected"];
        let told = told.iter().all(|name| self.options.events.iter().any(|event| event == name));
        // Most vote for themselves first, and then for the one that wins.
        let count = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let votes = Pattern::event("vote-cast", [("candidate", whom())]).counted(count);
        let voted = told.then_some(votes);
        let wins = [("established", false.into()), ("node", whom())];
        let won = told.then(|| Pattern::event("leader-elected", wins));
        let winner = if told { Target::Captured(name) } else { Target::Node(self.any_node()) };
        let (cut, heal) = self.cut(winner.clone(), Target::Not(Box::new(winner.clone())), false);
        let (wait, after) = (self.timeouts(2.0, 2.0), self.timeouts(0.05, 1.0));
        steps.push(Then::on(voted, wait, Duration::ZERO, cut));
        let second = self.simple(stop, winner);
        steps.push(Then::on(won, wait, after, second.fault));
        steps.push(Then::at_once(heal));
        steps.extend(first.undos.into_iter().map(Then::at_once));
        let (cue, wait, after) =
            (self.elected(None), self.timeouts(2.0, 2.0), self.timeouts(0.5, 5.0));
        steps.extend(second.undos.into_iter().map(|it| Then::on(cue.clone(), wait, after, it)));
        self.in_turn(span, steps, Vec::new());
    }

    /// A follower that comes back finds the leader out of reach, and does not count as one that misses
    /// it; then the leader goes.
    pub(crate) fn needed(&mut self, span: Span) {
        let (Some(stop), Some(away)) = (self.stopper(), self.taker()) else { return };
        let mut steps = Vec::new();
        let leader = self.the_leader(&mut steps);
        let node = self.a_follower(&mut steps);
        let (name, soon) = (self.next_name(), self.soon(0.5));
        let again = self.plain(stop, name, node.clone());
        let (cut, heal) = self.cut(node, leader.clone(), true);
        steps.push(Then::at_once(again.fault));
        steps.push(Then::at_once(cut));
        steps.extend(again.undos.into_iter().map(|it| Then::after(soon, it)));
        let (name, after) = (self.next_name(), self.timeouts(0.05, 1.5));
        let lost = self.plain(away, name, leader);
        steps.push(Then::after(after, lost.fault));
        let mut finally = lost.undos;
        finally.push(heal);
        self.in_turn(span, steps, finally);
    }

    /// A minority that loses the leader, and hears everybody else, must not depose it (Cloudflare,
    /// November 2020; redis 3306). Hosts that lose a link are often slow, too.
    pub(crate) fn sick_minority(&mut self, span: Span) {
        let minority = (self.nodes.len() - 1) / 2;
        let (sick, _) = self.sides(minority);
        let mut steps = Vec::new();
        let leader = self.the_leader(&mut steps);
        let mut finally = Vec::new();
        if self.asked(Mix::DiskSlow) && self.random.random_bool(0.8) {
            let name = self.next_name();
            let disk = self.slow_disk(name, sick.clone());
            steps.push(Then::at_once(disk.fault));
            finally.extend(disk.undos);
        }
        // Those that are well have followed for a while then.
        let quiet = self.timeouts(3.2, 4.5);
        let both = self.random.random_bool(0.6);
        let (cut, heal) = self.cut(leader, sick, both);
        let lasts = self.timeouts(1.5, 4.0);
        steps.push(Then::after(quiet, cut));
        steps.push(Then::after(lasts, heal));
        self.in_turn(span, steps, finally);
    }
}

/// Not one message in so many, but all.
fn surely(fault: &mut Step) {
    fault.probability = fault.probability.map(|_| 1.0);
}
