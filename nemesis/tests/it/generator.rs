use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usurper_history::NodeId;
use usurper_nemesis::{
    Fault, GeneratorOptions, Majority, Mix, RateOptions, Schedule, Step, Target, TimeSpan,
    generate, generate_rates,
};

fn options() -> impl Strategy<Value = (u8, GeneratorOptions, u64)> {
    let mixes = prop::sample::subsequence(Mix::ALL.to_vec(), 0..=Mix::ALL.len());
    (1_u8..30, mixes, 1_u64..5_000, 0_u64..60_000, any::<bool>(), any::<u64>()).prop_map(
        |(nodes, mix, interval, time, advance, seed)| {
            let (interval, time) = (TimeSpan::millis(interval), TimeSpan::millis(time));
            (nodes, GeneratorOptions { mix, interval, time, advance }, seed)
        },
    )
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
        let mut open: Option<(Fault, Option<String>)> = None;
        let mut now = TimeSpan::default();
        for step in &steps {
            let at = step.at.unwrap();
            prop_assert!(at >= now && at <= options.time, "{:?}", step);
            now = at;
            match step.fault {
                Fault::Advance => {}
                Fault::Restart | Fault::Resume | Fault::Heal => {
                    let (fault, name) = open.take().expect("something to undo");
                    prop_assert_eq!(fault.info().undo, Some(step.fault));
                    if step.fault != Fault::Heal {
                        prop_assert_eq!(step.target.clone(), name.map(Target::Step));
                    }
                }
                fault => {
                    prop_assert!(open.is_none(), "two faults at once");
                    open = Some((fault, step.name.clone()));
                }
            }
        }
        prop_assert!(open.is_none(), "{open:?} is left");
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
    };
    let schedules: Vec<_> = (0..20).map(|seed| generate(&nodes, &options, seed)).collect();
    assert!(schedules.windows(2).all(|pair| pair[0] != pair[1]));
    let used: BTreeSet<_> = schedules.iter().flatten().map(|step| step.fault).collect();
    for fault in [Fault::Kill, Fault::Terminate, Fault::Pause, Fault::Isolate, Fault::Halves] {
        assert!(used.contains(&fault), "{fault} is never drawn");
    }
}

fn rate_options() -> impl Strategy<Value = (u8, RateOptions, u64)> {
    let rates = prop::collection::btree_map(
        prop::sample::select(Mix::ALL.to_vec()),
        prop_oneof![Just(0.0), 0.1_f64..120.0],
        0..=Mix::ALL.len(),
    );
    let majority = prop::sample::select(vec![Majority::Any, Majority::Keep, Majority::Break]);
    (1_u8..12, rates, majority, 0_u64..60_000, any::<bool>(), any::<u64>()).prop_map(
        |(nodes, rates, majority, time, advance, seed)| {
            let time = TimeSpan::millis(time);
            (nodes, RateOptions { rates, majority, time, advance }, seed)
        },
    )
}

/// Every fault with its undo: its name, when it is in force, and whom it is aimed at.
fn faults(steps: &Schedule) -> Vec<(&Step, TimeSpan, TimeSpan)> {
    let undo_of = |name: &String| Target::Step(name.clone());
    let mut faults = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let Some(name) = &step.name else { continue };
        let after = &steps[index + 1..];
        let mut undos = after.iter().filter(|other| other.target == Some(undo_of(name)));
        let undo = undos.next().unwrap_or_else(|| panic!("{name} is never undone"));
        assert_eq!(step.fault.info().undo, Some(undo.fault));
        assert!(undos.next().is_none(), "{name} is undone twice");
        faults.push((step, step.at.unwrap(), undo.at.unwrap()));
    }
    faults
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
        let undos = steps.iter().filter(|s| matches!(s.target, Some(Target::Step(_)))).count();
        let faults = faults(&steps);
        prop_assert_eq!(faults.len(), undos);
        prop_assert!(faults.iter().all(|(_, from, to)| from < to));
        let most = most_hit(&steps, nodes);
        match options.majority {
            Majority::Keep => prop_assert!(most <= usize::from((nodes - 1) / 2), "{most} of {nodes}"),
            Majority::Break if !faults.is_empty() => {
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
