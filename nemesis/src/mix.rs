//! Families of random faults: what each does to a victim of the generator's choice, and what undoes it.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};
use usurper_history::{
    NodeId,
    control::{ClockName, DiskError, DiskOp, FailpointAct},
};

use crate::{
    fault::Fault,
    generator::{of_any_scale, whole_millis},
    link::MessageKind,
    schedule::Step,
    target::{LinkTarget, Target},
    time_span::{Jump, TimeSpan},
};

/// A family of faults to draw from, by the name that `--faults` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mix {
    /// SIGKILL, then a restart.
    Kill,
    /// SIGTERM, then a restart.
    Terminate,
    /// A kill that loses what was not synced, then a restart.
    Power,
    /// A crash at a named moment of the protocol, if it comes; then a restart.
    Failpoint,
    /// A kill, an empty data directory, a restart.
    Wipe,
    /// A kill, an inverted byte in the log, a restart; then the byte as it was, and a restart.
    DiskFlip,
    /// A kill, a log without its end, a restart; then the end as it was, and a restart.
    DiskTruncate,
    /// SIGSTOP, then SIGCONT.
    Pause,
    /// One node, or a half, cut off; then healed.
    Partition,
    Cut,
    Blackhole,
    Reset,
    Refuse,
    Delay,
    Loss,
    Throttle,
    Duplicate,
    Reorder,
    Corrupt,
    Hold,
    DiskStall,
    DiskSlow,
    DiskFail,
    ClockJump,
    ClockRate,
    /// Voters are removed, learn or come by joint consensus; then all vote again.
    Reconfigure,
    /// Leadership is handed over.
    Transfer,
}

/// Families of one kind. Each kind is drawn as often as any other, however many families it has, so
/// that the many faults of links do not crowd out the kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MixKind {
    Stop,
    Pause,
    Partition,
    /// What happens to whole connections.
    Link,
    /// What happens to single messages.
    Message,
    Machine,
    Members,
}

impl Mix {
    pub const ALL: &'static [Self] = &[
        Self::Kill,
        Self::Terminate,
        Self::Power,
        Self::Failpoint,
        Self::Wipe,
        Self::DiskFlip,
        Self::DiskTruncate,
        Self::Pause,
        Self::Partition,
        Self::Cut,
        Self::Blackhole,
        Self::Reset,
        Self::Refuse,
        Self::Delay,
        Self::Loss,
        Self::Throttle,
        Self::Duplicate,
        Self::Reorder,
        Self::Corrupt,
        Self::Hold,
        Self::DiskStall,
        Self::DiskSlow,
        Self::DiskFail,
        Self::ClockJump,
        Self::ClockRate,
        Self::Reconfigure,
        Self::Transfer,
    ];

    /// The name of its fault, but for a partition, which has many shapes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            other => other.fault().name(),
        }
    }

    /// The fault that a system must be able to do for this family.
    pub fn fault(self) -> Fault {
        match self {
            Self::Kill => Fault::Kill,
            Self::Terminate => Fault::Terminate,
            Self::Power => Fault::Power,
            Self::Failpoint => Fault::Failpoint,
            Self::Wipe => Fault::Wipe,
            Self::DiskFlip => Fault::DiskFlip,
            Self::DiskTruncate => Fault::DiskTruncate,
            Self::Pause => Fault::Pause,
            Self::Partition | Self::Cut => Fault::Cut,
            Self::Blackhole => Fault::Blackhole,
            Self::Reset => Fault::Reset,
            Self::Refuse => Fault::Refuse,
            Self::Delay => Fault::Delay,
            Self::Loss => Fault::Loss,
            Self::Throttle => Fault::Throttle,
            Self::Duplicate => Fault::Duplicate,
            Self::Reorder => Fault::Reorder,
            Self::Corrupt => Fault::Corrupt,
            Self::Hold => Fault::Hold,
            Self::DiskStall => Fault::DiskStall,
            Self::DiskSlow => Fault::DiskSlow,
            Self::DiskFail => Fault::DiskFail,
            Self::ClockJump => Fault::ClockJump,
            Self::ClockRate => Fault::ClockRate,
            Self::Reconfigure => Fault::Reconfigure,
            Self::Transfer => Fault::Transfer,
        }
    }

    pub fn kind(self) -> MixKind {
        match self {
            Self::Kill
            | Self::Terminate
            | Self::Power
            | Self::Failpoint
            | Self::Wipe
            | Self::DiskFlip
            | Self::DiskTruncate => MixKind::Stop,
            Self::Pause => MixKind::Pause,
            Self::Partition => MixKind::Partition,
            Self::Cut | Self::Blackhole | Self::Reset | Self::Refuse | Self::Throttle => {
                MixKind::Link
            }
            Self::Delay
            | Self::Loss
            | Self::Duplicate
            | Self::Reorder
            | Self::Corrupt
            | Self::Hold => MixKind::Message,
            Self::DiskStall
            | Self::DiskSlow
            | Self::DiskFail
            | Self::ClockJump
            | Self::ClockRate => MixKind::Machine,
            Self::Reconfigure | Self::Transfer => MixKind::Members,
        }
    }

    /// Why it is no part of `all`, if it is not: a protocol need not survive it.
    pub fn beyond(self) -> Option<&'static str> {
        match self {
            Self::Wipe => Some("a node without its memory may break a promise that it has made"),
            Self::DiskFlip | Self::DiskTruncate => {
                Some("a damaged log may lack what was promised to be durable")
            }
            _ => None,
        }
    }

    /// Whether it is about two nodes, so that there must be two.
    pub fn needs_peers(self) -> bool {
        self.hits_links() || matches!(self.kind(), MixKind::Partition | MixKind::Members)
    }

    /// Whether it hits links rather than nodes.
    pub(crate) fn hits_links(self) -> bool {
        matches!(self.kind(), MixKind::Link | MixKind::Message)
    }

    /// Whether done to most nodes it leaves no majority. Slow is not gone.
    pub fn takes_away(self) -> bool {
        match self.kind() {
            MixKind::Stop => self != Self::Failpoint,
            MixKind::Pause | MixKind::Partition => true,
            MixKind::Link | MixKind::Message | MixKind::Machine | MixKind::Members => false,
        }
    }

    /// How long a node still counts as hit once it was undone: it starts, connects and catches up.
    pub(crate) fn recovery(self) -> Duration {
        match self {
            // It gets the log before it has a vote, which may take a few rounds.
            Self::Reconfigure => Duration::from_secs(4),
            _ => Duration::from_secs(1),
        }
    }

    /// Whether it matters mostly to who takes part in an election.
    pub(crate) fn bites_in_elections(self) -> bool {
        matches!(self, Self::Failpoint | Self::DiskStall | Self::DiskFail)
    }

    /// One of some families: each kind is as likely as another, and so are the families of a kind.
    pub(crate) fn draw(families: &[Self], random: &mut StdRng) -> Self {
        let mut kinds: Vec<_> = families.iter().map(|family| family.kind()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let kind = kinds[random.random_range(0..kinds.len())];
        let of_it: Vec<_> = families.iter().filter(|family| family.kind() == kind).collect();
        *of_it[random.random_range(0..of_it.len())]
    }
}

