use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use usurper_history::{NodeId, Timing, frame::Kind};
use usurper_nemesis::{
    Change, Fault, GeneratorOptions, Majority, MessageKind, Mix, MixKind, RateOptions, Schedule,
    Shape, Step, Target, TimeSpan, generate, generate_rates,
};

fn points() -> Vec<String> {
    vec!["vote.after-cast-before-send".to_owned(), "lead.after-won-before-proposal".to_owned()]
}

fn kinds() -> Vec<MessageKind> {
    vec![MessageKind(Kind::Hello), MessageKind(Kind::Heartbeat), MessageKind(Kind::Notification)]
}

fn events() -> Vec<String> {
    let told = ["node-start", "role-change", "leader-elected", "vote-msg", "heartbeat", "ack"];
    told.map(str::to_owned).to_vec()
}

/// Of a system with this election timeout, in milliseconds.
fn timing(timeout: u64) -> Timing {
    let election_timeout_ns = timeout * 1_000_000;
    Timing {
        heartbeat_ns: election_timeout_ns / 5,
        election_timeout_ns,
        leader_bound_ns: election_timeout_ns * 20,
    }
}

/// What a cluster of ours can be asked for.
fn everything(mix: Vec<Mix>, interval: u64, time: u64) -> GeneratorOptions {
    GeneratorOptions {
        mix,
        interval: TimeSpan::millis(interval),
        time: TimeSpan::millis(time),
        timing: timing(500),
        advance: true,
        points: points(),
        kinds: kinds(),
        events: events(),
    }
}

