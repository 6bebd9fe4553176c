//! The lines of servers' logs: when, and what.

use serde_json::Value;

use super::{
    stamp::{Window, stamp},
    zookeeper::Notification,
};

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Etcd,
    Zookeeper,
}

/// A line that is no line of such a log, although it begins like one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Garbled;

/// What a line says, and when; nothing for a line of a stack trace, a banner and the like.
pub(super) type Logged = Result<Option<(Window, String)>, Garbled>;

impl Dialect {
    pub(super) fn line(self, line: &str) -> Logged {
        match self {
            Self::Etcd => match line.find('{').filter(|at| is_prefix(&line[..*at])) {
                Some(at) => etcd_json(&line[at..]),
                None => etcd_plain(line),
            },
            Self::Zookeeper => zookeeper(line),
        }
    }

    /// Whether a message has to do with elections, membership, or a process' start or end.
    pub(super) fn is_relevant(self, message: &str) -> bool {
        let words: &[&str] = match self {
            Self::Etcd => &[
                " became ",
                "newRaft ",
                "raft.node: ",
                "received Msg",
                " cast Msg",
                " rejected Msg",
                " sent Msg",
                "received a Msg",
                "voters=(",
                " is starting a new election",
                " stepped down to ",
                "heartbeat = ",
                "election = ",
                "name = ",
                "etcd Version:",
                "Running:",
                "configuring peer listeners",
                "server has been already initialized",
                "received signal",
                "received terminated signal",
                "added member ",
                "starting member ",
                "restarting member ",
            ],
            Self::Zookeeper => &[
                "Reading configuration from",
                "Starting quorum peer",
                "Notification: ",
                "LOOKING",
                "FOLLOWING",
                "LEADING",
                "OBSERVING",
                "Peer state changed: ",
                "Have quorum of ",
                "New election. ",
                "Cannot open channel to ",
                "Shutdown called. ",
                "Disconnected from leader",
                "tickTime set to ",
                "syncLimit set to ",
            ],
        };
        words.iter().any(|word| message.contains(word))
    }
}

impl Dialect {
    /// Whether a message of which much depends can be read to its end. Others say what they like.
    pub(super) fn is_whole(self, message: &str) -> bool {
        let words: Vec<&str> = message.split_whitespace().collect();
        let number = |word: &str| word.parse::<u64>().is_ok();
        match (self, words.as_slice()) {
            (Self::Etcd, [_, "became", role, rest @ ..])
                if ["follower", "candidate", "leader", "pre-candidate"]
                    .iter()
                    .any(|it| it.starts_with(role)) =>
            {
                matches!(rest, ["at", "term", term] if number(term))
            }
            (Self::Etcd, ["newRaft", _, ..]) => message.ends_with(']'),
            (Self::Etcd, ["raft.node:", _, "elected" | "changed" | "lost", rest @ ..])
            | (Self::Etcd, [_, "received", "MsgVoteResp", rest @ ..]) => {
                matches!(rest, [.., "at", "term", term] if number(term))
            }
            (Self::Etcd, [.., "at", "term", term]) if message.contains(" cast MsgVote ") => {
                number(term)
            }
            (Self::Etcd, _) => !message.contains(" cast MsgVote "),
            (Self::Zookeeper, ["Notification:", ..]) => Notification::parse(message).is_some(),
            (Self::Zookeeper, ["Have", "quorum", "of", "supporters,", rest @ ..]) => {
                rest.last().is_some_and(|word| word.starts_with("0x"))
            }
            _ => true,
        }
    }
}

/// What a collector of logs may have put before a line: nothing, or words without quotes.
fn is_prefix(text: &str) -> bool {
    text.trim().is_empty()
        || text.len() < 120 && !text.contains(['"', '|', '['])
        || text.contains("]: ")
}

/// `{"level":"info","ts":"2026-11-21T23:56:57.077Z","msg":"… became leader at term 2"}`. What lines
/// of the plain logger say in their text stands in fields here, and is put into the same words.
fn etcd_json(line: &str) -> Logged {
    let Ok(line) = serde_json::from_str::<Value>(line) else {
        // Other programs' lines have braces, too.
        return if line.starts_with("{\"level\"") { Err(Garbled) } else { Ok(None) };
    };
    let window = match &line["ts"] {
        Value::String(text) => stamp(text).map(|(window, _)| window),
        Value::Number(seconds) => seconds.as_f64().and_then(of_seconds),
        _ => None,
    };
    let (Some(window), Some(message)) = (window, line["msg"].as_str()) else { return Ok(None) };
    let field = |name: &str| line[name].as_str().unwrap_or_default();
    Ok(Some((
        window,
        match message {
            "starting an etcd server" => {
                let (heartbeat, election) =
                    (field("heartbeat-interval"), field("election-timeout"));
                format!("heartbeat = {heartbeat}, election = {election}, name = {}", field("name"))
            }
            "added member" => format!("added member {}", field("added-peer-id")),
            other => other.to_owned(),
        },
    )))
}

