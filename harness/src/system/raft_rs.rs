//! raft-rs, the Raft of TiKV, in a program of its own: `examples/raft-rs`.
//!
//! The example of a system whose program plays along. It takes the arguments of our nodes, writes the
//! history's own lines, speaks our clients' frames and obeys our control socket, which it gets by
//! implementing `usurper_node::protocol::Protocol`. What is left to say is what it can do.

use std::{path::PathBuf, process::Command as Program};

use anyhow::anyhow;
use usurper_history::{NodeId, Timing, control::Command, frame};
use usurper_nemesis::{Bending, Fault, Wire};
use usurper_node::{DefectInfo, ParamInfo, store};

use super::{
    Client, ClientOptions, Launch, LineReader, NodeSpec, System,
    params::time,
    reference::{EventLines, control, launch},
    reference_client::ReferenceClient,
};
use crate::{failure::Failure, plan::Plan, workload::Kind};

const PROGRAM: &str = "raft-rs-node";

const MESSAGES: &[frame::Kind] = &[
    frame::Kind::Hello,
    frame::Kind::Welcome,
    frame::Kind::Heartbeat,
    frame::Kind::HeartbeatReply,
    frame::Kind::VoteRequest,
    frame::Kind::VoteReply,
    frame::Kind::PrevoteRequest,
    frame::Kind::PrevoteReply,
    frame::Kind::Append,
    frame::Kind::AppendReply,
    frame::Kind::Snapshot,
    frame::Kind::TimeoutNow,
    frame::Kind::Transfer,
    frame::Kind::ReadRequest,
    frame::Kind::ReadReply,
];

const PARAMS: &[ParamInfo] = &[
    ParamInfo {
        name: "heartbeat",
        default: "50ms",
        summary: "interval between two heartbeats of a leader (`heartbeat_tick`; a tick is 10 ms)",
    },
    ParamInfo {
        name: "election-timeout",
        default: "500ms",
        summary: "T: a node that hears no leader campaigns after T to 2 T (`election_tick`)",
    },
    ParamInfo {
        name: "campaign-after",
        default: "random",
        summary: "the time without a leader after which this node campaigns, T at least \
                  (`min_election_tick`)",
    },
    ParamInfo {
        name: "snapshot-after",
        default: "10000",
        summary: "entries that are applied before the next snapshot; a tenth of them stays in the log",
    },
];

const DEFECTS: &[DefectInfo] = &[
    DefectInfo {
        name: "send-before-persist",
        summary: "`persisted_messages` leave before what the `Ready` has to save is saved",
        source: "the documentation of `Ready::persisted_messages`; catalogue F-010, F-019",
        checks: &["persist-before-ack"],
    },
    DefectInfo {
        name: "hard-state-not-saved",
        summary: "the entries of a `Ready` are saved, and its hard state is not",
        source: "the documentation of `Ready::hs`; catalogue F-010",
        checks: &["persist-before-ack", "double-vote", "dual-leaders", "term-rollback"],
    },
    DefectInfo {
        name: "lease-reads",
        summary: "`ReadOnlyOption::LeaseBased`: a leader answers reads as long as its own ticks say so",
        source: "the documentation of `Config::read_only_option`; catalogue F-026",
        checks: &["linearizable"],
    },
    DefectInfo {
        name: "no-check-quorum",
        summary: "`check_quorum` is off, as it is by default: a leader that reaches nobody leads on",
        source: "the default of `Config::check_quorum`; catalogue F-034",
        checks: &["zombie-leader"],
    },
    DefectInfo {
        name: "no-prevote",
        summary: "`pre_vote` is off, as it is by default: a node that returns deposes the leader",
        source: "the default of `Config::pre_vote`; catalogue F-031",
        checks: &["disruption"],
    },
    DefectInfo {
        name: "snapshot-without-data",
        summary: "a snapshot has its place and no state, like that of raft-rs' `MemStorage`",
        source: "the documentation of `MemStorage`; catalogue F-017",
        checks: &["state-divergence"],
    },
];

/// The program of `examples/raft-rs`, or that of `--bin`.
pub(super) struct RaftRs;

impl System for RaftRs {
    fn name(&self) -> &'static str {
        "raft-rs"
    }

    fn summary(&self) -> &'static str {
        "raft-rs, the Raft of TiKV, under the key-value service of `raft` (examples/raft-rs)"
    }

    fn events(&self) -> &'static [&'static str] {
        &[
            "node-start",
            "role-change",
            "leader-elected",
            "term-change",
            "vote-msg",
            "vote-cast",
            "heartbeat",
            "leader-known",
            "append",
            "persist",
            "ack",
            "commit",
            "apply",
            "truncate",
            "snapshot",
            "read",
            "conn",
            "defect-hit",
        ]
    }

    fn defects(&self) -> &'static [DefectInfo] {
        DEFECTS
    }

    fn params(&self) -> &'static [ParamInfo] {
        PARAMS
    }

    fn supports(&self, fault: Fault) -> bool {
        // raft-rs has failpoints of its own, and the service changes no members. A member that lost
        // its disk is not to come back under its old number: raft-rs would let it vote twice.
        !matches!(
            fault,
            Fault::Failpoint | Fault::FailpointRelease | Fault::Reconfigure | Fault::Wipe
        )
    }

    fn log_file(&self) -> &'static str {
        store::LOG_FILE
    }

    fn control(&self, name: String, command: Command) -> Bending {
        control(name, command)
    }

    fn wire(&self) -> Wire {
        Wire::Frames
    }

    fn messages(&self) -> &'static [frame::Kind] {
        MESSAGES
    }

    fn workloads(&self) -> &'static [Kind] {
        &Kind::ALL
    }

    fn has_sessions(&self) -> bool {
        true
    }

    fn timing(&self, plan: &Plan) -> Result<Timing, Failure> {
        let election_timeout = time(plan, PARAMS, "election-timeout")?;
        // Without prevote, campaigns that collide cost more of them.
        let patience = if plan.defects.iter().any(|it| it == "no-prevote") { 20 } else { 10 };
        Ok(Timing {
            heartbeat_ns: time(plan, PARAMS, "heartbeat")?.as_nanos(),
            election_timeout_ns: election_timeout.as_nanos(),
            leader_bound_ns: patience * election_timeout.as_nanos(),
        })
    }

    fn check_installed(&self, plan: &Plan) -> Result<(), Failure> {
        let program = program(plan);
        // It is asked rather than looked for, so that `PATH` is searched as a start would.
        if Program::new(&program).arg("--help").output().is_ok_and(|out| out.status.success()) {
            return Ok(());
        }
        let failure = Failure::usage(anyhow!("cannot run `{}`", program.display()));
        Err(failure.with_hint(
            "build it with `cargo build --release -p raft-rs-node`, or name one with `--bin PATH`",
        ))
    }

    fn launch(&self, spec: &NodeSpec<'_>) -> Result<Launch, Failure> {
        launch(program(spec.plan), self.name(), spec)
    }

    fn reader(&self, _: NodeId, _: u32) -> Box<dyn LineReader + Send> {
        Box::new(EventLines)
    }

    fn client(&self, options: ClientOptions) -> Box<dyn Client> {
        Box::new(ReferenceClient::new(options))
    }
}

/// What `--bin` names; or what was built beside this program; or what `PATH` has.
fn program(plan: &Plan) -> PathBuf {
    let beside = || {
        let own = std::env::current_exe().ok()?;
        Some(own.with_file_name(PROGRAM)).filter(|program| program.is_file())
    };
    plan.bin.clone().or_else(beside).unwrap_or_else(|| PathBuf::from(PROGRAM))
}
