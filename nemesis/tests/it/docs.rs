//! The page about schedules says what the code does.

use usurper_history::NodeId;
use usurper_nemesis::{Shape, Step, Target};

use super::support::File;

const PAGE: &str = include_str!("../../../docs/schedules.md");

#[test]
fn every_example_can_run() {
    let nodes: Vec<_> = NodeId::all(3).collect();
    let examples: Vec<_> = PAGE.split("```toml\n").skip(1).collect();
    assert!(examples.len() >= 5);
    for example in examples {
        let text = example.split("```").next().unwrap();
        let file: File = toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Step::validate_all(&file.steps, &nodes).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}

#[test]
fn every_target_and_every_shape_is_told() {
    let names = Target::NAMES.iter().copied().chain(Shape::ALL.iter().map(|info| info.name));
    for name in names {
        assert!(PAGE.contains(&format!("`{name}`")), "`{name}` is missing");
    }
}

#[test]
fn every_key_of_a_step_is_told() {
    let steps = "[[steps]]\nx = 1";
    let error = toml::from_str::<File>(steps).err().unwrap().to_string();
    let keys: Vec<_> = error.split('`').skip(1).step_by(2).filter(|key| *key != "x").collect();
    assert!(keys.len() > 10, "{error}");
    for key in keys {
        assert!(PAGE.contains(&format!("`{key}`")), "`{key}` is missing");
    }
}
