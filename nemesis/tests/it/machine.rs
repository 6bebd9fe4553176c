//! The faults of a node's machine, as data.

use usurper_history::{Effect, NodeId};
use usurper_nemesis::{Fault, Needs, Step};

use super::support::File;

const STEPS: &str = r#"
[[steps]]
do = "failpoint"
target = "n1"
delay = "200ms"
point = "lead.after-elected-before-first-hb"
act = "delay"

[[steps]]
do = "disk-fail"
target = "n1"
count = 2
op = "write"
error = "enospc"

[[steps]]
do = "disk-flip"
target = "n1"
byte = 12

[[steps]]
do = "disk-truncate"
target = "n1"
bytes = 3

[[steps]]
do = "clock-jump"
target = "n1"
clock = "wall"
jump = "-5s"

[[steps]]
do = "clock-rate"
target = "n1"
clock = "timer"
speed = 0.5
"#;

#[test]
fn a_schedule_reads_back_as_it_was_written() {
    let file: File = toml::from_str(STEPS).unwrap();
    Step::validate_all(&file.steps, &[NodeId(1)]).unwrap();
    assert_eq!(toml::to_string(&file).unwrap().trim(), STEPS.trim());
}

#[test]
fn whatever_degrades_a_node_is_restored_in_the_same_aspect() {
    for fault in Fault::ALL.iter().copied() {
        let info = fault.info();
        if info.effect != Effect::Degraded || info.needs != Needs::Target {
            continue;
        }
        let undo = info.undo.unwrap_or_else(|| panic!("nothing undoes `{fault}`"));
        assert_eq!(undo.info().effect, Effect::Restored, "{fault}");
        assert!(fault.aspect().is_some(), "{fault}");
        assert_eq!(undo.aspect(), fault.aspect(), "{fault}");
    }
}

#[test]
fn a_fault_that_a_node_may_not_live_to_see_degrades_nothing_until_then() {
    let file: File = toml::from_str(&STEPS.replace("\"delay\"", "\"crash\"")).unwrap();
    assert_eq!(file.steps[0].effect(), Effect::None);
    let file: File = toml::from_str(STEPS).unwrap();
    assert_eq!(file.steps[0].effect(), Effect::Degraded);
}
