//! Real sockets and real processes: each fault bites, and each one heals.

#[cfg(test)]
mod generator;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod network;
#[cfg(test)]
mod process;
#[cfg(test)]
mod scheduler;
