//! The node of raft-rs under usurper: what anybody can do with a node of their own.

#[cfg(test)]
mod judged;
