//! The controller as what faults act on.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde_json::Value;
use usurper_history::{Body, NodeId, control::Command};
use usurper_nemesis::{
    Bending, Damage, Exit, Host, HostError, Network, Operating, Process, Starting, within,
};

use crate::{
    act,
    controller::Controller,
    machine::control_name,
    system::{self, Operated},
    workload::Reads,
};

/// How long an operation that a step asks for may take.
const OPERATION_MAX: Duration = Duration::from_secs(2);
/// A client's own bound counts time in which the machine stood still, so it is the longer one.
const CLIENT_MAX: Duration = Duration::from_secs(60);

impl Host for Controller<'_> {
    fn process(&self, node: NodeId) -> Option<Process> {
        self.nodes.get(&node)?.process.clone()
    }

    fn is_frozen(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|state| state.frozen)
    }

    fn set_frozen(&mut self, node: NodeId, frozen: bool) {
        if let Some(state) = self.nodes.get_mut(&node) {
            state.frozen = frozen;
        }
    }

    fn expect_exit(&mut self, node: NodeId) {
        if let Some(state) = self.nodes.get_mut(&node) {
            state.expected_exit = true;
        }
    }

    fn start(&mut self, node: NodeId) -> Result<Starting, HostError> {
        self.spawn(node).map_err(|failure| failure.error)?;
        let state = &self.nodes[&node];
        let process = state.process.clone().expect("it was just spawned");
        Ok(Starting { process, ready: state.ready.subscribe() })
    }

    fn tolerate(&mut self, node: NodeId, exit: Exit) {
        self.machines.entry(node).or_default().tolerate(exit);
    }

    fn lose_power(&mut self, node: NodeId) {
        self.machines.entry(node).or_default().power_lost = true;
    }

    fn bend(&mut self, node: NodeId, command: &Command) -> Bending {
        let running = self.nodes.get(&node).filter(|state| state.process.is_some());
        let inc = running.map(|state| state.inc);
        self.machines.entry(node).or_default().bend(command, inc.is_some());
        match inc {
            Some(inc) => {
                let name = control_name(self.number, node, inc);
                self.system.control(name, command.clone())
            }
            None => Box::pin(std::future::ready(Ok("is down, and will start so".to_owned()))),
        }
    }

    fn data(&self, node: NodeId) -> PathBuf {
        self.dir.data(node)
    }

    fn log(&self, node: NodeId) -> PathBuf {
        self.dir.data(node).join(self.system.log_file())
    }

    fn note_damage(&mut self, node: NodeId, damage: Damage) {
        self.machines.entry(node).or_default().damage.push(damage);
    }

    fn take_damage(&mut self, node: NodeId) -> Vec<Damage> {
        std::mem::take(&mut self.machines.entry(node).or_default().damage)
    }

    fn network(&self) -> Arc<Network> {
        Arc::clone(&self.network)
    }

    fn operate(
        &mut self,
        node: NodeId,
        f: &'static str,
        value: Value,
    ) -> Result<Operating, HostError> {
        // Each operation is a process of its own in Jepsen's sense: none waits for another.
        self.operations += 1;
        let invoked = act::invoke(self.operations, node, f, &value);
        self.record(Body::Op(invoked.clone())).map_err(|failure| failure.error)?;
        let mut client = self.system.client(system::ClientOptions {
            server: self.system.client_address(&self.network, node),
            run: self.dir.name(),
            kind: None,
            reads: Reads::default(),
            sessions: false,
            twice: false,
        });
        Ok(Box::pin(async move {
            let operation = system::Operation { f, key: None, value: Some(value) };
            let operated = within(OPERATION_MAX, client.operate(&operation, CLIENT_MAX)).await;
            let late = || Operated::info(format!("no answer in {OPERATION_MAX:?}"));
            act::complete(invoked, operated.unwrap_or_else(late))
        }))
    }
}
