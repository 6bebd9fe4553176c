//! A node of raft-rs, the Raft of TiKV, to be run and judged by usurper.
//!
//! This is what a user of raft-rs writes: a loop around its `RawNode` that saves what it is told to
//! save, sends what it is told to send, and applies what is committed. Sockets, timers and the file
//! of the log are those of `usurper-node`, which runs anything that implements its `Protocol`.

mod disk;
mod events;
mod log;
mod message;
mod node;
mod options;
mod service;

use std::process::ExitCode;

use clap::Parser;
use usurper_node::{NodeArgs, exit, run_as};

/// A node of raft-rs, as usurper starts it.
#[derive(Parser)]
enum Command {
    Node(NodeArgs),
}

fn main() -> ExitCode {
    let Command::Node(args) = Command::parse();
    exit(run_as::<node::Node>(args, &[]))
}
