//! Clients: proposals at the leader, and reads at any node by ReadIndex.
//!
//! raft-rs answers neither. A proposal is known again by the context of its entry when that is applied,
//! and a read by its context when the index that it waits for is known. What raft-rs drops without a
//! word (a read at a leader that has committed nothing yet, a message that was lost) is refused here
//! when the leader changes, or after an election timeout.

use std::{collections::BTreeMap, mem, time::Duration};

use raft::{ReadState, StateRole, eraftpb::Entry};
use serde_json::{Value, json};
use usurper_history::{Event, NodeId};
use usurper_node::{
    protocol::{ClientId, Output, Reply, Request, Tick},
    raft::{Answer, Command, Function, Refusal},
};

use crate::{
    node::{Node, node, role},
    options::Defect,
};

/// More operations than these do not wait for an answer at once.
const WAITING_MAX: usize = 4096;

/// Who waits for what.
#[derive(Debug)]
pub(crate) struct Clients {
    /// Never the same twice, not even after a restart: a late answer must not be taken for another.
    context: u64,
    proposals: BTreeMap<u64, Waiting>,
    reads: BTreeMap<u64, Read>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    client: ClientId,
    serial: u64,
}

#[derive(Debug)]
struct Read {
    waiting: Waiting,
    key: String,
    since: Tick,
    /// What must be applied before it is answered, once that is known.
    index: Option<u64>,
}

impl Clients {
    pub(crate) fn new(node: NodeId, inc: u32) -> Self {
        let context = u64::from(node.0) << 56 | u64::from(inc) << 32;
        Self { context, proposals: BTreeMap::new(), reads: BTreeMap::new() }
    }

    fn next(&mut self) -> u64 {
        self.context += 1;
        self.context
    }
}

