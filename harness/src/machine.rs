//! What is wrong with the machine under each node, as far as the run's faults made it so: the account
//! that healing starts from.

use usurper_history::control::Command;
use usurper_nemesis::{Damage, Exit};

/// The machine under one node. It outlives the node's processes.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    bent: Vec<Bent>,
    /// Damage to its files that nobody has built on yet.
    pub(crate) damage: Vec<Damage>,
    /// The power failed, and no process has come up since.
    pub(crate) power_lost: bool,
    /// Ends of its process that are no crash, after what was done to it.
    tolerated: Vec<Exit>,
}

/// One thing that is bent.
#[derive(Debug)]
struct Bent {
    command: Command,
    aspect: Aspect,
    /// It has to be said to the next process.
    pending: bool,
    /// It is being undone; whether that worked is not known yet.
    restoring: bool,
}

/// What of a machine can be restored by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aspect {
    Disk,
    Clock,
    Failpoint,
}

impl Aspect {
    /// The name in a history.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "disk" => Some(Self::Disk),
            "clock" => Some(Self::Clock),
            "failpoint" => Some(Self::Failpoint),
            _ => None,
        }
    }
}

impl Machine {
    /// Takes account of a command before it is given. `runs`: to a process, rather than to the next
    /// one.
    pub(crate) fn bend(&mut self, command: &Command, runs: bool) {
        let aspect = match command {
            Command::DiskStall {} | Command::DiskSlow { .. } | Command::DiskFail { .. } => {
                Aspect::Disk
            }
            Command::ClockJump { .. } | Command::ClockRate { .. } => Aspect::Clock,
            Command::Failpoint { .. } => Aspect::Failpoint,
            Command::DiskRestore {} => return self.restore(Aspect::Disk),
            Command::ClockRestore {} => return self.restore(Aspect::Clock),
            Command::FailpointRelease {} => return self.restore(Aspect::Failpoint),
            Command::Status {} => return,
        };
        let command = command.clone();
        self.bent.push(Bent { command, aspect, pending: !runs, restoring: false });
    }

    fn restore(&mut self, aspect: Aspect) {
        for bent in self.bent.iter_mut().filter(|bent| bent.aspect == aspect) {
            bent.restoring = true;
        }
    }

    /// An aspect was restored, or perhaps not.
    pub(crate) fn restored(&mut self, aspect: Aspect, done: bool) {
        if done {
            self.bent.retain(|bent| bent.aspect != aspect || !bent.restoring);
        }
        for bent in self.bent.iter_mut().filter(|bent| bent.aspect == aspect) {
            bent.restoring = false;
        }
    }

    /// Whether something is bent that a restoration of this aspect would undo.
    pub(crate) fn is_bent(&self, aspect: Aspect) -> bool {
        self.bent.iter().any(|bent| bent.aspect == aspect)
            || aspect == Aspect::Disk && !self.damage.is_empty()
    }

    /// What the next process has to be told from its start. A disk and a clock are the machine's and
    /// stay as they are; what was to happen so many times, or at a moment of a process that is gone,
    /// does not begin anew.
    pub(crate) fn start(&mut self) -> Vec<Command> {
        let mut told = Vec::new();
        for bent in &mut self.bent {
            let stays = match &bent.command {
                Command::DiskFail { count, .. } => count.is_none(),
                Command::Failpoint { .. } => false,
                _ => true,
            };
            bent.pending |= stays;
            if bent.pending {
                told.push(bent.command.clone());
            }
        }
        // What the next process is not told is over, whether or not the last one could say so.
        self.bent.retain(|bent| bent.pending);
        for bent in &mut self.bent {
            bent.pending = false;
        }
        let fails = |bent: &Bent| matches!(bent.command, Command::DiskFail { .. });
        if !self.bent.iter().any(fails) && self.damage.is_empty() {
            self.tolerated.clear();
        }
        told
    }

    /// A process has come up on it.
    pub(crate) fn came_up(&mut self) {
        self.power_lost = false;
        // It has read its files and can live with them.
        self.damage.clear();
    }

    /// A failpoint was hit, which disarms it.
    pub(crate) fn hit(&mut self, hit: &str) {
        let at = |bent: &Bent| {
            matches!(&bent.command, Command::Failpoint { point, act, .. }
                if point == hit && act.to_string() == "crash")
        };
        // Who stands still has to be released.
        self.bent.retain(|bent| !at(bent));
    }

    pub(crate) fn tolerate(&mut self, exit: Exit) {
        self.tolerated.push(exit);
    }

    pub(crate) fn tolerates(&self, exit: Exit) -> bool {
        self.tolerated.contains(&exit)
    }
}

/// The name of a node's control socket: of this process, this run and this incarnation alone.
pub(crate) fn control_name(run: u64, node: usurper_history::NodeId, inc: u32) -> String {
    format!("usurper/{}/{run}/{node}/{inc}", std::process::id())
}

#[cfg(test)]
mod tests {
    use usurper_history::control::{ClockName, Command, DiskError, DiskOp, FailpointAct};

    use super::{Aspect, Machine};

    fn fail(count: Option<u32>) -> Command {
        Command::DiskFail { op: DiskOp::Sync, error: DiskError::Io, count }
    }

    fn crash_at(point: &str) -> Command {
        Command::Failpoint { point: point.to_owned(), act: FailpointAct::Crash, delay_ns: 0 }
    }

    #[test]
    fn what_is_wrong_with_a_disk_outlives_the_process_until_it_is_restored() {
        let mut machine = Machine::default();
        machine.bend(&Command::DiskStall {}, true);
        machine.bend(&fail(Some(1)), true);
        machine.bend(&Command::ClockRate { clock: ClockName::Timer, rate: 2.0 }, true);
        assert_eq!(machine.start().len(), 2, "a failure that was counted begins anew");
        machine.bend(&Command::DiskRestore {}, true);
        machine.restored(Aspect::Disk, true);
        assert!(!machine.is_bent(Aspect::Disk) && machine.is_bent(Aspect::Clock));
        assert_eq!(machine.start().len(), 1);
    }

    #[test]
    fn a_restoration_that_was_not_seen_leaves_everything_to_be_restored() {
        let mut machine = Machine::default();
        machine.bend(&Command::DiskStall {}, true);
        machine.bend(&Command::DiskRestore {}, true);
        machine.restored(Aspect::Disk, false);
        assert!(machine.is_bent(Aspect::Disk));
        // What was bent after the restoration began is not undone by its end.
        machine.bend(&Command::DiskRestore {}, true);
        machine.bend(&fail(None), true);
        machine.restored(Aspect::Disk, true);
        assert_eq!(machine.start(), [fail(None)]);
    }

    #[test]
    fn a_failpoint_that_was_armed_while_the_node_was_down_is_said_to_one_process() {
        let mut machine = Machine::default();
        machine.bend(&crash_at("a"), false);
        assert_eq!(machine.start(), [crash_at("a")]);
        assert!(machine.is_bent(Aspect::Failpoint));
        // The next process is not told, so nothing is left to be disarmed, whether or not the last one
        // lived to say that it was.
        assert!(machine.start().is_empty());
        assert!(!machine.is_bent(Aspect::Failpoint));
        machine.bend(&crash_at("b"), true);
        machine.hit("b");
        assert!(!machine.is_bent(Aspect::Failpoint));
    }
}
