//! Clients: what they can ask for, and what they are told.
//!
//! An answer `ok: false` promises that nothing was done. A leader that is deposed cannot promise
//! that for what it put into its log, because the next leader may commit it: it answers `unknown`.
//!
//! A read costs no entry. The leader notes what is committed, and asks a quorum in a round of
//! heartbeats whether it still leads; then everything that was acknowledged before the read is in
//! what it noted (section 6.4 of the thesis). A leader must have committed an entry of its own term
//! first: before that it does not know what is committed. Contexts of rounds are never used twice,
//! so that no late answer confirms a newer read.

use std::{collections::BTreeSet, mem};

use serde_json::Value;
use usurper_history::{Event, NodeId};

use super::{
    command::{Command, Entry, Function},
    machine::{Answer, Refusal},
    node::Raft,
    options::{Defect, Reads},
    state::{EarlyRead, Leading, PendingRead, State, Waiting},
};
use crate::protocol::{ClientId, Reply, Request};

/// A longer key or value is refused.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// More operations than these do not wait for an answer at once.
const WAITING_MAX: usize = 4096;
/// The counter of `advance` without a key.
const COUNTER: &str = "counter";

impl Raft {
    pub(super) fn serve(&mut self, client: ClientId, request: &Request) {
        let waiting = Waiting { client, serial: request.serial };
        if request.f == "status" {
            let status = self.status();
            self.reply(client, Reply::done(request.serial, status));
            return;
        }
        if let Err(reason) = self.operate(waiting, request) {
            let leader = self.leader.filter(|leader| *leader != self.id);
            self.reply(client, Reply { leader, ..Reply::refused(request.serial, reason) });
        }
    }

    /// Starts an operation, or says why it was not.
    fn operate(&mut self, waiting: Waiting, request: &Request) -> Result<(), String> {
        let f = match request.f.as_str() {
            "register" => None,
            "read" => Some(Function::Read),
            "write" => Some(Function::Write),
            "cas" => Some(Function::Cas),
            "append" => Some(Function::Append),
            "advance" | "add" => Some(Function::Advance),
            "acquire" => Some(Function::Acquire),
            "release" => Some(Function::Release),
            "delete" => Some(Function::Delete),
            other => return Err(format!("`raft` has no function `{other}`")),
        };
        let key = match (&request.key, f) {
            (Some(key), _) => key.clone(),
            (None, Some(Function::Advance)) => COUNTER.to_owned(),
            (None, None) => String::new(),
            (None, Some(_)) => return Err(format!("`{}` takes a key", request.f)),
        };
        let value = match (&request.value, f) {
            (None, Some(Function::Read | Function::Acquire | Function::Delete) | None) => {
                "null".to_owned()
            }
            (None, Some(_)) => return Err(format!("`{}` takes a value", request.f)),
            (Some(value), _) => value.to_string(),
        };
        if key.len().max(value.len()) > VALUE_BYTES_MAX {
            return Err(format!("longer than {VALUE_BYTES_MAX} bytes"));
        }
        if f == Some(Function::Advance) && !request.value.as_ref().is_some_and(Value::is_u64) {
            return Err(format!("`{}` takes a number", request.f));
        }
        let State::Leader(leading) = &self.state else {
            return Err(match self.leader {
                Some(leader) => format!("not leader; {leader} leads"),
                None => "not leader; no leader is known".to_owned(),
            });
        };
        if leading.proposals.len() + leading.reads.len() + leading.early.len() >= WAITING_MAX {
            return Err("too many operations wait for an answer".to_owned());
        }
        match f {
            None => self.propose(Command::Register, Some(waiting)),
            Some(Function::Read) if self.options.reads == Reads::Index => {
                self.read(waiting, key);
            }
            Some(f) => {
                let session = request.session.map(|session| (session.id, session.serial));
                let command = Command::Operate { session, f, key, value };
                self.propose(command, Some(waiting));
            }
        }
        Ok(())
    }

