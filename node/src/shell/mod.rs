//! Runs one system as a process: real sockets, real timers, a real disk.

mod connection;
mod dialer;
mod events;
mod listener;
mod node;

pub use node::{Place, ShellError, serve};
