//! Scenes: sequences of faults that the field has met more than once, in the time that the system under
//! test takes itself. Each is a few steps, so that what it finds can be told in a few steps.
//!
//! An episode makes coincidences likely; a scene is one. Whom it hits, with what and how long stays
//! random within what the story needs.

use std::time::Duration;

use rand::RngExt;
use usurper_history::control::{DiskError, DiskOp, FailpointAct};

use crate::{
    episode::{Episodes, HEARTBEAT, Span},
    fault::Fault,
    generator::{of_any_scale, whole_millis},
    mix::{Mix, MixKind, Strike},
    pattern::Pattern,
    schedule::Step,
    sequence::Then,
    target::Target,
};

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// The leader is taken away out of the blue, and stays away.
    Loss,
    /// As soon as another one leads, it dies, and those that made it the leader are restarted with
    /// those that were away: does anybody remember the promises?
    SecondDeath,
    /// Who is about to lead, or to follow, crashes on the way there, and returns to another leader.
    CrashOnTheWay,
    /// The leader is out of reach, and all are restarted before they have missed it.
    Roll,
    /// What a leader said arrives when it leads again, or another one does.
    OldWords,
    /// A node's connections are lost, and the new ones fail.
    Reconnect,
    /// Messages among the others are disturbed just when the leader is lost for good.
    Disturbed,
    /// Hosts vanish: connections to them break, and whoever dials them gets no answer.
    Vanish,
    /// The leader keeps one link.
    OneLink,
    /// A node that restarts cannot reach the leader, or anybody, and the others can.
    HalfSeen,
    /// The winner of an election is not heard, dies, and returns to another leader.
    Unheard,
    /// A node that restarts cannot reach the leader. Then the leader is gone, and that node is needed.
    Needed,
    /// Some lose the leader, and nothing else; they are slow, too.
    SickMinority,
    /// One after another misses the leader for a moment.
    DeafInTurn,
}

impl Scene {
    const ALL: [Self; 14] = [
        Self::Loss,
        Self::SecondDeath,
        Self::CrashOnTheWay,
        Self::Roll,
        Self::OldWords,
        Self::Reconnect,
        Self::Disturbed,
        Self::Vanish,
        Self::OneLink,
        Self::HalfSeen,
        Self::Unheard,
        Self::Needed,
        Self::SickMinority,
        Self::DeafInTurn,
    ];

    /// How often it comes, beside the others. Those that have more ways to go need more tries. What needs
    /// a minority of two goes before what three nodes show as well, in clusters that have one.
    fn weight(self, nodes: usize) -> usize {
        match self {
            Self::Roll | Self::SickMinority | Self::DeafInTurn | Self::OneLink if nodes > 4 => 3,
            Self::Vanish if nodes > 4 => 2,
            _ if nodes > 4 => 1,
            Self::SecondDeath => 3,
            Self::Reconnect | Self::HalfSeen | Self::OldWords | Self::Disturbed => 2,
            _ => 1,
        }
    }

    /// Whether it shows only while what it breaks stays broken.
    pub(crate) fn lasts(self) -> bool {
        matches!(
            self,
            Self::Loss | Self::Roll | Self::Disturbed | Self::Vanish | Self::OneLink | Self::Needed
        )
    }
}

