//! Schedules as text, for the tests.

use usurper_nemesis::Schedule;

/// The part of a scenario's file that is its steps.
#[derive(serde::Deserialize, serde::Serialize)]
pub(crate) struct File {
    pub(crate) steps: Schedule,
}

#[track_caller]
pub(crate) fn steps(text: &str) -> Schedule {
    toml::from_str::<File>(text).unwrap_or_else(|error| panic!("{error}")).steps
}
