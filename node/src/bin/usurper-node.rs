//! One node as a program of its own. The integration tests start it; the harness starts itself.

use std::{error::Error, process::ExitCode};

use clap::Parser;
use usurper_node::{NodeArgs, run};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    node: NodeArgs,
}

#[expect(clippy::print_stderr, reason = "a program says why it failed")]
fn main() -> ExitCode {
    let Err(error) = run(Command::parse().node) else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    let code = error.exit_code();
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("caused by: {error}");
        cause = error.source();
    }
    code
}
