//! `usurper doctor`: what this machine allows, and how quickly it reacts.

use std::{collections::BTreeMap, thread};

use usurper_history::{Body, Outcome, Reader, Trigger};
use usurper_nemesis::{Fault, Pattern, Step, Target, TimeSpan};

use crate::{
    abilities::{Abilities, Ability},
    cli::DoctorArgs,
    execute::execute,
    failure::{Failure, Status},
    output,
    plan::{Plan, Wishes},
    reporter::Silent,
    system,
};

/// How many faults are measured.
const MEASURED: usize = 300;

pub(crate) fn doctor(args: &DoctorArgs) -> Result<Status, Failure> {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    line("cores", &cores.to_string());
    if let Ok(load) = std::fs::read_to_string("/proc/loadavg") {
        let load = load.split(' ').next().unwrap_or_default();
        line("load", &format!("{load} (timings mean little well above the number of cores)"));
    }
    let abilities = Abilities::probe(&args.without);
    for ability in Ability::ALL {
        let state = match abilities.lacks(*ability) {
            None => ability.summary().to_owned(),
            Some(why) => format!("NO: {why} ({})", ability.summary()),
        };
        line(ability.name(), &state);
    }
    for system in system::all() {
        let wishes = Wishes { system: Some(system.name().to_owned()), ..Wishes::default() };
        let plan = Plan::resolve(None, &wishes, 1)?;
        let state = match system.check_installed(&plan) {
            Ok(()) => "ready".to_owned(),
            Err(failure) => {
                let hint = failure.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                format!("not here: {:#}{hint}", failure.error)
            }
        };
        line(&format!("system {}", system.name()), &state);
        let unsupported: Vec<_> = Fault::ALL
            .iter()
            .filter(|fault| !system.supports(**fault))
            .map(|fault| fault.name())
            .collect();
        if !unsupported.is_empty() {
            line("", &format!("cannot do yet: {}", unsupported.join(", ")));
        }
        let cannot = abilities.cannot(system);
        let cannot: Vec<_> = cannot.keys().map(|fault| fault.name()).collect();
        if !cannot.is_empty() {
            line("", &format!("cannot do on this machine: {}", cannot.join(", ")));
        }
    }
    if args.measure {
        measure()?;
    }
    Ok(Status::Valid)
}

fn line(what: &str, state: &str) {
    output::data(&format!("{what:<12} {state}"));
}

/// Pauses a node on a heartbeat, again and again, and compares the time of each event with the time
/// at which the signal had been sent.
fn measure() -> Result<(), Failure> {
    let store = tempfile::tempdir().map_err(Failure::harness)?;
    let heartbeat = |dir: &str| Pattern::event("heartbeat", [("dir", dir.into())]);
    let mut steps = Vec::new();
    for _ in 0..MEASURED {
        let pause = Step::new(Fault::Pause, Some(Target::Trigger));
        let resume = Step::new(Fault::Resume, Some(Target::All));
        steps.push(Step { on: Some(heartbeat("accepted")), ..pause });
        steps.push(Step { after: Some(TimeSpan::millis(2)), ..resume });
    }
    let wishes = Wishes {
        faults: Some(Vec::new()),
        time: Some(TimeSpan::millis(60_000)),
        settle: Some(TimeSpan::millis(1)),
        params: BTreeMap::from([
            ("heartbeat".to_owned(), "20ms".to_owned()),
            ("down-after".to_owned(), "2s".to_owned()),
        ]),
        ..Wishes::default()
    };
    let plan = Plan { steps, ..Plan::resolve(None, &wishes, 1)? };
    let judged = execute(&plan, store.path(), &mut Silent)?;
    let mut latencies = latencies(&judged.dir.history())?;
    latencies.sort_unstable();
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index below the length"
        )]
        let index = ((latencies.len() - 1) as f64 * share) as usize;
        TimeSpan(std::time::Duration::from_micros(latencies[index] / 1000)).to_string()
    };
    if latencies.is_empty() {
        return Err(Failure::harness(anyhow::anyhow!(
            "no fault was triggered, nothing was measured"
        )));
    }
    let count = latencies.len();
    let (median, most, max) = (at(0.5), at(0.99), at(1.0));
    line("trigger", "from a node's event to the signal that waits on it:");
    line("", &format!("median {median}, 99 % {most}, max {max} ({count} faults)"));
    Ok(())
}

/// For each pause that took effect: from its event to its signal, in nanoseconds.
fn latencies(history: &std::path::Path) -> Result<Vec<u64>, Failure> {
    let mut triggered = BTreeMap::new();
    let mut latencies = Vec::new();
    for record in Reader::open(history).map_err(Failure::harness)? {
        let (_, record) = record.map_err(Failure::harness)?;
        let Body::Fault(fault) = record.body else { continue };
        match (fault.trigger, fault.outcome, fault.acted) {
            (Some(Trigger::Event { t, .. }), ..) => {
                triggered.insert(fault.id, t);
            }
            (None, Some(Outcome::Installed), Some(acted)) => {
                latencies.extend(triggered.get(&fault.id).map(|t| acted.saturating_sub(*t)));
            }
            _ => {}
        }
    }
    Ok(latencies)
}
