use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usurper_history::NodeId;
use usurper_nemesis::{
    Change, Fault, GeneratorOptions, Majority, Mix, MixKind, RateOptions, Schedule, Step, Target,
    TimeSpan, generate, generate_rates,
};

fn points() -> Vec<String> {
    vec!["vote.after-cast-before-send".to_owned(), "lead.after-won-before-proposal".to_owned()]
}

fn options() -> impl Strategy<Value = (u8, GeneratorOptions, u64)> {
    let mixes = prop::sample::subsequence(Mix::ALL.to_vec(), 0..=Mix::ALL.len());
    (1_u8..30, mixes, 1_u64..5_000, 0_u64..60_000, any::<bool>(), any::<u64>()).prop_map(
        |(nodes, mut mix, interval, time, advance, seed)| {
            mix.retain(|family| nodes > 1 || !family.needs_peers());
            let (interval, time) = (TimeSpan::millis(interval), TimeSpan::millis(time));
            let points = points();
            (nodes, GeneratorOptions { mix, interval, time, advance, points }, seed)
        },
    )
}

/// What a fault leaves behind until it is undone. A node that may end by itself counts as ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Open {
    Down,
    Frozen,
    Links,
    Disk,
    Clock,
    Failpoint,
    Members,
}

fn opens(fault: Fault) -> &'static [Open] {
    match fault {
        Fault::Kill | Fault::Terminate | Fault::Power => &[Open::Down],
        Fault::Pause => &[Open::Frozen],
        Fault::DiskFail => &[Open::Disk, Open::Down],
        Fault::DiskStall | Fault::DiskSlow | Fault::DiskFlip | Fault::DiskTruncate => &[Open::Disk],
        Fault::ClockJump | Fault::ClockRate => &[Open::Clock],
        Fault::Failpoint => &[Open::Failpoint, Open::Down],
        Fault::Reconfigure => &[Open::Members],
        fault if fault.info().undo == Some(Fault::Heal) => &[Open::Links],
        _ => &[],
    }
}

fn closes(fault: Fault) -> Option<Open> {
    match fault {
        Fault::Restart => Some(Open::Down),
        Fault::Resume => Some(Open::Frozen),
        Fault::Heal => Some(Open::Links),
        Fault::DiskRestore => Some(Open::Disk),
        Fault::ClockRestore => Some(Open::Clock),
        Fault::FailpointRelease => Some(Open::Failpoint),
        _ => None,
    }
}

/// What a step is about: the strike that it names or is named by, or the links.
fn subject(step: &Step) -> String {
    let links: Vec<_> = step.links.iter().map(ToString::to_string).collect();
    match (&step.name, &step.target) {
        (Some(name), _) | (_, Some(Target::Step(name))) if links.is_empty() => name.clone(),
        _ => links.join(" "),
    }
}

/// Whether a change asks for all the nodes as voters.
fn is_whole(step: &Step) -> bool {
    step.name.is_none() && step.change.as_ref().is_some_and(|change| change.learners.is_empty())
}

/// Goes through a schedule and panics where it undoes nothing, or ends with something left.
fn assert_all_undone(steps: &Schedule) {
    let mut open: BTreeSet<(Open, String)> = BTreeSet::new();
    for step in steps {
        if step.fault == Fault::Reconfigure && step.name.is_none() {
            // It asks for all the nodes, or is half of the way there.
            open.retain(|(what, _)| *what != Open::Members || !is_whole(step));
            continue;
        }
        open.extend(opens(step.fault).iter().map(|what| (*what, subject(step))));
        let Some(closed) = closes(step.fault) else { continue };
        let before = open.len();
        let all = step.fault == Fault::Heal && step.target.is_none() && step.links.is_empty();
        open.retain(|(what, whom)| *what != closed || !(all || *whom == subject(step)));
        // A link may be healed by another heal, and a node runs again before its log is whole.
        let again = !step.links.is_empty() || step.fault == Fault::Restart;
        assert!(open.len() < before || again, "{step:?} undoes nothing");
    }
    assert!(open.is_empty(), "{open:?} is left of {steps:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn the_same_seed_gives_the_same_schedule((nodes, options, seed) in options()) {
        let nodes: Vec<_> = NodeId::all(nodes).collect();
        prop_assert_eq!(generate(&nodes, &options, seed), generate(&nodes, &options, seed));
    }

    #[test]
    fn every_fault_is_undone_in_time_and_names_what_exists((nodes, options, seed) in options()) {
        let nodes: Vec<_> = NodeId::all(nodes).collect();
        let steps = generate(&nodes, &options, seed);
        prop_assert!(Step::validate_all(&steps, &nodes).is_ok());
        let mut now = TimeSpan::default();
        for step in &steps {
            let at = step.at.unwrap();
            prop_assert!(at >= now && at <= options.time, "{:?}", step);
            now = at;
        }
        assert_all_undone(&steps);
    }
}

