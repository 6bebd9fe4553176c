//! Loopback addresses of one run.
//!
//! Linux answers on all of 127.0.0.0/8, so each run takes a block `127.a.b.*` and each node an
//! address in it. Fixed ports are then free to use even for programs that cannot be told a port of
//! the kernel's choice, and runs side by side never meet.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use usurper_history::NodeId;

/// The port of the socket that marks a block as taken.
const MARK_PORT: u16 = 7999;
const MARK_HOST: u8 = 254;
const BLOCKS: u32 = 200 * 256;

/// No loopback block could be had.
#[derive(Debug, thiserror::Error)]
#[error("no free loopback block 127.16-215.*: the last one tried said")]
pub struct BlockError {
    #[source]
    source: io::Error,
}

/// A block of loopback addresses that no other run on this host uses, for as long as it lives.
#[derive(Debug)]
pub struct Block {
    high: u8,
    low: u8,
    _mark: TcpListener,
}

impl Block {
    /// The most nodes that one block has addresses for.
    pub const NODES_MAX: u8 = 250;

    /// Takes the first free block, looking from a place that `hint` decides.
    ///
    /// # Errors
    /// When a thousand blocks in a row are taken or cannot be bound.
    pub fn reserve(hint: u64) -> Result<Self, BlockError> {
        let start = u32::try_from(hint % u64::from(BLOCKS)).expect("below BLOCKS");
        let mut last = io::Error::other("none was tried");
        for step in 0..1000 {
            let number = (start + step) % BLOCKS;
            let [.., middle, low] = number.to_be_bytes();
            let high = 16 + middle;
            match TcpListener::bind((Ipv4Addr::new(127, high, low, MARK_HOST), MARK_PORT)) {
                Ok(mark) => return Ok(Self { high, low, _mark: mark }),
                Err(error) => last = error,
            }
        }
        Err(BlockError { source: last })
    }

    /// The address of a node in this block.
    pub fn ip(&self, node: NodeId) -> Ipv4Addr {
        Ipv4Addr::new(127, self.high, self.low, node.0)
    }

    /// An address of a node with a port.
    pub fn address(&self, node: NodeId, port: u16) -> SocketAddr {
        (self.ip(node), port).into()
    }
}

#[cfg(test)]
mod tests {
    use usurper_history::NodeId;

    use super::Block;

    #[test]
    fn two_runs_never_share_a_block_and_a_dropped_one_is_free_again() {
        let first = Block::reserve(77).unwrap();
        let second = Block::reserve(77).unwrap();
        let taken = first.ip(NodeId(1));
        assert_ne!(taken, second.ip(NodeId(1)));
        drop(first);
        assert_eq!(Block::reserve(77).unwrap().ip(NodeId(1)), taken);
    }
}
