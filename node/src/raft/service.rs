//! Clients: what they can ask for, and what they are told.
//!
//! An answer `ok: false` promises that nothing was done. A leader that is deposed cannot promise
//! that for what it put into its log, because the next leader may commit it: it answers `unknown`.
//!
//! Reads that cost no entry are in `reads`, the transfer of leadership in `transfer`.

use serde_json::Value;

use super::{
    command::{Command, Entry, Function, parts},
    machine::{Answer, Refusal},
    node::Raft,
    options::{Defect, Reads},
    state::{Asker, Leading, State, Waiting},
};
use crate::protocol::{ClientId, Reply, Request};

/// More operations than these do not wait for an answer at once.
pub(super) const WAITING_MAX: usize = 4096;

impl Raft {
    pub(super) fn serve(&mut self, client: ClientId, request: &Request) {
        let waiting = Waiting { client, serial: request.serial };
        if request.f == "status" {
            let status = self.status();
            self.reply(client, Reply::done(request.serial, status));
            return;
        }
        if matches!(request.f.as_str(), "transfer" | "reconfigure") {
            // It looks at the end of the log.
            self.propose_gathered();
        }
        if request.f == "transfer" {
            self.serve_transfer(waiting, request);
            return;
        }
        if let Err(reason) = self.operate(waiting, request) {
            let leader = self.leader.filter(|leader| *leader != self.id);
            self.reply(client, Reply { leader, ..Reply::refused(request.serial, reason) });
        }
    }

    /// Starts an operation, or says why it was not.
    fn operate(&mut self, waiting: Waiting, request: &Request) -> Result<(), String> {
        if request.f == "reconfigure" {
            return self.reconfigure(waiting, request.value.as_ref());
        }
        let (f, key, value) = parts(request)?;
        if !matches!(self.state, State::Leader(_))
            && self.led
            && self.has(Defect::AppendAfterStepDown)
            && let Some(f) = f
        {
            self.hit(Defect::AppendAfterStepDown, "a request that came after the leadership");
            self.propose(Command::Operate { session: None, f, key, value }, None);
            return Ok(());
        }
        let State::Leader(leading) = &self.state else {
            let forwards = self.options.follower_reads && self.options.reads != Reads::Log;
            return match self.leader {
                Some(leader) if f == Some(Function::Read) && forwards => {
                    self.forward_read(leader, waiting, key)
                }
                _ => Err(self.not_leader()),
            };
        };
        if self.gathered.len() + leading.proposals.len() + leading.reads.len() + leading.early.len()
            >= WAITING_MAX
        {
            return Err("too many operations wait for an answer".to_owned());
        }
        if f != Some(Function::Read) || self.options.reads == Reads::Log {
            self.takes_proposals()?;
        }
        match f {
            None => self.gather(Command::Register, waiting),
            Some(Function::Read) if self.options.reads != Reads::Log => {
                self.read(Asker::Client { waiting, key });
            }
            Some(f) => {
                let session = request.session.map(|session| (session.id, session.serial));
                let command = Command::Operate { session, f, key, value };
                self.gather(command, waiting);
            }
        }
        Ok(())
    }

    pub(super) fn not_leader(&self) -> String {
        match self.leader {
            Some(leader) => format!("not leader; {leader} leads"),
            None => "not leader; no leader is known".to_owned(),
        }
    }

    /// Answers the client that waits for an entry, if one does.
    pub(super) fn answer(&mut self, entry: &Entry, answer: Answer) {
        let index = entry.id.index;
        let waiting = match &mut self.state {
            State::Leader(leading) => leading.proposals.remove(&index),
            _ => None,
        };
        let orphan = self.orphans.remove(&index);
        if orphan.is_some() {
            self.hit(Defect::ReplyByIndexOnly, "an index that came to another entry");
        }
        let Some(Waiting { client, serial }) = waiting.or(orphan) else { return };
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

    /// Answers everybody who waited for a leadership that has ended.
    pub(super) fn abandon(&mut self, mut leading: Leading) {
        if self.has(Defect::ReplyByIndexOnly) {
            self.orphans.append(&mut leading.proposals);
        }
        let reason = format!("{} was deposed", self.id);
        for Waiting { client, serial } in leading.proposals.into_values().chain(leading.leaving) {
            self.reply(client, Reply::unknown(serial, reason.clone()));
        }
        let reads = leading.reads.into_values().map(|read| read.asker);
        for asker in leading.early.into_iter().chain(reads) {
            // A follower hears of the new term, and refuses its clients itself.
            if let Asker::Client { waiting: Waiting { client, serial }, .. } = asker {
                self.reply(client, Reply::refused(serial, reason.clone()));
            }
        }
        if let Some(Waiting { client, serial }) = leading.catch_up.map(|it| it.waiting) {
            self.reply(client, Reply::refused(serial, reason.clone()));
        }
        if let Some(transfer) = leading.transfer {
            self.stuck_transfer = self.has(Defect::TransferFlagSurvivesStepdown);
            if let Some(Waiting { client, serial }) = transfer.waiting {
                self.reply(client, Reply::done(serial, Value::Null));
            }
        }
    }
}