#[test]
fn another_seed_gives_another_schedule() {
    let nodes: Vec<_> = NodeId::all(3).collect();
    let options = GeneratorOptions {
        mix: Mix::ALL.to_vec(),
        interval: TimeSpan::millis(2000),
        time: TimeSpan::millis(20_000),
        advance: true,
        points: points(),
    };
    let schedules: Vec<_> = (0..60).map(|seed| generate(&nodes, &options, seed)).collect();
    assert!(schedules.windows(2).all(|pair| pair[0] != pair[1]));
    let used: BTreeSet<_> = schedules.iter().flatten().map(|step| step.fault).collect();
    let faults = Mix::ALL.iter().map(|mix| mix.fault()).chain([Fault::Isolate, Fault::Halves]);
    for fault in faults {
        assert!(used.contains(&fault), "{fault} is never drawn");
    }
}

#[test]
fn each_kind_of_family_is_drawn_as_often_as_any_other() {
    let nodes: Vec<_> = NodeId::all(5).collect();
    let mix: Vec<_> = Mix::ALL.iter().copied().filter(|mix| mix.beyond().is_none()).collect();
    let options = GeneratorOptions {
        mix,
        interval: TimeSpan::millis(1000),
        time: TimeSpan::millis(60_000),
        advance: false,
        points: points(),
    };
    let mut drawn = BTreeMap::<MixKind, u32>::new();
    for step in (0..100).flat_map(|seed| generate(&nodes, &options, seed)) {
        let by_number = step.name.as_ref().is_some_and(|name| !name.contains('-'));
        let shape = [Fault::Isolate, Fault::Halves].contains(&step.fault);
        let family = Mix::ALL.iter().find(|mix| mix.fault() == step.fault && !shape);
        let kind = if shape { Some(MixKind::Partition) } else { family.map(|mix| mix.kind()) };
        // A reset and a transfer have no name, because nothing undoes them.
        let at_once = [Fault::Reset, Fault::Transfer].contains(&step.fault);
        if let Some(kind) = kind.filter(|_| by_number || at_once) {
            // `cut` is the fault of two families, and both of its steps are of links.
            let kind = if step.links.is_empty() { kind } else { MixKind::Link };
            *drawn.entry(kind).or_default() += 1;
        }
    }
    // 5900 faults of six kinds; four standard deviations.
    assert!(drawn.len() == 6 && drawn.values().all(|n| n.abs_diff(983) < 115), "{drawn:?}");
}

#[test]
fn what_a_protocol_need_not_survive_is_not_part_of_all_and_says_why() {
    let beyond: Vec<_> = Mix::ALL.iter().filter(|mix| mix.beyond().is_some()).collect();
    assert_eq!(beyond, [&Mix::Wipe, &Mix::DiskFlip, &Mix::DiskTruncate]);
}

