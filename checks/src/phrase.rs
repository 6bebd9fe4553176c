//! The words of findings.

use std::fmt::Display;

use usurper_history::Header;

/// `n1, n2 and n3`.
pub(crate) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A duration with two or three significant digits: `3.1 s`, `250 ms`, `12 us`.
pub(crate) fn duration(ns: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| ns >= *unit).unwrap_or((1, "ns"));
    let (whole, tenth) = (ns / unit, ns % unit / (unit / 10).max(1));
    if unit > 1 && whole < 10 && tenth > 0 {
        format!("{whole}.{tenth} {name}")
    } else {
        format!("{whole} {name}")
    }
}

/// `once`, `2 times`.
pub(crate) fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// `1 heartbeat`, `2 heartbeats`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// What a system calls the number that orders its leaders.
pub fn term_word(system: &str) -> &'static str {
    match system {
        "fle" | "zab" | "zookeeper" => "epoch",
        "paxos" | "multipaxos" => "ballot",
        _ => "term",
    }
}

/// Whether a system tells of its votes and terms before they are on its disk, as real servers' logs
/// do: a process that ended may then have forgotten what it told, without a fault of its own.
pub(crate) fn tells_before_storing(system: &str) -> bool {
    system == "etcd"
}

/// Whether a history was read from the logs of servers, of which nobody knows how fast they were set to
/// be: what they lack may take back what is there, but for two leaders of one term.
pub(crate) fn is_of_logs(header: &Header) -> bool {
    let timing = &header.timing;
    matches!(header.system.as_str(), "etcd" | "zookeeper") && timing.election_timeout_ns == 0
}

/// Whether a node that comes back takes nobody's word for who leads but that of a majority, the leader
/// among them: in fast leader election it counts the votes of those who have settled.
pub(crate) fn joins_by_majority(system: &str) -> bool {
    matches!(system, "fle" | "zab" | "zookeeper")
}

/// Whether a protocol orders leaders by ballots: a counter and then the proposer's id, so that two
/// nodes can lead with one counter.
pub(crate) fn has_ballots(proto: &str) -> bool {
    matches!(proto, "paxos" | "multipaxos")
}

#[cfg(test)]
mod tests {
    use super::{duration, list};

    #[test]
    fn durations_read_naturally() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_500, "1.5 us"),
            (250_000_000, "250 ms"),
            (3_140_000_000, "3.1 s"),
            (3_000_000_000, "3 s"),
            (61_700_000_000, "61 s"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn lists_read_naturally() {
        assert_eq!(list(["n1"]), "n1");
        assert_eq!(list(["n1", "n2", "n3"]), "n1, n2 and n3");
    }
}
