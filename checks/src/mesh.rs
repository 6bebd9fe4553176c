//! Full meshes of a wanted size within a graph of nodes.
//!
//! The question is NP-hard in general, and easy for what faults make of a cluster. The search
//! branches on the node that misses most others: for a partition one of the branches dies at once.

use std::collections::BTreeSet;

use usurper_history::NodeId;

/// The nodes that belong to at least one set of `size` nodes that are pairwise connected.
pub(crate) fn members_of_meshes(
    nodes: &[NodeId],
    size: usize,
    connected: impl Fn(NodeId, NodeId) -> bool,
) -> BTreeSet<NodeId> {
    let apart: Vec<Vec<bool>> = nodes
        .iter()
        .map(|a| nodes.iter().map(|b| a != b && !connected(*a, *b)).collect())
        .collect();
    let mut members = BTreeSet::new();
    for (place, node) in nodes.iter().enumerate() {
        if members.contains(node) {
            continue;
        }
        let near: Vec<usize> = (0..nodes.len()).filter(|other| !apart[place][*other]).collect();
        if let Some(mesh) = mesh_among(&near, size, &apart) {
            members.extend(mesh.into_iter().map(|place| nodes[place]));
            members.insert(*node);
        }
    }
    members
}

/// The largest found set of at least `size` of the candidates in which no two are apart.
fn mesh_among(candidates: &[usize], size: usize, apart: &[Vec<bool>]) -> Option<Vec<usize>> {
    if candidates.len() < size {
        return None;
    }
    let missing = |node: usize| candidates.iter().filter(|other| apart[node][**other]).count();
    let worst = candidates.iter().copied().max_by_key(|node| missing(*node))?;
    if missing(worst) == 0 {
        return Some(candidates.to_vec());
    }
    let with: Vec<usize> = candidates.iter().copied().filter(|it| !apart[worst][*it]).collect();
    let without = || candidates.iter().copied().filter(|it| *it != worst).collect::<Vec<_>>();
    mesh_among(&with, size, apart).or_else(|| mesh_among(&without(), size, apart))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use usurper_history::NodeId;

    use super::members_of_meshes;

    fn by_trying_all(count: usize, size: usize, edges: &[(usize, usize)]) -> BTreeSet<NodeId> {
        let nodes: Vec<NodeId> = (1..=count).map(|id| NodeId(u8::try_from(id).unwrap())).collect();
        let apart = |a: usize, b: usize| edges.contains(&(a, b)) || edges.contains(&(b, a));
        let mut members = BTreeSet::new();
        for set in 0_u32..1 << count {
            let chosen: Vec<usize> = (0..count).filter(|bit| set & 1 << bit != 0).collect();
            let mesh = chosen.iter().all(|a| chosen.iter().all(|b| a == b || !apart(*a, *b)));
            if chosen.len() >= size && mesh {
                members.extend(chosen.iter().map(|place| nodes[*place]));
            }
        }
        members
    }

    proptest! {
        #[test]
        fn the_search_agrees_with_trying_every_set(
            count in 1_usize..8,
            cuts in proptest::collection::vec((0_usize..8, 0_usize..8), 0..14),
        ) {
            let size = count / 2 + 1;
            let nodes: Vec<NodeId> =
                (1..=count).map(|id| NodeId(u8::try_from(id).unwrap())).collect();
            let place = |node: NodeId| usize::from(node.0) - 1;
            let found = members_of_meshes(&nodes, size, |a, b| {
                !cuts.contains(&(place(a), place(b))) && !cuts.contains(&(place(b), place(a)))
            });
            // A pair (a, a) cuts nothing: a node is always connected with itself.
            let cuts: Vec<_> = cuts.iter().copied().filter(|(a, b)| a != b).collect();
            prop_assert_eq!(found, by_trying_all(count, size, &cuts));
        }
    }

    #[test]
    fn two_halves_of_a_large_cluster_are_searched_at_once() {
        let nodes: Vec<NodeId> = NodeId::all(254).collect();
        let found = members_of_meshes(&nodes, 128, |a, b| (a.0 <= 127) == (b.0 <= 127));
        assert!(found.is_empty());
    }
}
