//! Real sockets and real processes: each fault bites, and each one heals.

#[cfg(test)]
mod docs;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod generator;
#[cfg(test)]
mod links;
#[cfg(test)]
mod machine;
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
mod stock;
#[cfg(test)]
mod support;
#[cfg(test)]
mod triggers;
#[cfg(test)]
mod wires;
