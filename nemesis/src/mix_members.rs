//! Random changes of who decides: members that come and go, and leaders that hand over.
//!
//! Every change names whole lists, so that a request that is refused or lost adds nothing to the next
//! one. A configuration that is asked for has all the nodes but one or two as voters. What undoes
//! it asks for all the nodes, twice at least; they are asked of whoever leads then. If no request is
//! served, because nobody leads or a newcomer is not there to catch up, the cluster is left with the
//! fewer voters: that is legal, all of them run again when their faults are undone, and the checks
//! count the configuration in force.

use rand::{RngExt, rngs::StdRng, seq::SliceRandom};
use usurper_history::NodeId;

use crate::{
    fault::Fault,
    mix::{Aim, Strike},
    schedule::{Change, Step},
    target::Target,
};

impl Aim<'_> {
    /// Who is hit hands over, or takes over.
    pub(crate) fn transfer(&self, random: &mut StdRng) -> Strike {
        // A leader that is hit is relieved by one of the others.
        let to = match &self.victim {
            Target::Node(node) => Target::Node(*node),
            _ if random.random_bool(0.5) => Target::Follower,
            _ => Target::One,
        };
        let fault = Step { optional: true, ..Step::new(Fault::Transfer, Some(to)) };
        Strike { fault, undos: Vec::new() }
    }

    /// Who is hit has no vote for a while; later all have one.
    pub(crate) fn reconfigure(&self, random: &mut StdRng) -> Strike {
        let mut out = match &self.victim {
            Target::Node(node) => vec![*node],
            _ => vec![self.nodes[random.random_range(0..self.nodes.len())]],
        };
        // As one of five more may be down, so may be two without a vote (three of three are left).
        if self.nodes.len() >= 5 && random.random_bool(0.3) {
            let mut rest = self.without(&out);
            rest.shuffle(random);
            out.extend(rest.first());
        }
        let (voters, all) = (self.without(&out), self.nodes.to_vec());
        let joint = random.random_bool(0.3);
        let removed = Change { voters: voters.clone(), joint, ..Change::default() };
        let learning = Change { voters, learners: out, joint, ..Change::default() };
        let whole = Change { voters: all, joint, ..Change::default() };
        let (first, then) = match random.random_range(0..3) {
            0 => (removed, vec![whole.clone(), whole]),
            // Promoted from a learner.
            1 => (learning, vec![whole.clone(), whole]),
            // Added as a learner, and promoted then.
            _ => (removed, vec![learning, whole.clone(), whole]),
        };
        let asked = |change: Change| Step {
            change: Some(change),
            optional: true,
            ..Step::new(Fault::Reconfigure, Some(Target::Leader))
        };
        Strike {
            fault: Step { name: Some(self.name.clone()), ..asked(first) },
            undos: then.into_iter().map(asked).collect(),
        }
    }

    fn without(&self, out: &[NodeId]) -> Vec<NodeId> {
        self.nodes.iter().copied().filter(|node| !out.contains(node)).collect()
    }
}
