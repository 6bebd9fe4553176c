//! The shapes of a broken network: which directed links a partition cuts. Pure.
//!
//! The names are those of Jepsen's `nemesis` where it has one: halves, bridge, majorities-ring,
//! majority, minority-third, primaries. `chain`, `hub` and `one-way` are ours.

use std::{collections::BTreeSet, fmt, str::FromStr};

use usurper_history::{Link, NodeId};

use crate::target::{Bindings, Target};

/// Which links a partition cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// The target on one side, the others on the other.
    Isolate,
    /// Two halves; of an odd number the larger one keeps the majority.
    Halves,
    /// A minority of the seed's choice on one side, a majority on the other.
    MajorityMinority,
    /// Fewer than a third of the nodes on one side.
    MinorityThird,
    /// Every node hears a majority, and no two nodes hear the same one.
    MajoritiesRing,
    /// Two halves that only one node between them can reach both of.
    Bridge,
    /// Every node reaches its two neighbours in a line, and nobody else.
    Chain,
    /// One node reaches everybody, and nobody reaches anybody else.
    Hub,
    /// What the target sends is lost; what is sent to it arrives.
    OneWay,
    /// Each node that believes that it leads is alone.
    Primaries,
}

/// A shape, as a list of what there is shows it.
#[derive(Clone, Copy, Debug)]
pub struct ShapeInfo {
    pub shape: Shape,
    pub name: &'static str,
    /// Whether a step must say whom it means; otherwise the seed chooses where there is a choice.
    pub needs_target: bool,
    pub summary: &'static str,
}

/// What a shape cuts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The side, the bridge, the hub: whom the shape is about. Empty where it is about everybody.
    pub nodes: Vec<NodeId>,
    /// Sorted, each once.
    pub links: Vec<Link>,
}

impl Shape {
    /// Every shape.
    pub const ALL: &'static [ShapeInfo] = &[
        info(
            Self::Isolate,
            "isolate",
            true,
            "cut all links between the target and the others, both ways",
        ),
        info(
            Self::Halves,
            "halves",
            false,
            "cut the cluster in two halves; the target, or a choice of the seed, is the smaller one",
        ),
        info(
            Self::MajorityMinority,
            "majority-minority",
            false,
            "cut a minority off; the target, or a choice of the seed, is the minority",
        ),
        info(
            Self::MinorityThird,
            "minority-third",
            false,
            "cut off fewer than a third of the nodes, of the seed's choice",
        ),
        info(
            Self::MajoritiesRing,
            "majorities-ring",
            false,
            "let every node hear a majority, and no two nodes the same one",
        ),
        info(
            Self::Bridge,
            "bridge",
            false,
            "cut two halves apart that one node, the target or a choice of the seed, still reaches",
        ),
        info(
            Self::Chain,
            "chain",
            false,
            "leave a line in which each node reaches its neighbours only",
        ),
        info(
            Self::Hub,
            "hub",
            false,
            "leave a star: only the target, or a choice of the seed, reaches the others",
        ),
        info(
            Self::OneWay,
            "one-way",
            true,
            "lose what the target sends to the others; what they send to it arrives",
        ),
        info(
            Self::Primaries,
            "primaries",
            false,
            "cut every node that believes that it leads off from everybody",
        ),
    ];

    /// What there is to know about this shape.
    pub fn info(self) -> &'static ShapeInfo {
        Self::ALL.iter().find(|info| info.shape == self).expect("every shape is in the table")
    }

    /// Its name in schedules and histories.
    pub fn name(self) -> &'static str {
        self.info().name
    }
}

const fn info(
    shape: Shape,
    name: &'static str,
    needs_target: bool,
    summary: &'static str,
) -> ShapeInfo {
    ShapeInfo { shape, name, needs_target, summary }
}