fn rate_options() -> impl Strategy<Value = (u8, RateOptions, u64)> {
    let rates = prop::collection::btree_map(
        prop::sample::select(Mix::ALL.to_vec()),
        prop_oneof![Just(0.0), 0.1_f64..8.0],
        0..=Mix::ALL.len(),
    );
    let majority = prop::sample::select(vec![Majority::Any, Majority::Keep, Majority::Break]);
    (1_u8..12, rates, majority, 0_u64..60_000, any::<bool>(), any::<u64>()).prop_map(
        |(nodes, rates, majority, time, advance, seed)| {
            let time = TimeSpan::millis(time);
            let possible = |mix: &Mix| nodes > 1 || !mix.needs_peers();
            let rates = rates.into_iter().filter(|(mix, _)| possible(mix)).collect();
            (nodes, RateOptions { rates, majority, time, advance, points: points() }, seed)
        },
    )
}

/// Every strike: when it begins, and when the last step that undoes it comes.
fn faults(steps: &Schedule) -> Vec<(&Step, TimeSpan, TimeSpan)> {
    let mut faults = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        // What names another strike is part of it.
        if step.name.is_none() || matches!(step.target, Some(Target::Step(_))) {
            continue;
        }
        let after = &steps[index + 1..];
        let undo = if step.fault == Fault::Reconfigure {
            after.iter().find(|other| other.fault == Fault::Reconfigure && is_whole(other))
        } else if step.links.is_empty() {
            let name = step.name.clone().map(Target::Step);
            after.iter().rev().find(|other| other.target == name)
        } else {
            after.iter().find(|other| other.fault == Fault::Heal && other.links == step.links)
        };
        let undo = undo.unwrap_or_else(|| panic!("{step:?} is never undone"));
        faults.push((step, step.at.unwrap(), undo.at.unwrap()));
    }
    faults
}

/// Panics where fewer nodes than a majority of some configuration that was asked for are left, whoever
/// leads: of all the nodes, or of those that were to vote until all were, and 4 s longer.
fn assert_majorities_of_members(steps: &Schedule, nodes: u8) {
    let (changes, others): (Vec<_>, Vec<_>) =
        faults(steps).into_iter().partition(|(step, ..)| step.fault == Fault::Reconfigure);
    let late = |to: TimeSpan| to.0 + std::time::Duration::from_secs(4);
    for (_, now, _) in changes.iter().chain(&others) {
        let mut named = BTreeSet::new();
        let mut anybody = 0;
        for (step, ..) in others.iter().filter(|(_, from, to)| from <= now && now < to) {
            match &step.target {
                Some(Target::Node(node)) => drop(named.insert(*node)),
                _ => anybody += 1,
            }
        }
        let open = changes.iter().filter(|(_, from, to)| from <= now && now.0 < late(*to));
        let asked = open.map(|(step, ..)| step.change.clone().unwrap().voters);
        for voters in asked.chain([NodeId::all(nodes).collect()]) {
            let left = voters.iter().filter(|node| !named.contains(node)).count();
            assert!(left >= voters.len() / 2 + 1 + anybody, "{voters:?} at {now:?} of {steps:#?}");
        }
    }
}