impl Episodes<'_> {
    /// All scenes that the families asked for, and so many nodes, are enough for; each as often as it is to
    /// come beside the others.
    pub(crate) fn scenes(&self) -> Vec<Scene> {
        let nodes = self.nodes.len();
        let stops = [Mix::Kill, Mix::Terminate, Mix::Power].iter().any(|mix| self.asked(*mix));
        let cuts = self.asked(Mix::Partition) || self.asked(Mix::Cut);
        let messages = self.options.mix.iter().any(|mix| mix.kind() == MixKind::Message);
        let possible = |scene: &Scene| match scene {
            Scene::Loss => !self.takers().is_empty(),
            Scene::SecondDeath => stops && nodes > 2,
            Scene::CrashOnTheWay => {
                self.asked(Mix::Failpoint) && !self.options.points.is_empty() && nodes > 1
            }
            Scene::Roll => stops && nodes > 2,
            Scene::OldWords => nodes > 1 && (self.asked(Mix::Hold) || self.asked(Mix::Delay)),
            Scene::Reconnect => nodes > 1 && self.asked(Mix::Reset) && messages,
            Scene::Disturbed => nodes > 2 && messages && !self.takers().is_empty(),
            Scene::Vanish => nodes > 2 && self.asked(Mix::Reset) && self.asked(Mix::Blackhole),
            Scene::OneLink => nodes > 3 && cuts,
            Scene::HalfSeen | Scene::Unheard | Scene::Needed => nodes > 2 && cuts && stops,
            Scene::SickMinority => nodes > 2 && cuts,
            Scene::DeafInTurn => nodes > 2 && (cuts || self.asked(Mix::Pause)),
        };
        let possible = Scene::ALL.into_iter().filter(possible);
        let often = |scene: Scene| std::iter::repeat_n(scene, scene.weight(nodes));
        possible.flat_map(often).collect()
    }

    pub(crate) fn play(&mut self, scene: Scene, span: Span) {
        match scene {
            Scene::Loss => self.loss(span),
            Scene::SecondDeath => self.second_death(span),
            Scene::CrashOnTheWay => self.crash_on_the_way(span),
            Scene::Roll => self.roll(span),
            Scene::OldWords => self.old_words(span),
            Scene::Reconnect => self.reconnect(span),
            Scene::Disturbed => self.disturbed_survivors(span),
            Scene::Vanish => self.vanish(span),
            Scene::OneLink => self.one_link(span),
            Scene::HalfSeen => self.half_seen(span),
            Scene::Unheard => self.unheard(span),
            Scene::Needed => self.needed(span),
            Scene::SickMinority => self.sick_minority(span),
            Scene::DeafInTurn => self.deaf_in_turn(span),
        }
    }

    /// The leader is taken away for the rest of the time.
    fn loss(&mut self, span: Span) {
        let mut steps = Vec::new();
        let leader = self.the_leader(&mut steps);
        let Some(Strike { fault, undos }) = self.take(leader) else { return };
        steps.push(Then::at_once(fault));
        self.in_turn(span, steps, undos);
    }

    /// Most failures of what a node must remember need that a majority of those who knew is gone and
    /// the rest starts again (NATS 7564; the fsync-gate of PostgreSQL).
    fn second_death(&mut self, span: Span) {
        let Some(stop) = self.stopper() else { return };
        let mut steps = Vec::new();
        let _leader = self.the_leader(&mut steps);
        // A minority of the nodes, so that a bare majority elects.
        let away = match self.nodes.len() {
            ..5 => Target::Leader,
            _ => Target::MinorityWithLeader,
        };
        let first = self.simple(stop, away);
        let failing = (self.asked(Mix::DiskFail) && self.random.random_bool(0.7)).then(|| {
            let mut disk = self.simple(Mix::DiskFail, Target::Followers).fault;
            (disk.op, disk.error) = (Some(DiskOp::Sync), Some(DiskError::Io));
            disk.count = Some(self.random.random_range(1..3));
            disk
        });
        if let Some(disk) = &failing {
            steps.push(Then::at_once(disk.clone()));
        }
        steps.push(Then::at_once(first.fault.clone()));
        let name = self.next_name();
        let cue = self.elected(Some(&name));
        let second = match &cue {
            Some(_) => Target::Captured(name),
            None => Target::Leader,
        };
        let second_kill = self.simple(stop, second.clone());
        let (wait, soon) = (self.timeouts(3.0, 3.0), self.soon(0.5));
        steps.push(Then::on(cue, wait, soon, second_kill.fault.clone()));
        // Those that are up still; who is down already stays so.
        let power = if self.asked(Mix::Power) { Mix::Power } else { stop };
        let rest = self.simple(power, Target::Not(Box::new(second)));
        steps.push(Then::at_once(rest.fault));
        let restore = failing.iter().map(|disk| self.undo_of(Fault::DiskRestore, disk));
        steps.extend(restore.map(Then::at_once).collect::<Vec<_>>());
        steps.extend(rest.undos.into_iter().map(Then::at_once));
        let (wait, after) = (self.timeouts(3.5, 3.5), self.soon(3.0));
        let again = self.elected(None);
        steps.extend(
            second_kill.undos.into_iter().map(|it| Then::on(again.clone(), wait, after, it)),
        );
        let mut finally = first.undos;
        finally.extend(failing.iter().map(|disk| self.undo_of(Fault::Restart, disk)));
        self.in_turn(span, steps, finally);
    }

    /// A crash between winning and leading, or between accepting and saying so; the others go on
    /// without it, and it comes back to them.
    fn crash_on_the_way(&mut self, span: Span) {
        let stop = self.stopper().unwrap_or(Mix::Kill);
        let mut steps = Vec::new();
        let leader = self.the_leader(&mut steps);
        let whom = match self.random.random_range(0..10) {
            0..7 => Target::Followers,
            7 => Target::All,
            _ => Target::Node(self.any_node()),
        };
        let mut armed = self.simple(Mix::Failpoint, whom).fault;
        if self.random.random_bool(0.7) {
            (armed.act, armed.delay) = (Some(FailpointAct::Crash), None);
        }
        let first = self.simple(stop, leader);
        steps.push(Then::at_once(armed.clone()));
        steps.push(Then::at_once(first.fault));
        let told = self.options.events.iter().any(|event| event == "failpoint");
        let hit = told.then(|| Pattern::event("failpoint", []));
        let wait = self.timeouts(3.0, 3.0);
        steps.push(Then::on(
            hit,
            wait,
            Duration::ZERO,
            self.undo_of(Fault::FailpointRelease, &armed),
        ));
        let soon = self.soon(1.0);
        steps.extend(first.undos.into_iter().map(|it| Then::after(soon, it)));
        // Perhaps the one that leads then was asleep, and another one is elected soon.
        let (cue, wait, after) =
            (self.elected(None), self.timeouts(3.0, 3.0), self.timeouts(0.1, 5.0));
        steps.push(Then::on(cue, wait, after, self.undo_of(Fault::Restart, &armed)));
        self.in_turn(span, steps, Vec::new());
    }

    /// Who joins a cluster whose leader is gone is told of it in good faith by those who have not
    /// missed it yet (ZOOKEEPER-975, ZOOKEEPER-1514).
    fn roll(&mut self, span: Span) {
        let Some(stop) = self.stopper() else { return };
        let mut steps = Vec::new();
        let leader = self.the_leader(&mut steps);
        let apart = self.asked(Mix::Partition);
        let mut order = self.shuffled();
        // Who is restarted must stay away if it leads. A leader that is cut off stays away even then.
        let lost = match apart {
            true => self.simple(Mix::Partition, leader),
            false => {
                let node = order.pop().expect("there are nodes");
                self.simple(stop, Target::Node(node))
            }
        };
        steps.push(Then::at_once(lost.fault));
        let count = u32::try_from(order.len()).unwrap_or(1);
        let gap = self.timeouts(0.3, 0.9) / count;
        for node in order {
            let Strike { fault, undos } = self.simple(stop, Target::Node(node));
            steps.push(Then::after(gap.mul_f64(0.7), fault));
            steps.extend(undos.into_iter().map(|undo| Then::after(gap.mul_f64(0.1), undo)));
        }
        self.in_turn(span, steps, lost.undos);
    }

    /// A host that misses a heartbeat is not down. One after another does: pauses of the garbage
    /// collector that go round, a link that flaps (Redis Sentinel forgets such reports, and must).
    fn deaf_in_turn(&mut self, span: Span) {
        let mut steps = Vec::new();
        let leader = self.the_leader(&mut steps);
        let cuts = self.asked(Mix::Partition) || self.asked(Mix::Cut);
        let pauses = self.asked(Mix::Pause) && (!cuts || self.random.random_bool(0.4));
        let mut order = self.shuffled();
        order.truncate(4);
        let slow = self.asked(Mix::DiskSlow) && self.random.random_bool(0.6);
        let last = *order.last().expect("there are nodes");
        let mut finally = Vec::new();
        if slow {
            let name = self.next_name();
            let disk = self.slow_disk(name, Target::Node(last));
            finally.extend(disk.undos);
            steps.push(Then::at_once(disk.fault));
        }
        let away = self.timeouts(1.02, 1.3);
        for node in order {
            let rest =
                if node == last { self.timeouts(0.3, 2.5) } else { self.timeouts(0.05, 0.6) };
            let node = Target::Node(node);
            if pauses {
                let Strike { fault, undos } = self.simple(Mix::Pause, node);
                steps.push(Then::after(rest, fault));
                steps.extend(undos.into_iter().map(|it| Then::after(away, it)));
            } else {
                let (mut cut, heal) = self.cut(leader.clone(), node, false);
                if self.options.kinds.contains(&HEARTBEAT) {
                    cut.kinds = vec![HEARTBEAT];
                }
                steps.push(Then::after(rest, cut));
                steps.push(Then::after(away, heal));
            }
        }
        self.in_turn(span, steps, finally);
    }

    /// What one family does to somebody, without another shape.
    pub(crate) fn simple(&mut self, mix: Mix, victim: Target) -> Strike {
        let name = self.next_name();
        self.plain(mix, name, victim)
    }

    /// A family that takes somebody away does so.
    pub(crate) fn take(&mut self, victim: Target) -> Option<Strike> {
        let mix = self.taker()?;
        Some(self.simple(mix, victim))
    }

    fn undo_of(&self, fault: Fault, of: &Step) -> Step {
        Step::new(fault, of.name.clone().map(Target::Step))
    }

    /// A disk that takes as long as part of an election timeout.
    pub(crate) fn slow_disk(&mut self, name: String, whom: Target) -> Strike {
        let mut strike = self.plain(Mix::DiskSlow, name, whom);
        let (min, max) = (self.timeouts(0.1, 0.1), self.timeouts(0.6, 0.6));
        let delay = of_any_scale(min, max, &mut self.random);
        strike.fault.delay = Some(whole_millis(delay));
        strike
    }

    /// Somebody who hears the leader says so.
    pub(crate) fn hears(&self, captured: &str) -> Option<Pattern> {
        let told = self.options.events.iter().any(|event| event == "heartbeat");
        let fields = [("dir", "accepted".into()), ("node", format!("${captured}").into())];
        told.then(|| Pattern::event("heartbeat", fields))
    }
}