/// The directed links that a shape cuts now, and whom it is about.
///
/// `target` is whom the step means; where it is absent, `pick` chooses (an index below its argument).
/// No link is named twice, and none leads from a node to itself. Every shape of a cluster of one is
/// empty.
///
/// # Errors
/// A sentence that says why the shape means nothing now: nobody leads, or the target is missing.
pub fn links(
    shape: Shape,
    target: Option<&[NodeId]>,
    bindings: &Bindings,
    pick: &mut dyn FnMut(usize) -> usize,
) -> Result<Cut, String> {
    let all = bindings.nodes();
    if target.is_none() && shape.info().needs_target {
        return Err(format!("`{shape}` needs a target"));
    }
    let mut chosen = |choice: Target| match target {
        Some(nodes) => Ok(nodes.to_vec()),
        None => bindings.resolve(&choice, None, pick),
    };
    let (nodes, open): (Vec<NodeId>, Box<dyn Fn(Link) -> bool>) = match shape {
        Shape::Isolate => return Ok(sides(chosen(Target::All)?, all)),
        Shape::MajorityMinority => return Ok(sides(chosen(Target::Minority)?, all)),
        Shape::MinorityThird => return Ok(sides(chosen(Target::MinorityThird)?, all)),
        Shape::Halves => {
            let side = target.map_or_else(|| half(all, pick), <[NodeId]>::to_vec);
            return Ok(sides(side, all));
        }
        Shape::Primaries => {
            let alone = chosen(Target::Primaries)?;
            let reached = alone.clone();
            (alone, Box::new(move |l| !reached.contains(&l.from) && !reached.contains(&l.to)))
        }
        Shape::OneWay => {
            let mute = chosen(Target::All)?;
            let lost = mute.clone();
            (mute, Box::new(move |l| !lost.contains(&l.from) || lost.contains(&l.to)))
        }
        Shape::Hub => {
            let hub = chosen(Target::One)?;
            let centre = hub.clone();
            (hub, Box::new(move |l| centre.contains(&l.from) || centre.contains(&l.to)))
        }
        Shape::Bridge => {
            let bridge = chosen(Target::One)?;
            let rest: Vec<_> = all.iter().copied().filter(|n| !bridge.contains(n)).collect();
            let side: BTreeSet<_> = half(&rest, pick).into_iter().collect();
            let between = bridge.clone();
            let open = move |l: Link| {
                let over = between.contains(&l.from) || between.contains(&l.to);
                over || side.contains(&l.from) == side.contains(&l.to)
            };
            (bridge, Box::new(open))
        }
        Shape::Chain => {
            let line = shuffled(all, pick);
            let open = move |l: Link| place(&line, l.from).abs_diff(place(&line, l.to)) == 1;
            (Vec::new(), Box::new(open))
        }
        Shape::MajoritiesRing => {
            let ring = shuffled(all, pick);
            // Each node stands in the middle of the majority that it hears.
            let count = ring.len();
            let majority = count / 2 + 1;
            let open = move |l: Link| {
                let first = place(&ring, l.to) + count - (majority - 1) / 2;
                (0..majority).any(|step| ring[(first + step) % count] == l.from)
            };
            (Vec::new(), Box::new(open))
        }
    };
    let pairs = all.iter().flat_map(|from| all.iter().map(move |to| Link { from: *from, to: *to }));
    let links: BTreeSet<_> = pairs.filter(|link| link.from != link.to && !open(*link)).collect();
    Ok(Cut { nodes, links: links.into_iter().collect() })
}

fn place(line: &[NodeId], node: NodeId) -> usize {
    line.iter().position(|other| *other == node).expect("the line holds every node")
}

fn shuffled(all: &[NodeId], pick: &mut dyn FnMut(usize) -> usize) -> Vec<NodeId> {
    let mut rest = all.to_vec();
    let mut line = Vec::new();
    while !rest.is_empty() {
        line.push(rest.swap_remove(pick(rest.len())));
    }
    line
}

fn sides(side: Vec<NodeId>, all: &[NodeId]) -> Cut {
    let links = between(&side, all);
    Cut { nodes: side, links }
}

/// Both directions of every link between a set of nodes and the rest; within the set when it is
/// everybody.
pub(crate) fn between(side: &[NodeId], all: &[NodeId]) -> Vec<Link> {
    let everybody = side.len() == all.len();
    let mut links = Vec::new();
    for &from in side {
        for &to in all.iter().filter(|to| **to != from) {
            if everybody || !side.contains(&to) {
                links.push(Link { from, to });
                links.push(Link { from: to, to: from });
            }
        }
    }
    links.sort_unstable();
    links.dedup();
    links
}