fn of_seconds(seconds: f64) -> Option<Window> {
    let is_time = (0.0..1e10).contains(&seconds);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range")]
    let earliest = is_time.then_some((seconds * 1e6) as u64 * 1_000)?;
    Some(Window { earliest, latest: earliest + 999 })
}

/// `2026-11-21 23:56:15.023158 I | embed: name = infra1` and, from raft,
/// `raft2026/11/21 23:56:15 INFO: … became leader at term 2`.
fn etcd_plain(line: &str) -> Logged {
    let from_raft = line.strip_prefix("raft").filter(|rest| rest.starts_with("20"));
    let Some((window, rest)) = stamp(from_raft.unwrap_or(line)) else { return Ok(None) };
    let message = match (from_raft, rest.split_once(" | ")) {
        (Some(_), _) => rest.split_once(": ").map_or("", |(_, message)| message),
        (None, Some((_, said))) => said.split_once(": ").map_or(said, |(_, message)| message),
        (None, None) => return Ok(None),
    };
    // A second line that begins within this one.
    if message.contains("raft20") || message.contains(" INFO: ") || message.contains(" I | ") {
        return Err(Garbled);
    }
    Ok(Some((window, message.to_owned())))
}

/// `2026-11-21 23:54:25,042 [myid:1] - INFO  [QuorumPeer[myid=1](…):QuorumPeer@1455] - LOOKING`
fn zookeeper(line: &str) -> Logged {
    let Some((window, rest)) = stamp(line) else { return Ok(None) };
    // The thread's name has brackets of its own; the line number ends the origin.
    let mut from = 0;
    while let Some(at) = rest[from..].find('@') {
        let after = &rest[from + at + 1..];
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0
            && let Some(message) = after[digits..].strip_prefix("] - ")
        {
            if message.contains("[myid:") || message.contains(" - INFO  [") {
                return Err(Garbled);
            }
            return Ok(Some((window, message.to_owned())));
        }
        from += at + 1;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{Dialect, Garbled};

    #[track_caller]
    fn says(dialect: Dialect, line: &str) -> Option<String> {
        dialect.line(line).unwrap().map(|(_, message)| message)
    }

    #[test]
    fn lines_of_every_logger_say_the_same() {
        let became = Some("aa became leader at term 2".to_owned());
        for line in [
            "raft2026/11/21 23:56:15 INFO: aa became leader at term 2",
            "2017-11-21 23:56:15.023158 I | raft: aa became leader at term 2",
            r#"{"level":"info","ts":"2026-11-21T23:56:57.077Z","caller":"raft/raft.go:1","msg":"aa became leader at term 2"}"#,
            r#"{"level":"info","ts":1795306617.077,"logger":"raft","msg":"aa became leader at term 2"}"#,
            r#"Nov 21 23:56:57 host etcd[12]: {"level":"info","ts":"2026-11-21T23:56:57.077Z","msg":"aa became leader at term 2"}"#,
        ] {
            assert_eq!(says(Dialect::Etcd, line), became, "{line}");
        }
        let line = "2026-11-21 23:54:25,042 [myid:1] - INFO  [QuorumPeer[myid=1](plain=127.0.0.1:2181)(secure=disabled):o.a.z.s.q.QuorumPeer@1455] - LOOKING";
        assert_eq!(says(Dialect::Zookeeper, line), Some("LOOKING".to_owned()));
    }

    #[test]
    fn talk_is_nothing_and_two_lines_in_one_are_told() {
        assert_eq!(says(Dialect::Zookeeper, "java.net.ConnectException: Connection refused"), None);
        assert_eq!(says(Dialect::Etcd, "panic: runtime error {"), None);
        for line in [
            "raft2026/11/21 23:56:15 INFO: aa becraft2026/11/21 23:56:15 INFO: aa became leader at term 2",
            r#"{"level":"info","ts":"2026-11-21T23:{"level":"info","#,
        ] {
            assert_eq!(Dialect::Etcd.line(line), Err(Garbled), "{line}");
        }
    }
}
