//! Who knocks: the process at the other end of a connection on this host.
//!
//! A program that knows nothing of us does not say hello, but the kernel knows whose socket it is:
//! `/proc/net/tcp` has the inode of the socket at the connection's source address, and
//! `/proc/<pid>/fd` the inodes of the sockets that each process has open. Both are public within one
//! user's processes; no privilege is needed.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    path::Path,
    sync::{Mutex, PoisonError},
};

use usurper_history::NodeId;

/// Whose socket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Node(NodeId),
    /// This process itself: a knock of ours.
    Us,
    Unknown,
}

/// The nodes' processes.
#[derive(Debug, Default)]
pub(crate) struct Pids(Mutex<BTreeMap<NodeId, u32>>);

impl Pids {
    pub(crate) fn set(&self, node: NodeId, pid: Option<u32>) {
        let mut pids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match pid {
            Some(pid) => pids.insert(node, pid),
            None => pids.remove(&node),
        };
    }

    /// The owner of the socket at `source` that is connected to `door`. Reads `/proc`, which takes
    /// no disk but some milliseconds where many sockets are open.
    pub(crate) fn owner(&self, source: SocketAddr, door: SocketAddr) -> Owner {
        let Some(inode) = inode_of(source, door) else { return Owner::Unknown };
        let pids = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((node, _)) = pids.iter().find(|(_, pid)| holds(**pid, inode)) {
            return Owner::Node(*node);
        }
        if holds(std::process::id(), inode) {
            return Owner::Us;
        }
        // A node leads a process group of its own, so whoever else is in it belongs to it.
        let member = processes().find_map(|pid| {
            let node = pids.iter().find(|(_, leader)| group_of(pid) == Some(**leader))?.0;
            holds(pid, inode).then_some(*node)
        });
        member.map_or(Owner::Unknown, Owner::Node)
    }
}

/// Whether this machine lets us find out whose socket a connection comes from: a connection of our
/// own is looked for.
///
/// # Errors
/// What could not be read or found.
pub fn can_tell_who_knocks() -> Result<(), String> {
    let find = || -> std::io::Result<Option<u64>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let door = listener.local_addr()?;
        let stream = TcpStream::connect(door)?;
        let source = stream.local_addr()?;
        fs::read_to_string("/proc/net/tcp")?;
        let found = inode_of(source, door).filter(|inode| holds(std::process::id(), *inode));
        Ok(found)
    };
    match find() {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("/proc names no owner of a connection of our own".to_owned()),
        Err(error) => Err(format!("the owner of a connection cannot be looked for: {error}")),
    }
}

fn inode_of(source: SocketAddr, door: SocketAddr) -> Option<u64> {
    // A program may use an IPv6 socket for an IPv4 address.
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|path| {
        let table = fs::read_to_string(path).ok()?;
        table.lines().find_map(|line| inode_in(line, source, door))
    })
}

/// The inode in a line of the table, if it is about this connection.
fn inode_in(line: &str, source: SocketAddr, door: SocketAddr) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
    let inode: u64 = fields.nth(6)?.parse().ok()?;
    (local == source && remote == door && inode != 0).then_some(inode)
}

/// `0100007F:1F90`: the address as the machine's own integer, the port as a number. An IPv4 address
/// in an IPv6 table follows a prefix.
fn address(text: &str) -> Option<SocketAddr> {
    const MAPPED: &str = "0000000000000000FFFF0000";
    let (host, port) = text.split_once(':')?;
    let host = host.strip_prefix(MAPPED).unwrap_or(host);
    if host.len() != 8 {
        return None;
    }
    let host = u32::from_str_radix(host, 16).ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(host.to_ne_bytes()), port).into())
}

/// Whether a process has this socket open.
fn holds(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == Path::new(&wanted)))
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn group_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything: state, parent and group follow it.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use usurper_history::NodeId;

    use super::{Owner, Pids, address, inode_in};

    #[test]
    fn a_line_of_the_kernel_s_table_is_read() {
        let line = "   2: 0100007F:8F2C 0209107F:1B59 01 00000000:00000000 00:00000000 00000000  1000        0 271828 1 0000000000000000 20 4 30 10 -1";
        let (source, door) =
            ("127.0.0.1:36652".parse().unwrap(), "127.16.9.2:7001".parse().unwrap());
        assert_eq!(inode_in(line, source, door), Some(271_828));
        assert_eq!(inode_in(line, door, source), None);
        assert_eq!(inode_in("  sl  local_address rem_address   st tx_queue", source, door), None);
    }

    #[test]
    fn an_ipv4_address_in_an_ipv6_table_is_read() {
        let mapped = address("0000000000000000FFFF00000100007F:0016");
        assert_eq!(mapped, Some("127.0.0.1:22".parse().unwrap()));
        assert_eq!(address("00000000000000000000000001000000:0016"), None);
    }

    #[test]
    fn a_connection_of_this_process_is_known_as_such() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = listener.local_addr().unwrap();
        let stream = TcpStream::connect(door).unwrap();
        let (source, pids) = (stream.local_addr().unwrap(), Pids::default());
        assert_eq!(pids.owner(source, door), Owner::Us);
        assert_eq!(super::can_tell_who_knocks(), Ok(()));
        pids.set(NodeId(2), Some(std::process::id()));
        assert_eq!(pids.owner(source, door), Owner::Node(NodeId(2)));
        pids.set(NodeId(2), None);
        assert_eq!(pids.owner("127.0.0.1:1".parse().unwrap(), door), Owner::Unknown);
    }
}
