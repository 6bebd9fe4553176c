//! Full meshes that are a quorum within a graph of nodes.
//!
//! The question is NP-hard in general, and easy for what faults make of a cluster. The search
//! branches on the node that misses most others: for a partition one of the branches dies at once.

use std::collections::BTreeSet;

use usurper_history::NodeId;

/// The nodes that belong to at least one quorum of nodes that are pairwise connected. More nodes than
/// a quorum are a quorum, too.
pub(crate) fn members_of_meshes(
    nodes: &[NodeId],
    is_quorum: impl Fn(&BTreeSet<NodeId>) -> bool,
    connected: impl Fn(NodeId, NodeId) -> bool,
) -> BTreeSet<NodeId> {
    let apart: Vec<Vec<bool>> = nodes
        .iter()
        .map(|a| nodes.iter().map(|b| a != b && !connected(*a, *b)).collect())
        .collect();
    let is_enough =
        |places: &[usize]| is_quorum(&places.iter().map(|place| nodes[*place]).collect());
    let mut members = BTreeSet::new();
    for (place, node) in nodes.iter().enumerate() {
        if members.contains(node) {
            continue;
        }
        let near: Vec<usize> = (0..nodes.len()).filter(|other| !apart[place][*other]).collect();
        if let Some(mesh) = mesh_among(&near, &is_enough, &apart) {
            members.extend(mesh.into_iter().map(|place| nodes[place]));
            members.insert(*node);
        }
    }
    members
}

/// The largest found quorum of the candidates in which no two are apart.
fn mesh_among(
    candidates: &[usize],
    is_enough: &impl Fn(&[usize]) -> bool,
    apart: &[Vec<bool>],
) -> Option<Vec<usize>> {
    if !is_enough(candidates) {
        return None;
    }
    let missing = |node: usize| candidates.iter().filter(|other| apart[node][**other]).count();
    let worst = candidates.iter().copied().max_by_key(|node| missing(*node))?;
    if missing(worst) == 0 {
        return Some(candidates.to_vec());
    }
    let with: Vec<usize> = candidates.iter().copied().filter(|it| !apart[worst][*it]).collect();
    let without = || candidates.iter().copied().filter(|it| *it != worst).collect::<Vec<_>>();
    mesh_among(&with, is_enough, apart).or_else(|| mesh_among(&without(), is_enough, apart))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use usurper_history::NodeId;

    use super::members_of_meshes;

    fn by_trying_all(
        count: usize,
        is_quorum: impl Fn(&BTreeSet<NodeId>) -> bool,
        edges: &[(usize, usize)],
    ) -> BTreeSet<NodeId> {
        let nodes: Vec<NodeId> = (1..=count).map(|id| NodeId(u8::try_from(id).unwrap())).collect();
        let apart = |a: usize, b: usize| edges.contains(&(a, b)) || edges.contains(&(b, a));
        let mut members = BTreeSet::new();
        for set in 0_u32..1 << count {
            let chosen: Vec<usize> = (0..count).filter(|bit| set & 1 << bit != 0).collect();
            let mesh = chosen.iter().all(|a| chosen.iter().all(|b| a == b || !apart(*a, *b)));
            let chosen: BTreeSet<NodeId> = chosen.iter().map(|place| nodes[*place]).collect();
            if is_quorum(&chosen) && mesh {
                members.extend(chosen);
            }
        }
        members
    }

    proptest! {
        #[test]
        fn the_search_agrees_with_trying_every_set(
            count in 1_usize..8,
            second in 0_u8..128,
            cuts in proptest::collection::vec((0_usize..8, 0_usize..8), 0..14),
        ) {
            // A majority of all, and one of some of them, as in a change of the configuration.
            let is_quorum = |nodes: &BTreeSet<NodeId>| {
                let among = |node: u8| second & 1 << (node - 1) != 0;
                let of_it = (1..=u8::try_from(count).unwrap()).filter(|node| among(*node)).count();
                let reached = nodes.iter().filter(|node| among(node.0)).count();
                nodes.len() > count / 2 && (of_it == 0 || reached > of_it / 2)
            };
            let nodes: Vec<NodeId> =
                (1..=count).map(|id| NodeId(u8::try_from(id).unwrap())).collect();
            let place = |node: NodeId| usize::from(node.0) - 1;
            let found = members_of_meshes(&nodes, is_quorum, |a, b| {
                !cuts.contains(&(place(a), place(b))) && !cuts.contains(&(place(b), place(a)))
            });
            // A pair (a, a) cuts nothing: a node is always connected with itself.
            let cuts: Vec<_> = cuts.iter().copied().filter(|(a, b)| a != b).collect();
            prop_assert_eq!(found, by_trying_all(count, is_quorum, &cuts));
        }
    }

    #[test]
    fn two_halves_of_a_large_cluster_are_searched_at_once() {
        let nodes: Vec<NodeId> = NodeId::all(254).collect();
        let found = members_of_meshes(
            &nodes,
            |nodes| nodes.len() >= 128,
            |a, b| (a.0 <= 127) == (b.0 <= 127),
        );
        assert!(found.is_empty());
    }
}
