//! Real sockets and real processes: each fault bites, and each one heals.

#[cfg(test)]
mod docs;
#[cfg(test)]
mod generator;
#[cfg(test)]
mod network;
#[cfg(test)]
mod process;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod scheduler;
#[cfg(test)]
mod shrink;
#[cfg(test)]
mod triggers;