/// The most nodes that can be hit at once, whoever leads: a step at the leader may hit another one.
fn most_hit(steps: &Schedule, nodes: u8) -> usize {
    let faults = faults(steps);
    let at = |now: TimeSpan| {
        let open = faults.iter().filter(|(_, from, to)| *from <= now && now < *to);
        let mut named = BTreeSet::new();
        let mut leaders = 0;
        for (step, ..) in open {
            match &step.target {
                Some(Target::Leader) => leaders += 1,
                Some(Target::Several(all)) => named.extend(all.clone()),
                Some(target) => {
                    named.insert(target.clone());
                }
                // A node that one of two links ends at is enough to lose.
                None if !step.links.is_empty() => leaders += 1,
                None => leaders += usize::from(nodes / 2),
            }
        }
        named.len() + leaders
    };
    faults.iter().map(|(_, from, _)| at(*from)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn overlapping_faults_are_reproducible_undone_and_real((nodes, options, seed) in rate_options()) {
        let all: Vec<_> = NodeId::all(nodes).collect();
        let steps = generate_rates(&all, &options, seed);
        prop_assert_eq!(&steps, &generate_rates(&all, &options, seed));
        if let Err(error) = Step::validate_all(&steps, &all) {
            prop_assert!(false, "{error}");
        }
        prop_assert!(steps.windows(2).all(|pair| pair[0].at <= pair[1].at));
        prop_assert!(steps.iter().all(|step| step.at.unwrap() <= options.time));
        assert_all_undone(&steps);
        let faults = faults(&steps);
        prop_assert!(faults.iter().all(|(_, from, to)| from < to));
        let takes_away = [Fault::Pause, Fault::Isolate, Fault::Kill, Fault::Terminate, Fault::Power];
        let takes_away = |step: &Step| takes_away.contains(&step.fault);
        let most = most_hit(&steps, nodes);
        match options.majority {
            Majority::Keep => {
                prop_assert!(most <= usize::from((nodes - 1) / 2), "{most} of {nodes}");
                assert_majorities_of_members(&steps, nodes);
            }
            Majority::Break if faults.iter().any(|(step, ..)| takes_away(step)) => {
                prop_assert!(2 * most >= usize::from(nodes), "only {most} of {nodes}");
            }
            _ => {}
        }
    }
}

#[test]
fn faults_come_as_often_as_expected_and_overlap() {
    let nodes: Vec<_> = NodeId::all(5).collect();
    let options = RateOptions {
        rates: BTreeMap::from([(Mix::Kill, 30.0), (Mix::Pause, 6.0)]),
        majority: Majority::Any,
        time: TimeSpan::millis(60_000),
        advance: false,
        points: Vec::new(),
    };
    let all: Vec<_> = (0..200).map(|seed| generate_rates(&nodes, &options, seed)).collect();
    let count = |fault| all.iter().flatten().filter(|step| step.fault == fault).count();
    // 200 minutes; four standard deviations of a Poisson count on either side.
    let near = |found: usize, expected: usize| found.abs_diff(expected) < 4 * expected.isqrt() + 40;
    assert!(near(count(Fault::Kill), 6000), "{} kills", count(Fault::Kill));
    assert!(near(count(Fault::Pause), 1200), "{} pauses", count(Fault::Pause));
    assert_eq!(count(Fault::Isolate) + count(Fault::Terminate), 0);
    assert!(all.iter().any(|steps| most_hit(steps, 5) > 1), "nothing overlaps");
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn members_go_and_come_and_leaders_hand_over() {
    let nodes: Vec<_> = NodeId::all(5).collect();
    let options = RateOptions {
        rates: BTreeMap::from([(Mix::Reconfigure, 30.0), (Mix::Transfer, 30.0)]),
        majority: Majority::Any,
        time: TimeSpan::millis(60_000),
        advance: false,
        points: Vec::new(),
    };
    let all: Vec<Step> = (0..50).flat_map(|seed| generate_rates(&nodes, &options, seed)).collect();
    // No request is a promise: nobody may lead then.
    assert!(all.iter().all(|step| step.optional));
    let changes: Vec<_> = all.iter().filter_map(|step| step.change.clone()).collect();
    let seen = |what: &str, is: &dyn Fn(&Change) -> bool| {
        assert!(changes.iter().any(is), "no change {what}");
    };
    seen("of one voter", &|it| it.voters.len() == 4 && it.learners.is_empty() && !it.joint);
    seen("through a joint configuration", &|it| it.voters.len() == 4 && it.joint);
    seen("of two voters at once", &|it| it.voters.len() == 3);
    seen("that makes a learner", &|it| it.learners.len() == 1);
    seen("back to all", &|it| it.voters == nodes);
    assert!(changes.iter().all(|it| it.voters.len() >= 3), "too few are left");
    let transfers = all.iter().filter(|step| step.fault == Fault::Transfer);
    let to: BTreeSet<_> = transfers.map(|step| step.target.clone().unwrap()).collect();
    assert!(to.contains(&Target::Follower) && to.contains(&Target::Node(nodes[0])));
}