fn options() -> impl Strategy<Value = (u8, GeneratorOptions, u64)> {
    let mixes = prop::sample::subsequence(Mix::ALL.to_vec(), 0..=Mix::ALL.len());
    let told = (any::<bool>(), any::<bool>(), any::<bool>());
    let times = (100_u64..5_000, 0_u64..20_000, 10_u64..3_000);
    (1_u8..12, mixes, times, told, any::<u64>()).prop_map(
        |(nodes, mut mix, (interval, time, timeout), (advance, kinds, events), seed)| {
            mix.retain(|family| nodes > 1 || !family.needs_peers());
            let everything = everything(mix, interval, time);
            let timing = timing(timeout);
            let mut options = GeneratorOptions { advance, timing, ..everything };
            if !kinds {
                options.kinds.clear();
            }
            if !events {
                options.events.clear();
            }
            (nodes, options, seed)
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

/// When each step begins, at the earliest and at the latest, if everything is done at once.
fn times(steps: &Schedule) -> Vec<(Duration, Duration)> {
    let mut tracks = BTreeMap::<Option<&str>, (Duration, Duration)>::new();
    let begin = |step: &Step| step.at.map(|at| (at.0, at.0));
    let times = steps.iter().map(|step| {
        let track = step.track.as_deref();
        let (earliest, latest) = begin(step).unwrap_or_else(|| tracks[&track]);
        let (after, within) = (step.after.unwrap_or_default(), step.within.unwrap_or_default());
        let time = (earliest + after.0, latest + within.0 + after.0);
        tracks.insert(track, time);
        time
    });
    times.collect()
}

/// Panics where something that a step does is not undone after it, whatever the others wait for.
fn assert_all_undone(steps: &Schedule) {
    let times = times(steps);
    for (place, step) in steps.iter().enumerate() {
        // One without a name asks for all the nodes, or is half of the way there.
        let undo = step.fault == Fault::Reconfigure && step.name.is_none();
        for what in opens(step.fault).iter().filter(|_| !undo) {
            let undoes = |(other, undo): (usize, &Step)| {
                let all = undo.target.is_none() && undo.links.is_empty();
                let in_turn = step.track.is_some() && step.track == undo.track && other > place;
                let whole = *what == Open::Members && is_whole(undo);
                (closes(undo.fault) == Some(*what) || whole)
                    && (whole || all && undo.fault == Fault::Heal || subject(undo) == subject(step))
                    && (in_turn || (other > place && times[other].0 >= times[place].1))
            };
            let undone = steps.iter().enumerate().any(undoes);
            assert!(undone, "{what:?} of {step:?} is left of {steps:#?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn every_fault_is_reproducible_undone_in_time_and_real((nodes, options, seed) in options()) {
        let all: Vec<_> = NodeId::all(nodes).collect();
        let steps = generate(&all, &options, seed);
        prop_assert_eq!(&steps, &generate(&all, &options, seed));
        if let Err(error) = Step::validate_all(&steps, &all) {
            prop_assert!(false, "{error}");
        }
        prop_assert!(Step::validate_time(&steps, options.time.0).is_ok());
        let late = times(&steps).into_iter().position(|(_, latest)| latest > options.time.0);
        prop_assert!(late.is_none(), "{:?}", steps[late.unwrap_or(0)]);
        // No verdict hangs on what a random step waits for.
        let tracked = || steps.iter().filter(|step| step.at.is_none());
        prop_assert!(tracked().all(|step| step.optional && (step.on.is_none() || step.anyway)));
        prop_assert!(!options.events.is_empty() || steps.iter().all(|step| step.on.is_none()));
        prop_assert!(!options.kinds.is_empty() || steps.iter().all(|step| step.kinds.is_empty()));
        assert_all_undone(&steps);
    }
}

#[test]
fn a_schedule_is_short_enough_to_be_told() {
    let mix: Vec<_> = Mix::ALL.iter().copied().filter(|mix| mix.beyond().is_none()).collect();
    for (nodes, timeout) in [(3, 500), (3, 1600), (5, 500), (5, 2500)] {
        let nodes: Vec<_> = NodeId::all(nodes).collect();
        let mut options = everything(mix.clone(), 2000, 12_000);
        options.timing = timing(timeout);
        let counts = (0..500).map(|seed| generate(&nodes, &options, seed).len());
        let counts: Vec<_> = counts.collect();
        assert!(counts.iter().all(|count| *count <= 24), "{:?}", counts.iter().max());
        assert!(counts.iter().filter(|count| **count < 4).count() < 10, "{counts:?}");
    }
}

#[test]
fn another_seed_gives_another_schedule() {
    let nodes: Vec<_> = NodeId::all(3).collect();
    let options = everything(Mix::ALL.to_vec(), 2000, 20_000);
    let schedules: Vec<_> = (0..200).map(|seed| generate(&nodes, &options, seed)).collect();
    assert!(schedules.windows(2).all(|pair| pair[0] != pair[1]));
    let used: BTreeSet<_> = schedules.iter().flatten().map(|step| step.fault).collect();
    let faults = Mix::ALL.iter().map(|mix| mix.fault()).chain([Fault::Isolate, Fault::Halves]);
    for fault in faults {
        assert!(used.contains(&fault), "{fault} is never drawn");
    }
}

/// Of which kind the fault of a family is; nothing of a step that belongs to another.
fn kind_of(step: &Step) -> Option<MixKind> {
    let shaped = step.fault.name().parse::<Shape>().is_ok();
    // A majority that is left over, which no single link is enough for.
    let web = step.fault == Fault::Cut && step.links.iter().all(|link| link.both);
    let of_it = |mix: &&Mix| mix.fault() == step.fault;
    let at_once = [Fault::Reset, Fault::Transfer].contains(&step.fault);
    match step.name.is_some() || at_once {
        true if shaped || web => Some(MixKind::Partition),
        true => Mix::ALL.iter().find(of_it).map(|mix| mix.kind()),
        false => None,
    }
}

#[test]
fn each_seed_has_few_families_and_all_seeds_have_each_kind() {
    let nodes: Vec<_> = NodeId::all(5).collect();
    let mix: Vec<_> = Mix::ALL.iter().copied().filter(|mix| mix.beyond().is_none()).collect();
    let options = everything(mix, 1000, 60_000);
    let mut drawn = BTreeMap::<MixKind, usize>::new();
    for seed in 0..100 {
        let steps = generate(&nodes, &options, seed);
        // Those of the other kinds may come in bursts of any seed.
        let quiet = |kind: &MixKind| [MixKind::Link, MixKind::Machine].contains(kind);
        let of_seed = steps.iter().filter(|step| kind_of(step).is_some_and(|kind| quiet(&kind)));
        let families: BTreeSet<_> = of_seed.map(|step| step.fault).collect();
        assert!(families.len() <= 4, "{families:?}");
        for kind in steps.iter().filter_map(kind_of) {
            *drawn.entry(kind).or_default() += 1;
        }
    }
    // Those that bring elections about come more often than the others.
    let all: usize = drawn.values().sum();
    assert!(drawn.len() == 7 && drawn.values().all(|n| n * 100 > all * 2), "{drawn:?}");
}

#[test]
fn faults_follow_what_the_nodes_say_and_the_clock() {
    let nodes: Vec<_> = NodeId::all(5).collect();
    let options = everything(vec![Mix::Kill, Mix::Hold, Mix::Partition], 1000, 60_000);
    let (mut cued, mut faults, mut steps) = (0, 0, Vec::new());
    for seed in 0..100 {
        let schedule = generate(&nodes, &options, seed);
        let mut hearing = BTreeSet::new();
        for step in &schedule {
            hearing.extend(step.track.as_ref().filter(|_| step.on.is_some()));
            if !opens(step.fault).is_empty() {
                faults += 1;
                cued += usize::from(step.track.as_ref().is_some_and(|it| hearing.contains(it)));
            }
        }
        steps.extend(schedule);
    }
    assert!(4 * cued > faults && 5 * cued < 4 * faults, "{cued} of {faults}");
    let caught = steps
        .iter()
        .flat_map(|step| &step.target)
        .filter(|target| matches!(target, Target::Captured(_)));
    assert!(caught.count() > 100, "those who speak are hit");
    assert!(steps.iter().any(|step| step.fault == Fault::Restart && step.on.is_some()));
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
            let (points, kinds) = (points(), kinds());
            (nodes, RateOptions { rates, majority, time, advance, points, kinds }, seed)
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
        kinds: Vec::new(),
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
        kinds: Vec::new(),
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
