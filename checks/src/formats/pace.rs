//! How fast a cluster is set to be, as its servers log it when they start.

use usurper_history::Timing;

use super::{dialect::Dialect, field::Log};

/// How many election timeouts an election may take: timeouts are drawn from [T, 2T), and draws collide.
const LEADER_BOUND: u64 = 10;

/// The slowest that any log tells; none if no log does.
pub(super) fn timing(logs: &[Log], dialect: Dialect) -> Option<Timing> {
    let slowest = |number: &dyn Fn(&str) -> Option<u64>| {
        logs.iter().flat_map(|log| &log.entries).filter_map(|entry| number(&entry.message)).max()
    };
    let (heartbeat_ns, election_timeout_ns) = match dialect {
        Dialect::Etcd => (
            slowest(&|message| duration(message.split_once("heartbeat = ")?.1))?,
            slowest(&|message| duration(message.split_once("election = ")?.1))?,
        ),
        Dialect::Zookeeper => {
            // A server is given up after `syncLimit` ticks; one is pinged twice a tick.
            let tick = slowest(&|message| count(message.strip_prefix("tickTime set to ")?))?;
            let limit = slowest(&|message| count(message.strip_prefix("syncLimit set to ")?))?;
            let tick_ns = tick.checked_mul(1_000_000)?;
            (tick_ns / 2, tick_ns.checked_mul(limit)?)
        }
    };
    let leader_bound_ns = election_timeout_ns.checked_mul(LEADER_BOUND)?;
    let known = heartbeat_ns > 0 && election_timeout_ns > 0;
    known.then_some(Timing { heartbeat_ns, election_timeout_ns, leader_bound_ns })
}

fn count(text: &str) -> Option<u64> {
    text.split(' ').next()?.parse().ok()
}

/// `100ms`, `1s` or `1.5s` at the begin of a text, in nanoseconds.
fn duration(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let unit_ns: u64 = match unit.split([',', ' ']).next()? {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let mut ns = whole.parse::<u64>().ok()?.checked_mul(unit_ns)?;
    let mut place_ns = unit_ns;
    for digit in part.bytes() {
        place_ns /= 10;
        ns += u64::from(digit.checked_sub(b'0')?) * place_ns;
    }
    Some(ns)
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, ns) in [
            ("100ms", Some(100_000_000)),
            ("1s, election = 2s", Some(1_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("", None),
            ("s", None),
            ("1m0s", None),
            ("99999999999999999999s", None),
            ("1.2.3s", None),
        ] {
            assert_eq!(duration(text), ns, "{text}");
        }
    }
}
