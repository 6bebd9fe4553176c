//! etcd, as its users run it: unmodified servers, read by their own log.
//!
//! The servers write JSON lines (`--logger=zap`, the default since 3.5). Their time stamps have
//! milliseconds and are wall time, so an event gets the time at which its line was read. What the
//! log does not tell (heartbeats, appends) is not guessed.

use std::{net::SocketAddr, path::PathBuf, process::Command};

use anyhow::anyhow;
use serde_json::Value;
use usurper_checks::formats::{ETCD_EVENTS, EtcdLog};
use usurper_history::{NodeId, Record, Timing};
use usurper_nemesis::{Fault, Network, Stream, Wire};
use usurper_node::{DefectInfo, ParamInfo};

use super::{
    Client, ClientOptions, Launch, LineReader, NodeSpec, Reading, System,
    etcd_client::EtcdClient,
    params::{param, time},
};
use crate::{failure::Failure, plan::Plan, workload::Kind};

const CLIENT_PORT: u16 = 2379;

const PARAMS: &[ParamInfo] = &[
    ParamInfo {
        name: "heartbeat",
        default: "50ms",
        summary: "interval between two heartbeats (`--heartbeat-interval`)",
    },
    ParamInfo {
        name: "election-timeout",
        default: "500ms",
        summary: "silence before an election (`--election-timeout`)",
    },
    ParamInfo {
        name: "pre-vote",
        default: "false",
        summary: "ask before raising the term (`--pre-vote`)",
    },
];

/// The servers of Debian's `etcd-server`, or those of `--bin`.
pub(super) struct Etcd;

impl System for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn summary(&self) -> &'static str {
        "real etcd servers, read by their log lines"
    }

    fn events(&self) -> &'static [&'static str] {
        ETCD_EVENTS
    }

    fn defects(&self) -> &'static [DefectInfo] {
        &[]
    }

    fn params(&self) -> &'static [ParamInfo] {
        PARAMS
    }

    fn supports(&self, fault: Fault) -> bool {
        // These need a node that plays along: its disk, its clocks, its failpoints are bent by
        // itself. `advance` logs on one node what the others lack, which etcd never does.
        let plays_along = fault.aspect().is_some()
            || matches!(
                fault,
                Fault::Power
                    | Fault::DiskFlip
                    | Fault::DiskTruncate
                    | Fault::Advance
                    | Fault::Transfer
                    | Fault::Reconfigure
            );
        !plays_along && !fault.needs_frames()
    }

    fn wire(&self) -> Wire {
        Wire::Bytes
    }

    fn workloads(&self) -> &'static [Kind] {
        &Kind::ALL
    }

    fn has_serializable_reads(&self) -> bool {
        true
    }

    fn client_address(&self, network: &Network, node: NodeId) -> SocketAddr {
        SocketAddr::new(network.block().ip(node).into(), CLIENT_PORT)
    }

    fn timing(&self, plan: &Plan) -> Result<Timing, Failure> {
        let election_timeout = time(plan, PARAMS, "election-timeout")?;
        Ok(Timing {
            heartbeat_ns: time(plan, PARAMS, "heartbeat")?.as_nanos(),
            election_timeout_ns: election_timeout.as_nanos(),
            // Raft draws its timeouts from [T, 2T), and two draws may collide a few times.
            leader_bound_ns: 10 * election_timeout.as_nanos(),
        })
    }

    fn check_installed(&self, plan: &Plan) -> Result<(), Failure> {
        let program = program(plan);
        // The program is asked rather than looked for, so that `PATH` is searched as a start would.
        if Command::new(&program).arg("--version").output().is_ok_and(|out| out.status.success()) {
            return Ok(());
        }
        let failure = Failure::usage(anyhow!("cannot run `{}`", program.display()));
        Err(failure.with_hint(
            "install it with `apt-get install etcd-server`, or name one with `--bin PATH`",
        ))
    }

    fn launch(&self, spec: &NodeSpec<'_>) -> Result<Launch, Failure> {
        let url =
            |node: NodeId, port: u16| format!("http://{}:{port}", spec.network.block().ip(node));
        let door = |node: NodeId| format!("http://{}", spec.network.door(node));
        let peers: Vec<_> = (spec.plan.node_ids().into_iter())
            .map(|node| format!("{node}={}", door(node)))
            .collect();
        let millis =
            |name| Ok::<_, Failure>(time(spec.plan, PARAMS, name)?.0.as_millis().to_string());
        let client = url(spec.node, CLIENT_PORT);
        // It listens behind its door, and the door is what its peers are told.
        let listen = format!("http://{}", spec.network.server(spec.node));
        let flags = [
            ("name", spec.node.to_string()),
            ("data-dir", spec.data.display().to_string()),
            ("listen-peer-urls", listen),
            ("initial-advertise-peer-urls", door(spec.node)),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("initial-cluster", peers.join(",")),
            ("initial-cluster-token", spec.run.replace('/', "-")),
            ("heartbeat-interval", millis("heartbeat")?),
            ("election-timeout", millis("election-timeout")?),
            ("pre-vote", param(spec.plan, PARAMS, "pre-vote").to_owned()),
            ("logger", "zap".to_owned()),
            ("log-outputs", "stderr".to_owned()),
        ];
        let args = flags.into_iter().map(|(name, value)| format!("--{name}={value}").into());
        Ok(Launch { program: program(spec.plan), args: args.collect(), events: Stream::Stderr })
    }

    fn reader(&self, node: NodeId, inc: u32) -> Box<dyn LineReader + Send> {
        Box::new(LogReader::new(node, inc))
    }

    fn client(&self, options: ClientOptions) -> Box<dyn Client> {
        Box::new(EtcdClient::new(options))
    }
}