fn context(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// What an entry does. raft-rs' own, at the beginning of a leadership, is empty.
pub(crate) fn command(entry: &Entry) -> Command {
    postcard::from_bytes(&entry.data).unwrap_or(Command::Noop)
}

impl Node {
    pub(crate) fn serve(&mut self, client: ClientId, request: &Request) {
        let waiting = Waiting { client, serial: request.serial };
        let served = match request.f.as_str() {
            "status" => {
                let status = self.status();
                self.done(waiting, status);
                Ok(())
            }
            "transfer" => self.transfer(waiting, request.value.as_ref()),
            _ => self.operate(waiting, request),
        };
        if let Err(reason) = served {
            let leader = node(self.raw.raft.leader_id).filter(|leader| *leader != self.id);
            let refused = Reply { leader, ..Reply::refused(request.serial, reason) };
            self.push(Output::Reply { client, reply: refused });
        }
        self.look("request");
    }

    fn operate(&mut self, waiting: Waiting, request: &Request) -> Result<(), String> {
        let command = Command::of(request)?;
        if self.clients.proposals.len() + self.clients.reads.len() >= WAITING_MAX {
            return Err("too many operations wait for an answer".to_owned());
        }
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader;
        if let Command::Operate { f: Function::Read, key, .. } = command {
            if node(raft.leader_id).is_none() {
                return Err("no leader is known".to_owned());
            }
            if leads && !raft.commit_to_current_term() {
                return Err("the leader has committed nothing yet".to_owned());
            }
            if leads && self.options.has(Defect::LeaseReads) {
                self.hit(Defect::LeaseReads, "a read that no quorum confirms");
            }
            let context = self.clients.next();
            let read = Read { waiting, key, since: self.now, index: None };
            self.clients.reads.insert(context, read);
            self.raw.read_index(context.to_be_bytes().to_vec());
            return Ok(());
        }
        // raft-rs would pass it on; whoever has its clients ask the leader knows whom they asked.
        if !leads {
            return Err("not leader".to_owned());
        }
        let context = self.clients.next();
        let data = postcard::to_stdvec(&command).expect("a command is plain data");
        self.raw.propose(context.to_be_bytes().to_vec(), data).map_err(|it| it.to_string())?;
        self.clients.proposals.insert(context, waiting);
        Ok(())
    }

    /// Hands over to the node that is the value, or to this one.
    fn transfer(&mut self, waiting: Waiting, value: Option<&Value>) -> Result<(), String> {
        let to = match value {
            None | Some(Value::Null) => Some(self.id),
            Some(value) => value.as_str().and_then(|text| text.parse().ok()),
        };
        let to = to.map(|node: NodeId| u64::from(node.0));
        let to = to.filter(|to| self.raw.raft.prs().get(*to).is_some());
        let to = to.ok_or("`transfer` takes a voter, such as \"n2\"")?;
        if node(self.raw.raft.leader_id).is_none() {
            return Err("no leader is known".to_owned());
        }
        self.raw.transfer_leader(to);
        self.done(waiting, Value::Null);
        Ok(())
    }

    /// The session's operation, if this command does one that was not done before.
    pub(crate) fn is_new(&self, command: &Command) -> Option<(u64, u64)> {
        match command {
            Command::Operate { session: Some((session, serial)), .. } => {
                self.machine.is_new(*session, *serial).then_some((*session, *serial))
            }
            _ => None,
        }
    }

    /// Answers the client that waits for an entry, if it waits here.
    pub(crate) fn answer(&mut self, entry: &Entry, answer: Answer) {
        let waiting = context(&entry.context).and_then(|it| self.clients.proposals.remove(&it));
        let Some(Waiting { client, serial }) = waiting else { return };
        let reply = match answer {
            Ok(value) => Reply::done(serial, value),
            Err(Refusal::No(reason)) => Reply::denied(serial, reason),
            Err(Refusal::Wrong(reason)) => Reply::refused(serial, reason),
        };
        self.push(Output::Reply { client, reply });
    }

    /// This node leads no more. The next leader may commit what is in its log.
    pub(crate) fn abandon_proposals(&mut self) {
        for Waiting { client, serial } in mem::take(&mut self.clients.proposals).into_values() {
            let reply = Reply::unknown(serial, "the leader was deposed");
            self.push(Output::Reply { client, reply });
        }
    }

    /// raft-rs knows which index a read waits for.
    pub(crate) fn read_state(&mut self, state: &ReadState) {
        let context = context(&state.request_ctx);
        if let Some(read) = context.and_then(|context| self.clients.reads.get_mut(&context)) {
            read.index = Some(state.index);
        }
    }

    /// Answers the reads whose index is applied.
    pub(crate) fn answer_reads(&mut self) {
        let applied = self.applied;
        let ready = |read: &Read| read.index.is_some_and(|index| index <= applied);
        for (context, Read { waiting, key, index, .. }) in self.take_reads(ready) {
            let leads = self.raw.raft.state == StateRole::Leader;
            let lease = leads && self.options.has(Defect::LeaseReads);
            self.emit(Event::Read {
                mode: if lease { "lease" } else { "readindex" }.to_owned(),
                index: index.unwrap_or_default(),
                ctx: Some(context.to_string()),
                confirmed_by: None,
            });
            let value = self.machine.get(&key);
            self.done(waiting, value);
        }
    }

    /// The leader that was asked is not the leader any more: it will not answer.
    pub(crate) fn refuse_reads(&mut self) {
        for (_, read) in self.take_reads(|read| read.index.is_none()) {
            self.refuse(read.waiting, "the leader was lost");
        }
    }

    pub(crate) fn refuse_late_reads(&mut self, timeout: Duration) {
        let now = self.now;
        let late = |read: &Read| read.index.is_none() && now.since(read.since) >= timeout;
        for (_, read) in self.take_reads(late) {
            self.refuse(read.waiting, "the leader does not answer");
        }
    }

    fn take_reads(&mut self, which: impl Fn(&Read) -> bool) -> Vec<(u64, Read)> {
        self.clients.reads.extract_if(.., |_, read| which(read)).collect()
    }

    fn done(&mut self, waiting: Waiting, value: Value) {
        let Waiting { client, serial } = waiting;
        self.push(Output::Reply { client, reply: Reply::done(serial, value) });
    }

    fn refuse(&mut self, waiting: Waiting, reason: &str) {
        let Waiting { client, serial } = waiting;
        self.push(Output::Reply { client, reply: Reply::refused(serial, reason) });
    }

    fn status(&self) -> Value {
        let raft = &self.raw.raft;
        json!({
            "role": role(raft.state),
            "leader": node(raft.leader_id),
            "term": raft.term,
            "vote": node(raft.vote),
            "last": raft.raft_log.last_index(),
            "commit": raft.raft_log.committed,
            "applied": self.applied,
        })
    }
}
