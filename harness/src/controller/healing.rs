//! The end of all faults: each that is in force is undone, and the run waits until that is proven.

use anyhow::anyhow;
use tokio::time::Duration;
use usurper_history::{NodeId, Trigger};
use usurper_nemesis::{Fault, Resolved, Step};

use super::{Controller, NodeState, READY_MAX, STOP_MAX};
use crate::{failure::Failure, machine::Aspect};

/// How long healing may take before the run counts as failed.
const HEAL_MAX: Duration = Duration::from_secs(20);
/// What undoes each aspect of a bent machine.
const RESTORES: [(Aspect, Fault); 3] = [
    (Aspect::Disk, Fault::DiskRestore),
    (Aspect::Clock, Fault::ClockRestore),
    (Aspect::Failpoint, Fault::FailpointRelease),
];

impl Controller<'_> {
    /// Undoes every fault that is in force, and waits until that is proven.
    pub(super) async fn heal(&mut self) -> Result<(), Failure> {
        self.phase("heal")?;
        self.scheduler.give_up();
        // Steps that are still under way end first, so that nothing is broken behind our back.
        let quiet = |c: &Self| c.steps_open == 0;
        if !self.until(quiet, HEAL_MAX).await? {
            return Err(Failure::harness(anyhow!("a fault step did not end in {HEAL_MAX:?}")));
        }
        let faulty = self.network.faulty_links();
        let frozen = self.nodes_where(|state| state.frozen);
        self.undo(Fault::Heal, Resolved { nodes: Vec::new(), links: faulty })?;
        self.undo(Fault::Resume, Resolved { nodes: frozen, links: Vec::new() })?;
        // A stopped process cannot be told anything, so this comes after it runs.
        let mut healed = self.until(quiet, HEAL_MAX).await?;
        for (aspect, fault) in RESTORES {
            let nodes = self.bent(aspect);
            self.undo(fault, Resolved { nodes, links: Vec::new() })?;
        }
        healed &= self.until(quiet, HEAL_MAX).await?;
        // Who stood still when it was told to stop does so now.
        let ending = |state: &NodeState| state.process.is_some() && state.expected_exit;
        self.until(|c| !c.nodes.values().any(ending), STOP_MAX).await?;
        let down = self.nodes_where(|state| state.process.is_none() && state.expected_exit);
        self.undo(Fault::Restart, Resolved { nodes: down, links: Vec::new() })?;
        healed &= self.until(quiet, HEAL_MAX).await?;
        // A node may have been started on a disk that stalled, and come up only now.
        let up = |state: &NodeState| state.process.is_none() || *state.ready.borrow();
        self.until(|c| c.nodes.values().all(up), READY_MAX).await?;
        let bent: Vec<_> = RESTORES.iter().flat_map(|(aspect, _)| self.bent(*aspect)).collect();
        let frozen = self.nodes_where(|state| state.frozen);
        let down = self.nodes_where(|state| {
            state.expected_exit && (state.process.is_none() || !*state.ready.borrow())
        });
        let right = frozen.is_empty() && down.is_empty() && bent.is_empty();
        if healed && right && self.network.faulty_links().is_empty() {
            return Ok(());
        }
        let left: Vec<_> =
            frozen.iter().chain(&down).chain(&bent).map(ToString::to_string).collect();
        let error = anyhow!("could not heal the cluster in {HEAL_MAX:?}: {}", left.join(", "));
        let hint = down.first().and_then(|node| self.log_hint(*node));
        Err(match hint {
            Some(hint) => Failure::harness(error).with_hint(hint),
            None => Failure::harness(error),
        })
    }

    /// Begins to undo a fault, if there is any of it.
    fn undo(&mut self, fault: Fault, resolved: Resolved) -> Result<(), Failure> {
        if resolved.nodes.is_empty() && resolved.links.is_empty() {
            return Ok(());
        }
        self.begin(None, &Step::new(fault, None), Some(Trigger::Heal), Ok(resolved))
    }

    /// The nodes whose machine is bent in an aspect.
    fn bent(&self, aspect: Aspect) -> Vec<NodeId> {
        let bent = self.machines.iter().filter(|(_, machine)| machine.is_bent(aspect));
        bent.map(|(node, _)| *node).collect()
    }
}
