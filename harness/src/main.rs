//! `usurper`: starts real clusters, breaks them, and says who should not be leading.

mod abilities;
mod act;
mod again;
mod answers;
mod cli;
mod commands;
mod comparison;
mod controller;
mod execute;
mod failure;
mod following;
mod host;
mod index;
mod judged;
mod machine;
mod naps;
mod oracle;
mod output;
mod pace;
mod plan;
mod ready;
mod report;
mod reporter;
mod result;
mod scenario;
mod side_by_side;
mod signals;
mod statistics;
mod store;
mod store_file;
mod stored;
mod suite;
mod summary;
mod system;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    failure::{Failure, Status},
};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => commands::run(&args),
        Command::Prove(args) => commands::prove(&args),
        Command::Replay(args) => commands::replay(&args),
        Command::Reproduce(args) => commands::reproduce(&args),
        Command::Shrink(args) => commands::shrink(&args),
        Command::Check(args) => commands::check(&args),
        Command::Export(args) => commands::export(&args),
        Command::Report(args) => commands::report(&args),
        Command::Plan(args) => commands::plan(&args),
        Command::List(args) => commands::list(&args),
        Command::Suite(args) => commands::suite(&args),
        Command::Validate(args) => commands::validate(&args),
        Command::History(args) => commands::history(&args),
        Command::Show(args) => commands::show(&args),
        Command::Merge(args) => commands::merge(&args),
        Command::Store(args) => commands::store(&args),
        Command::Doctor(args) => commands::doctor(&args),
        // A node is no run: its exit codes are its own.
        Command::Node(args) => return node(args),
    };
    result.unwrap_or_else(|failure| report(&failure)).into()
}

fn node(args: usurper_node::NodeArgs) -> ExitCode {
    let Err(error) = usurper_node::run(args) else { return ExitCode::SUCCESS };
    let code = error.exit_code();
    report(&Failure::harness(error));
    code
}

fn report(failure: &Failure) -> Status {
    output::talk(&format!("error: {:#}", failure.error));
    if let Some(hint) = &failure.hint {
        output::talk(&format!("hint: {hint}"));
    }
    failure.status
}