fn program(plan: &Plan) -> PathBuf {
    plan.bin.clone().unwrap_or_else(|| PathBuf::from("etcd"))
}

/// Follows one server's log: JSON lines, which also tell of the members' addresses.
struct LogReader {
    log: EtcdLog,
}

impl LogReader {
    fn new(node: NodeId, inc: u32) -> Self {
        Self { log: EtcdLog::new(node, inc) }
    }

    /// A member's name for itself, with its address: its last number is the node.
    fn learn_member(&mut self, line: &Value, now_ns: u64) -> Vec<Record> {
        let id = line["added-peer-id"].as_str();
        let url = line["added-peer-peer-urls"][0].as_str();
        let host = url.and_then(|url| url.strip_prefix("http://")?.split(':').next());
        let number = host.and_then(|host| host.rsplit('.').next()?.parse().ok());
        match (id, number) {
            (Some(id), Some(number)) => self.log.name_member(id, NodeId(number), now_ns),
            _ => Vec::new(),
        }
    }
}

impl LineReader for LogReader {
    fn read(&mut self, line: &[u8], now_ns: u64) -> Reading {
        // A few lines come before the logger is set up, and a panic is no JSON either: they are
        // kept in the log and are no events.
        let Ok(line) = serde_json::from_slice::<Value>(line) else {
            return Reading::Translated(Vec::new());
        };
        match line["msg"].as_str() {
            Some("added member") => Reading::Translated(self.learn_member(&line, now_ns)),
            Some("now serving peer/client/metrics") => Reading::Serves,
            Some(message) => Reading::Translated(self.log.message(message, now_ns)),
            None => Reading::Translated(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use usurper_history::{Body, NodeId, Record};

    use super::{LineReader, LogReader, Reading};

    /// What a log is read as, one line of text per event.
    fn read(log: &[&str]) -> Vec<String> {
        let mut reader = LogReader::new(NodeId(2), 1);
        let mut events = Vec::new();
        for message in log {
            let line = if message.starts_with('{') {
                (*message).to_owned()
            } else {
                format!(r#"{{"level":"info","msg":"{message}"}}"#)
            };
            match reader.read(line.as_bytes(), 7) {
                Reading::Translated(records) => events.extend(records.iter().map(describe)),
                Reading::Serves => events.push("serves".to_owned()),
                other => panic!("{other:?}"),
            }
        }
        events
    }

    fn describe(record: &Record) -> String {
        let Body::Node(node) = &record.body else { panic!("{record:?}") };
        let text = |key: &str| record.field(key).map(|value| value.to_string()).unwrap_or_default();
        let details = match node.event.name() {
            "leader-known" => text("leader"),
            "role-change" => text("to"),
            "leader-elected" => text("votes"),
            _ => String::new(),
        };
        format!("{} {} term {} {details}", node.seq, node.event.name(), node.term).trim().to_owned()
    }

    const ADDED: &str = r#"{"msg":"added member","added-peer-id":"aa","added-peer-peer-urls":["http://127.20.1.2:2380"]}"#;

    #[test]
    fn an_election_is_told_as_it_was_logged() {
        let events = read(&[
            "aa became follower at term 0",
            "newRaft aa [peers: [], term: 2, commit: 7, applied: 0, lastindex: 8, lastterm: 2]",
            ADDED,
            "now serving peer/client/metrics",
            "aa is starting a new election at term 2",
            "aa became candidate at term 3",
            "aa received MsgVoteResp from aa at term 3",
            "aa became leader at term 3",
            "raft.node: aa elected leader aa at term 3",
            "aa became follower at term 4",
            "raft.node: aa lost leader aa at term 4",
        ]);
        assert_eq!(
            events,
            [
                "1 node-start term 2",
                "serves",
                "2 term-change term 3",
                r#"3 role-change term 3 "candidate""#,
                "4 vote-cast term 3",
                r#"5 role-change term 3 "leader""#,
                r#"6 leader-elected term 3 ["n2"]"#,
                r#"7 leader-known term 3 "n2""#,
                "8 term-change term 4",
                r#"9 role-change term 4 "follower""#,
                "10 leader-known term 4",
            ]
        );
    }

    #[test]
    fn a_leader_that_is_named_late_is_known_then() {
        let elected = "raft.node: bb elected leader aa at term 4";
        let known = r#"1 leader-known term 0 "n2""#;
        assert_eq!(read(&[ADDED, elected]), [known]);
        assert_eq!(read(&[elected, ADDED]), [known]);
        let lost = "raft.node: bb lost leader aa at term 4";
        assert_eq!(read(&[elected, lost, ADDED]), ["1 leader-known term 0"]);
    }

    #[test]
    fn talk_is_no_event() {
        let talk =
            ["a leader became famous", "became leader at term", "x became leader at term ten"];
        assert_eq!(read(&talk), [""; 0]);
        assert!(matches!(
            LogReader::new(NodeId(1), 1).read(b"panic: runtime error", 0),
            Reading::Translated(records) if records.is_empty()
        ));
    }
}
