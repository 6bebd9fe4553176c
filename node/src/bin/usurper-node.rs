//! One node as a program of its own. The integration tests start it; the harness starts itself.

use std::process::ExitCode;

use clap::Parser;
use usurper_node::{NodeArgs, exit, run};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    node: NodeArgs,
}

fn main() -> ExitCode {
    exit(run(Command::parse().node))
}
