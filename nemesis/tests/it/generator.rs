use std::collections::BTreeSet;

use proptest::prelude::*;
use usurper_history::NodeId;
use usurper_nemesis::{Fault, GeneratorOptions, Mix, Step, Target, TimeSpan, generate};

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
    #![proptest_config(ProptestConfig::with_cases(2000))]

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
