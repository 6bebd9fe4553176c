//! Handing leadership over (section 3.10 of the thesis, `MsgTransferLeader` and `MsgTimeoutNow` of
//! etcd).
//!
//! The leader takes no more proposals, brings the next one up to date, and tells it to campaign at
//! once: without prevotes, and with a request that no lease stands against, because the leader itself
//! asked for it. If it has not been deposed after T, it gives up and takes proposals again.
//!
//! The order to campaign may arrive late. It counts only in the term in which it was given; and from
//! when it was given the leader trusts its lease no more, for the rest of its term.

use serde_json::Value;
use usurper_history::{Event, NodeId, Role};

use super::{
    message::Message,
    node::Raft,
    options::Defect,
    state::{State, Timer, Transfer, Waiting},
};
use crate::protocol::{Reply, Request};

impl Raft {
    /// The operation `transfer`: to the node that is its value, or to the one that is asked. A leader
    /// answers when it leads no more, a follower when it has told the leader.
    pub(super) fn serve_transfer(&mut self, waiting: Waiting, request: &Request) {
        let Waiting { client, serial } = waiting;
        let to = match &request.value {
            None | Some(Value::Null) => Some(self.id),
            Some(value) => value.as_str().and_then(|text| text.parse().ok()),
        };
        let Some(to) = to.filter(|to| self.config().is_voter(*to)) else {
            self.reply(client, Reply::refused(serial, "`transfer` takes a voter, such as \"n2\""));
            return;
        };
        let refused = match (&self.state, self.leader) {
            (State::Leader(_), _) => self.begin_transfer(to, Some(waiting)).err(),
            (_, Some(leader)) => {
                self.send(leader, Message::Transfer { term: self.hard.term, to });
                self.reply(client, Reply::done(serial, Value::Null));
                None
            }
            _ => Some("no leader is known".to_owned()),
        };
        if let Some(reason) = refused {
            self.reply(client, Reply::refused(serial, reason));
        }
    }

    /// A follower passes on what it was asked.
    pub(super) fn on_transfer(&mut self, to: NodeId) {
        // A learner never campaigns; and a leader that is being removed has no need to be told.
        if self.config().is_voter(to) {
            // Whoever asked is not waiting.
            let _ = self.begin_transfer(to, None);
        }
    }

    /// Begins to hand over, or says why not. A transfer to another node takes the place of one that is
    /// under way; one to the same does not make that last longer.
    fn begin_transfer(&mut self, to: NodeId, waiting: Option<Waiting>) -> Result<(), String> {
        let State::Leader(leading) = &mut self.state else {
            return Err("not leader".to_owned());
        };
        if leading.transfer.as_ref().is_some_and(|transfer| transfer.to == to) {
            return Err(format!("leadership is being handed over to {to}"));
        }
        self.end_transfer("another transfer");
        if to == self.id {
            if let Some(Waiting { client, serial }) = waiting {
                self.reply(client, Reply::done(serial, Value::Null));
            }
            return Ok(());
        }
        let State::Leader(leading) = &mut self.state else { return Ok(()) };
        leading.transfer = Some(Transfer { to, waiting });
        self.note_phase("transfer", &format!("hands over to {to}"));
        self.set(Timer::Election, self.now + self.options.election_timeout);
        self.send_append(to);
        self.hand_over_to(to);
        Ok(())
    }

    /// Tells the next leader to campaign, if `node` is the next leader and has everything.
    pub(super) fn hand_over_to(&mut self, node: NodeId) {
        let last = self.log.last().index;
        let State::Leader(leading) = &mut self.state else { return };
        if leading.transfer.as_ref().is_none_or(|transfer| transfer.to != node) {
            return;
        }
        if leading.progress.get(&node).is_none_or(|progress| progress.matched < last) {
            if !self.has(Defect::TransferNoCatchup) {
                return;
            }
            self.hit(Defect::TransferNoCatchup, "a follower that lacks entries");
        }
        let State::Leader(leading) = &mut self.state else { return };
        leading.lease.given_up = true;
        self.send(node, Message::TimeoutNow { term: self.hard.term });
    }

    /// A leader that hands over takes no proposals: the next one could never have everything.
    pub(super) fn takes_proposals(&mut self) -> Result<(), String> {
        let State::Leader(leading) = &self.state else { return Ok(()) };
        if let Some(transfer) = &leading.transfer {
            return Err(format!("leadership is being handed over to {}", transfer.to));
        }
        if self.stuck_transfer {
            self.hit(Defect::TransferFlagSurvivesStepdown, "a transfer of an earlier term");
            return Err("leadership is being handed over".to_owned());
        }
        Ok(())
    }

    /// The configuration has changed: who may not lead gets no leadership.
    pub(super) fn check_transferee(&mut self) {
        if let State::Leader(leading) = &self.state
            && let Some(transfer) = &leading.transfer
            && !self.config().is_voter(transfer.to)
        {
            self.end_transfer("the next leader has no vote any more");
        }
    }

    /// T is over, and this node leads still.
    pub(super) fn give_up_transfer(&mut self) {
        let State::Leader(leading) = &self.state else { return };
        if leading.transfer.is_none() {
            return;
        }
        if self.has(Defect::TransferNoAbort) {
            self.hit(Defect::TransferNoAbort, "a transfer that came to nothing");
            return;
        }
        self.end_transfer("the transfer came to nothing");
    }

    fn end_transfer(&mut self, reason: &str) {
        let State::Leader(leading) = &mut self.state else { return };
        let Some(transfer) = leading.transfer.take() else { return };
        self.note_phase("steady", reason);
        if let Some(Waiting { client, serial }) = transfer.waiting {
            // The order to campaign may still be under way.
            self.reply(client, Reply::unknown(serial, reason));
        }
    }

    /// The leader of this term asks this node to take over.
    pub(super) fn on_timeout_now(&mut self) {
        if !matches!(self.state, State::Follower) || !self.may_campaign() {
            return;
        }
        if self.has(Defect::TransferUsesPrevote) {
            self.hit(Defect::TransferUsesPrevote, "an order to campaign");
            self.campaign_for_prevotes();
            return;
        }
        self.campaign(true);
    }

    /// An order of an earlier leader: it hands over nothing.
    pub(super) fn late_timeout_now(&mut self) {
        if self.has(Defect::TimeoutNowIgnoresTerm) && matches!(self.state, State::Follower) {
            self.hit(Defect::TimeoutNowIgnoresTerm, "an order of an earlier term");
            self.campaign(true);
        }
    }

    fn note_phase(&mut self, phase: &str, reason: &str) {
        self.emit(Event::RoleChange {
            from: Role::Leader,
            to: Role::Leader,
            phase: Some(phase.to_owned()),
            reason: reason.to_owned(),
        });
    }
}