    /// Answers the client that waits for an entry, if one does.
    pub(super) fn answer(&mut self, entry: &Entry, answer: Answer) {
        let index = entry.id.index;
        let State::Leader(leading) = &mut self.state else { return };
        let Some(Waiting { client, serial }) = leading.proposals.remove(&index) else { return };
        if matches!(entry.command, Command::Operate { f: Function::Read, .. }) {
            self.note_read("log", index, None, None);
        }
        let reply = match answer {
            Ok(value) => Reply::done(serial, value),
            Err(Refusal::No(reason)) => Reply::denied(serial, reason),
            Err(Refusal::Wrong(reason)) => Reply::refused(serial, reason),
        };
        self.reply(client, reply);
    }

    fn read(&mut self, waiting: Waiting, key: String) {
        if self.has(Defect::ReadLocalLeader) {
            self.hit(Defect::ReadLocalLeader, "a read that no quorum confirmed");
            self.note_read("local", self.applied, None, None);
            let value = self.machine.get(&key);
            self.reply(waiting.client, Reply::done(waiting.serial, value));
            return;
        }
        let index = self.commit;
        if self.log.term(index) != Some(self.hard.term) {
            if !self.has(Defect::ReadindexBeforeOwnCommit) {
                let State::Leader(leading) = &mut self.state else { return };
                leading.early.push(EarlyRead { waiting, key });
                return;
            }
            self.hit(Defect::ReadindexBeforeOwnCommit, "a read before an own entry is committed");
        }
        if self.context > 0 && self.has(Defect::ReadindexReuseCtx) {
            self.hit(Defect::ReadindexReuseCtx, "a second round");
        } else {
            self.context += 1;
        }
        let State::Leader(leading) = &mut self.state else { return };
        let confirmed = BTreeSet::from([self.id]);
        leading.reads.insert(self.context, PendingRead { waiting, key, index, confirmed });
        if self.members.len() == 1 {
            self.release_reads(self.context);
        } else {
            self.broadcast_heartbeat();
        }
    }

    /// Reads that came before this term had committed anything.
    pub(super) fn start_early_reads(&mut self) {
        if self.log.term(self.commit) != Some(self.hard.term) {
            return;
        }
        let State::Leader(leading) = &mut self.state else { return };
        for EarlyRead { waiting, key } in mem::take(&mut leading.early) {
            self.read(waiting, key);
        }
    }

    /// A follower answered a heartbeat of this context, so nobody else led when it was sent.
    pub(super) fn confirm_reads(&mut self, from: NodeId, context: u64) {
        let quorum = self.quorum();
        let State::Leader(leading) = &mut self.state else { return };
        let Some(read) = leading.reads.get_mut(&context) else { return };
        read.confirmed.insert(from);
        if read.confirmed.len() >= quorum {
            self.release_reads(context);
        }
    }

    /// Answers every read up to this context: what confirms one confirms those before it.
    fn release_reads(&mut self, context: u64) {
        let State::Leader(leading) = &mut self.state else { return };
        let later = leading.reads.split_off(&(context + 1));
        let released = mem::replace(&mut leading.reads, later);
        let confirmed_by: Option<Vec<_>> =
            released.get(&context).map(|read| read.confirmed.iter().copied().collect());
        for (context, PendingRead { waiting, key, index, .. }) in released {
            // A leader applies what it commits in the same step.
            debug_assert!(self.applied >= index, "applied what was committed");
            self.note_read("readindex", index, Some(context), confirmed_by.clone());
            let value = self.machine.get(&key);
            self.reply(waiting.client, Reply::done(waiting.serial, value));
        }
    }

    fn note_read(
        &mut self,
        mode: &str,
        index: u64,
        context: Option<u64>,
        confirmed_by: Option<Vec<NodeId>>,
    ) {
        let ctx = context.map(|context| context.to_string());
        self.emit(Event::Read { mode: mode.to_owned(), index, ctx, confirmed_by });
    }

    /// Answers everybody who waited for a leadership that has ended.
    pub(super) fn abandon(&mut self, leading: Leading) {
        let reason = format!("{} was deposed", self.id);
        for Waiting { client, serial } in leading.proposals.into_values() {
            self.reply(client, Reply::unknown(serial, reason.clone()));
        }
        let early = leading.early.into_iter().map(|read| read.waiting);
        let reads = leading.reads.into_values().map(|read| read.waiting);
        for Waiting { client, serial } in early.chain(reads).collect::<Vec<_>>() {
            self.reply(client, Reply::refused(serial, reason.clone()));
        }
    }
}