/// The smaller half, chosen at random; one node of two.
fn half(all: &[NodeId], pick: &mut dyn FnMut(usize) -> usize) -> Vec<NodeId> {
    let mut rest = all.to_vec();
    let mut side = Vec::new();
    while side.len() < all.len() / 2 {
        side.push(rest.swap_remove(pick(rest.len())));
    }
    side.sort_unstable();
    side
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|info| info.name == name);
        found.map(|info| info.shape).ok_or_else(|| format!("unknown shape `{name}`"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use usurper_history::{Body, Event, Link, NodeId, NodeRecord, Record, Role};

    use super::{Cut, Shape, links};
    use crate::target::Bindings;

    fn cut(shape: Shape, nodes: u8, target: Option<&[u8]>) -> Cut {
        let nodes: Vec<_> = NodeId::all(nodes).collect();
        let target: Option<Vec<_>> = target.map(|t| t.iter().map(|n| NodeId(*n)).collect());
        links(shape, target.as_deref(), &Bindings::new(&nodes), &mut |_| 0).unwrap()
    }

    /// Whom a node still hears, itself included.
    fn hears(cut: &Cut, node: u8, nodes: u8) -> BTreeSet<u8> {
        let lost = |from| cut.links.contains(&Link { from: NodeId(from), to: NodeId(node) });
        (1..=nodes).filter(|from| *from == node || !lost(*from)).collect()
    }

    fn reach(cut: &Cut, nodes: u8) -> Vec<Vec<u8>> {
        (1..=nodes).map(|node| hears(cut, node, nodes).into_iter().collect()).collect()
    }

    #[test]
    fn a_side_hears_itself_only() {
        let isolated = cut(Shape::Isolate, 5, Some(&[2, 4]));
        assert_eq!(
            reach(&isolated, 5),
            [vec![1, 3, 5], vec![2, 4], vec![1, 3, 5], vec![2, 4], vec![1, 3, 5]]
        );
        assert_eq!(cut(Shape::Halves, 5, None).nodes.len(), 2);
        assert_eq!(cut(Shape::Halves, 4, None).nodes.len(), 2);
        assert_eq!(cut(Shape::MajorityMinority, 4, None).nodes.len(), 1);
        assert_eq!(cut(Shape::MinorityThird, 7, None).nodes.len(), 2);
    }

    #[test]
    fn in_a_majorities_ring_everyone_hears_another_majority() {
        for nodes in 1..=11 {
            let ring = cut(Shape::MajoritiesRing, nodes, None);
            let heard: BTreeSet<_> = (1..=nodes).map(|node| hears(&ring, node, nodes)).collect();
            assert!(heard.iter().all(|set| set.len() == usize::from(nodes / 2 + 1)), "{nodes}");
            // Of two nodes both are the majority.
            let expected = if nodes == 2 { 1 } else { usize::from(nodes) };
            assert_eq!(heard.len(), expected, "{nodes} nodes: {heard:?}");
        }
    }

    #[test]
    fn a_bridge_joins_two_halves_that_do_not_hear_each_other() {
        let bridged = cut(Shape::Bridge, 5, Some(&[3]));
        assert_eq!(bridged.nodes, [NodeId(3)]);
        assert_eq!(hears(&bridged, 3, 5).len(), 5);
        for node in [1, 2, 4, 5] {
            assert_eq!(hears(&bridged, node, 5).len(), 3, "itself, its peer and the bridge");
        }
    }

    #[test]
    fn in_a_chain_only_neighbours_hear_each_other() {
        let chain = cut(Shape::Chain, 5, None);
        let mut counts: Vec<_> = reach(&chain, 5).iter().map(Vec::len).collect();
        counts.sort_unstable();
        assert_eq!(counts, [2, 2, 3, 3, 3]);
    }

    #[test]
    fn a_hub_is_heard_by_everybody_and_nobody_else_is() {
        assert_eq!(
            reach(&cut(Shape::Hub, 4, Some(&[2])), 4),
            [vec![1, 2], vec![1, 2, 3, 4], vec![2, 3], vec![2, 4]]
        );
    }

    #[test]
    fn one_way_loses_what_the_target_says_and_not_what_it_hears() {
        assert_eq!(
            reach(&cut(Shape::OneWay, 3, Some(&[1])), 3),
            [vec![1, 2, 3], vec![2, 3], vec![2, 3]]
        );
    }

    #[test]
    fn each_primary_is_alone_and_without_one_there_is_nothing_to_cut() {
        let nodes: Vec<_> = NodeId::all(4).collect();
        let mut bindings = Bindings::new(&nodes);
        let now = |bindings: &Bindings| links(Shape::Primaries, None, bindings, &mut |_| 0);
        assert_eq!(now(&bindings).unwrap_err(), "no node believes that it leads");
        for (node, to) in
            [(1, Role::Leader), (2, Role::Leader), (3, Role::Leader), (3, Role::Looking)]
        {
            let (from, phase, reason) = (Role::Looking, None, String::new());
            let event = Event::RoleChange { from, to, phase, reason };
            let (node, proto) = (NodeId(node), "fle".to_owned());
            let body = NodeRecord { node, inc: 1, seq: 1, proto, term: 1, role: from, event };
            bindings.observe(&Record::new(1, Body::Node(body)));
        }
        let cut = now(&bindings).unwrap();
        assert_eq!(reach(&cut, 4), [vec![1], vec![2], vec![3, 4], vec![3, 4]]);
    }

    #[test]
    fn a_shape_about_somebody_must_be_told_whom() {
        let bindings = Bindings::new(&[NodeId(1), NodeId(2)]);
        let wanted = links(Shape::OneWay, None, &bindings, &mut |_| 0).unwrap_err();
        assert_eq!(wanted, "`one-way` needs a target");
        for info in Shape::ALL {
            assert_eq!(info.name.parse::<Shape>(), Ok(info.shape));
        }
    }
}
