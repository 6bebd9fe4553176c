//! The machine under a node, as far as it can be bent: its disk, its clocks, and named moments of its
//! protocol.
//!
//! All of it is the real thing until a command says otherwise. Commands come over a socket of their
//! own, served by a thread of its own, since the node's only other thread may be the one that a stalled
//! disk holds.

mod clock;
mod control;
mod disk;
mod failpoint;

pub use clock::Clocks;
pub use control::{ControlError, call, listen};
pub use disk::Disk;
pub use failpoint::{FailpointInfo, Failpoints};

use std::{sync::Arc, time::Duration};

use usurper_history::{
    Clock,
    control::{Answer, Command},
};

/// The machine under one node. The node and the thread that serves commands share it.
#[derive(Debug)]
pub struct Machine {
    pub disk: Arc<Disk>,
    pub clocks: Clocks,
    pub failpoints: Failpoints,
}

impl Machine {
    /// A machine with nothing wrong, under a system that has these failpoints.
    pub fn sound(clock: Clock, failpoints: &'static [FailpointInfo]) -> Arc<Self> {
        Arc::new(Self {
            disk: Arc::default(),
            clocks: Clocks::new(clock),
            failpoints: Failpoints::new(failpoints),
        })
    }

    /// Does what a command says.
    pub(crate) fn obey(&self, command: &Command) -> Answer {
        match self.bend(command) {
            Ok(()) => Answer { ok: true, text: self.describe() },
            Err(reason) => Answer { ok: false, text: reason },
        }
    }

    fn bend(&self, command: &Command) -> Result<(), String> {
        match command {
            Command::DiskStall {} => self.disk.stall(),
            Command::DiskSlow { delay_ns } => self.disk.slow(Duration::from_nanos(*delay_ns)),
            Command::DiskFail { op, error, count } => self.disk.fail(*op, *error, *count),
            Command::DiskRestore {} => self.disk.restore(),
            Command::ClockJump { clock, by_ns } => self.clocks.jump(*clock, *by_ns),
            Command::ClockRate { clock, rate } => return self.clocks.run_at(*clock, *rate),
            Command::ClockRestore {} => self.clocks.restore(),
            Command::Failpoint { point, act, delay_ns } => {
                return self.failpoints.arm(point, *act, Duration::from_nanos(*delay_ns));
            }
            Command::FailpointRelease {} => self.failpoints.release(),
            Command::Status {} => {}
        }
        Ok(())
    }

    /// What is bent now, for a person and as a proof.
    fn describe(&self) -> String {
        format!("{}; {}; {}", self.disk.describe(), self.clocks.describe(), self.failpoints)
    }
}
