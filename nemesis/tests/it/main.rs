//! Real sockets and real processes: each fault bites, and each one heals.

mod generator;
mod network;
mod process;
mod scheduler;
