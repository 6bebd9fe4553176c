//! The clients' part of a run: they begin to ask, what they ask is written down before it is sent, and
//! in the end every key is read once more.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::Duration;
use usurper_history::{Body, Record};

use super::Controller;
use crate::{
    failure::Failure,
    workload::{Answered, Cluster, Load, Workload},
};

/// How much longer than an operation may take its end is waited for.
const ANSWER_MORE: Duration = Duration::from_secs(1);
/// How long the last reads of all keys may take.
const READ_ALL_MAX: Duration = Duration::from_secs(10);

impl Controller<'_> {
    /// The clients of the workload begin to ask.
    pub(super) fn start_load(&mut self) {
        let Some(workload) = &self.plan.workload else { return };
        let cluster = Cluster {
            system: self.system,
            nodes: self.plan.node_ids(),
            network: Arc::clone(&self.network),
            run: self.dir.name(),
        };
        let (now_ns, sender) = (self.clock.now_ns(), self.sender.clone());
        self.load = Some(Load::start(workload, cluster, self.plan.seed, now_ns, sender));
    }

    /// The clients stop asking, and then every key is read once more, from every node.
    pub(super) async fn end_load(&mut self) -> Result<(), Failure> {
        let Some(load) = &mut self.load else { return Ok(()) };
        load.stop();
        let time = load.op_timeout() + ANSWER_MORE;
        let quiet = |load: &Load| load.is_quiet();
        self.until(|c| c.load.as_ref().is_none_or(quiet), time).await?;
        if !self.interrupted {
            self.phase("final-reads")?;
            let up = self.nodes_where(|state| state.process.is_some() && *state.ready.borrow());
            let now_ns = self.clock.now_ns();
            self.load.as_mut().map(|load| load.read_all(&up, now_ns)).unwrap_or_default();
            let read = |c: &Self| c.load.as_ref().is_none_or(Load::has_read_all);
            self.until(|c| c.interrupted || read(c), READ_ALL_MAX).await?;
        }
        // What is still open has no end in the history.
        self.load = None;
        Ok(())
    }

    /// An operation of a client has ended.
    pub(super) fn handle_answered(&mut self, answered: Answered) {
        // Nobody waits for one that comes after the end of the workload.
        let Some(load) = &mut self.load else { return };
        let now_ns = self.clock.now_ns();
        let record = Record::new(now_ns, Body::Op(load.ended(answered, now_ns)));
        self.writer.push(&record);
        self.seen(&record);
    }

    /// Writes down what clients ask now, and then lets them ask.
    pub(super) fn ask_due(&mut self) -> Result<(), Failure> {
        let Some(load) = &mut self.load else { return self.flush() };
        for op in load.due(self.clock.now_ns(), &mut self.operations) {
            let record = Record::new(self.clock.now_ns(), Body::Op(op));
            self.writer.push(&record);
            self.scheduler.observe(&record);
            self.reporter.record(&record);
        }
        self.writer.flush().map_err(Failure::harness)?;
        load.send();
        Ok(())
    }
}

/// What the clients did, for whoever judges their operations.
pub(super) fn in_header(workload: &Workload) -> (String, Value) {
    let workload = serde_json::to_value(workload).expect("a workload is plain data");
    ("workload".to_owned(), workload)
}
