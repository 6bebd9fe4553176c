//! The controller as what faults act on.

use std::sync::Arc;

use serde_json::Value;
use usurper_history::{Body, NodeId};
use usurper_nemesis::{Host, HostError, Network, Operating, Process, Starting};

use crate::{act, controller::Controller, system};

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
        let server = self.network.server(node);
        let operation = system::Operation { f, value };
        let operating = self.system.operate(server, &self.dir.name(), operation);
        Ok(Box::pin(async move { act::complete(invoked, operating.await) }))
    }
}
