//! What the command line can say about a workload.

use clap::Args;
use usurper_nemesis::TimeSpan;

use super::spec::{Kind, Reads, Servers, Workload};

/// Absent flags leave what the scenario says.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Clients")]
pub(crate) struct WorkloadArgs {
    /// What the clients do [default: the scenario's, or nothing]
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) workload: Option<Kind>,
    /// Clients that ask at the same time [default: 5]
    #[arg(long, value_name = "N")]
    clients: Option<u32>,
    /// Keys in use at the same time [default: 3]
    #[arg(long, value_name = "N")]
    keys: Option<u32>,
    /// Operations per second of all clients together, or `max`: each asks again once it was answered
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    op_rate: Option<Rate>,
    /// How long an operation may take [default: 1s]
    #[arg(long, value_name = "TIME")]
    op_timeout: Option<TimeSpan>,
    /// The share of each operation: `read=50,write=40,cas=10`
    #[arg(long, value_delimiter = ',', value_name = "OPERATION=NUMBER,…", value_parser = share)]
    op_mix: Vec<(String, u32)>,
    /// Whom clients ask: always the same node, or the leader that a refusal names [default: spread]
    #[arg(long, value_enum)]
    servers: Option<Servers>,
    /// How reads are asked for [default: linearizable]
    #[arg(long, value_enum)]
    reads: Option<Reads>,
    /// Operations carry the number of a session, in which the system does each only once.
    #[arg(long)]
    sessions: bool,
}

#[derive(Clone, Copy, Debug)]
enum Rate {
    PerSecond(f64),
    Max,
}

fn rate(text: &str) -> Result<Rate, String> {
    match text.parse() {
        _ if text == "max" => Ok(Rate::Max),
        Ok(rate) => Ok(Rate::PerSecond(rate)),
        Err(_) => Err("expected operations per second, or `max`".to_owned()),
    }
}

fn share(text: &str) -> Result<(String, u32), String> {
    let parts = text.split_once('=').and_then(|(name, share)| Some((name, share.parse().ok()?)));
    match parts {
        Some((name, share)) if !name.is_empty() => Ok((name.to_owned(), share)),
        _ => Err("expected OPERATION=NUMBER, for example `read=50`".to_owned()),
    }
}

impl WorkloadArgs {
    /// A flag that is given and changes a workload.
    pub(super) fn changes(&self) -> Option<&'static str> {
        let given = [
            (self.clients.is_some(), "clients"),
            (self.keys.is_some(), "keys"),
            (self.op_rate.is_some(), "op-rate"),
            (self.op_timeout.is_some(), "op-timeout"),
            (!self.op_mix.is_empty(), "op-mix"),
            (self.servers.is_some(), "servers"),
            (self.reads.is_some(), "reads"),
            (self.sessions, "sessions"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }

    pub(super) fn apply(&self, workload: &mut Workload) {
        workload.clients = self.clients.unwrap_or(workload.clients);
        workload.keys = self.keys.unwrap_or(workload.keys);
        workload.rate = match self.op_rate {
            None => workload.rate,
            Some(Rate::Max) => None,
            Some(Rate::PerSecond(rate)) => Some(rate),
        };
        workload.op_timeout = self.op_timeout.unwrap_or(workload.op_timeout);
        if !self.op_mix.is_empty() {
            workload.mix = self.op_mix.iter().cloned().collect();
        }
        workload.servers = self.servers.unwrap_or(workload.servers);
        workload.reads = self.reads.unwrap_or(workload.reads);
        workload.sessions |= self.sessions;
    }
}