/// A fault and what undoes it, without their times: the undos are spread over the time after it.
#[derive(Debug)]
pub(crate) struct Strike {
    pub(crate) fault: Step,
    pub(crate) undos: Vec<Step>,
}

/// Whom a strike is aimed at.
pub(crate) struct Aim<'a> {
    /// How other steps name the strike.
    pub(crate) name: String,
    pub(crate) victim: Target,
    pub(crate) nodes: &'a [NodeId],
    /// The moments at which a node of the system can be made to crash.
    pub(crate) points: &'a [String],
    /// The kinds of messages that the network can tell apart.
    pub(crate) kinds: &'a [MessageKind],
}

impl Aim<'_> {
    /// What a family does to the victim.
    pub(crate) fn strike(&self, mix: Mix, random: &mut StdRng) -> Strike {
        match mix {
            Mix::Reconfigure => return self.reconfigure(random),
            Mix::Transfer => return self.transfer(random),
            _ => {}
        }
        let mut fault = match mix {
            Mix::Wipe | Mix::DiskFlip | Mix::DiskTruncate => Step::new(Fault::Kill, None),
            Mix::Partition => Step::new(Fault::Isolate, None),
            mix => Step::new(mix.fault(), None),
        };
        fault.name = Some(self.name.clone());
        if mix.hits_links() {
            return self.on_links(mix, fault, random);
        }
        fault.target = Some(self.victim.clone());
        let undos = match mix {
            Mix::Kill | Mix::Terminate | Mix::Power => vec![self.undo(Fault::Restart)],
            Mix::Wipe => vec![self.undo(Fault::Wipe), self.undo(Fault::Restart)],
            Mix::DiskFlip | Mix::DiskTruncate => {
                let damaged = format!("{}-disk", self.name);
                let restore = Step::new(Fault::DiskRestore, Some(Target::Step(damaged.clone())));
                vec![
                    Step { name: Some(damaged), ..self.undo(mix.fault()) },
                    self.undo(Fault::Restart),
                    restore,
                    self.undo(Fault::Restart),
                ]
            }
            Mix::Failpoint => {
                fault.act = Some(match random.random_range(0..10) {
                    0..6 => FailpointAct::Crash,
                    6..8 => FailpointAct::Pause,
                    _ => FailpointAct::Delay,
                });
                if fault.act == Some(FailpointAct::Delay) {
                    let (min, max) = (Duration::from_millis(10), Duration::from_secs(2));
                    fault.delay = Some(whole_millis(of_any_scale(min, max, random)));
                }
                if !self.points.is_empty() {
                    fault.point =
                        Some(self.points[random.random_range(0..self.points.len())].clone());
                }
                vec![self.undo(Fault::FailpointRelease), self.undo(Fault::Restart)]
            }
            Mix::Pause => vec![self.undo(Fault::Resume)],
            Mix::Partition => vec![self.undo(Fault::Heal)],
            Mix::DiskStall => vec![self.undo(Fault::DiskRestore)],
            Mix::DiskSlow => {
                fault.delay = Some(TimeSpan::millis(random.random_range(10..300)));
                vec![self.undo(Fault::DiskRestore)]
            }
            Mix::DiskFail => {
                fault.op = Some(if random.random_bool(0.5) { DiskOp::Sync } else { DiskOp::Write });
                fault.error =
                    Some(if random.random_bool(0.5) { DiskError::Io } else { DiskError::Full });
                fault.count = random.random_bool(0.6).then(|| random.random_range(1..4));
                // A node that is right ends when its disk fails. What another one did not save is gone
                // with the power.
                vec![
                    self.undo(Fault::DiskRestore),
                    self.undo(Fault::Power),
                    self.undo(Fault::Restart),
                ]
            }
            _ => {
                fault.clock = Some(ClockName::Timer);
                if mix == Mix::ClockJump {
                    let sign = if random.random_bool(0.5) { "+" } else { "-" };
                    let far = random.random_range(50..5000);
                    let jump: Jump = format!("{sign}{far}ms").parse().expect("it is a jump");
                    fault.jump = Some(jump);
                } else {
                    let slow = random.random_bool(0.5);
                    let tenths =
                        if slow { random.random_range(2..9) } else { random.random_range(12..40) };
                    fault.speed = Some(f64::from(tenths) / 10.0);
                }
                vec![self.undo(Fault::ClockRestore)]
            }
        };
        Strike { fault, undos }
    }

    fn undo(&self, fault: Fault) -> Step {
        Step::new(fault, Some(Target::Step(self.name.clone())))
    }

    fn on_links(&self, mix: Mix, mut fault: Step, random: &mut StdRng) -> Strike {
        let victim = self.victim.clone();
        let others = match &victim {
            Target::Node(_) | Target::Captured(_) if random.random_bool(0.6) => {
                let other = |node: &&NodeId| victim != Target::Node(**node);
                let rest: Vec<_> = self.nodes.iter().filter(other).collect();
                match rest.len() {
                    0 => Target::All,
                    count => Target::Node(*rest[random.random_range(0..count)]),
                }
            }
            victim => Target::Not(Box::new(victim.clone())),
        };
        let (from, to) = if random.random_bool(0.5) { (victim, others) } else { (others, victim) };
        fault.links = vec![LinkTarget { from, to, both: random.random_bool(0.4) }];
        let tenths = |random: &mut StdRng| Some(f64::from(random.random_range(1..10_u8)) / 10.0);
        match mix {
            Mix::Delay => {
                let (min, max) = (Duration::from_millis(10), Duration::from_secs(2));
                let delay = of_any_scale(min, max, random);
                fault.delay = Some(whole_millis(delay));
                fault.jitter = random
                    .random_bool(0.5)
                    .then(|| whole_millis(delay.mul_f64(random.random_range(0.1..1.0))));
            }
            Mix::Loss | Mix::Duplicate | Mix::Reorder | Mix::Corrupt => {
                fault.probability = tenths(random);
            }
            Mix::Throttle => {
                let rate = format!("{}KB", random.random_range(1..100));
                fault.rate = Some(rate.parse().expect("it is a rate"));
            }
            _ => {}
        }
        let keys = mix.fault().keys();
        if keys.contains(&"kinds") && !self.kinds.is_empty() && random.random_bool(0.6) {
            let count = random.random_range(1..3);
            let kind = |_| self.kinds[random.random_range(0..self.kinds.len())];
            fault.kinds = (0..count).map(kind).collect();
            fault.kinds.sort_unstable();
            fault.kinds.dedup();
        }
        if keys.contains(&"count") && random.random_bool(0.3) {
            fault.count = Some(random.random_range(1..4));
        }
        if mix == Mix::Reset {
            fault.name = None;
        }
        // A reset is over when it is done. But its links count as bad until they are healed, and nothing
        // is judged that needs them. Other faults may be in force: only these links are healed.
        let undos = vec![Step { links: fault.links.clone(), ..Step::new(Fault::Heal, None) }];
        Strike { fault, undos }
    }
}
