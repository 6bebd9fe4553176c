//! The state machine: where an input goes, and what all its parts share.
//!
//! The parts are in files of their own: `election` while looking, `discovery` while a quorum
//! agrees on an epoch, `heartbeat` while there is a leader, `prevote` when it falls silent.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Map, Value, json};
use usurper_history::{Event, NodeId, Role, Zxid, control::ClockName};

use super::{
    defects::Defects,
    durable::{Change, Durable},
    failpoint::Moment,
    message::{Message, Standing, Vote},
    options::Options,
    prevote::Report,
    state::{Broadcast, FollowerPhase, Following, LeaderPhase, Leading, State, Timer},
};
use crate::protocol::{
    ClientId, Input, Output, Protocol, RecoverError, Reply, Request, Setup, Stamped, Tick,
};

/// A node of `fle`: fast leader election, a minimal discovery, heartbeats, and a prevote.
#[derive(Debug)]
pub struct Fle {
    pub(super) id: NodeId,
    pub(super) members: Vec<NodeId>,
    pub(super) options: Options,
    pub(super) rng: StdRng,
    pub(super) durable: Durable,
    fresh: bool,
    /// The election round. Volatile: what must be durable is the accepted epoch.
    pub(super) round: u64,
    pub(super) state: State,
    /// The highest epoch that any node is known to have accepted; the next proposal is above it.
    pub(super) epoch_seen: u64,
    /// Who says that the leader is down.
    pub(super) reports: BTreeMap<NodeId, Report>,
    /// Peers whose connection was closed and is not up again.
    pub(super) closed: BTreeSet<NodeId>,
    /// For the defect `correction-majority-cumulative`: who ever named another leader.
    pub(super) corrections: BTreeSet<NodeId>,
    leader_known: Option<NodeId>,
    pub(super) now: Tick,
    outputs: Vec<Output<Message, Timer>>,
}

impl Protocol for Fle {
    const NAME: &'static str = "fle";
    type Message = Message;
    type Timer = Timer;

    fn recover(setup: &Setup, records: &[Vec<u8>]) -> Result<Self, RecoverError> {
        let options = Options::new(setup)?;
        let durable = Durable::recover(records)?;
        let seed = setup.seed ^ (u64::from(setup.id.0) << 32) ^ (u64::from(setup.inc) << 40);
        Ok(Self {
            id: setup.id,
            members: options.members.clone(),
            options,
            rng: StdRng::seed_from_u64(seed),
            durable,
            fresh: records.is_empty(),
            round: durable.round,
            state: State::Looking(super::state::Looking::default()),
            epoch_seen: durable.accepted_epoch,
            reports: BTreeMap::new(),
            closed: BTreeSet::new(),
            corrections: BTreeSet::new(),
            leader_known: None,
            now: Tick(0),
            outputs: Vec::new(),
        })
    }

    fn step(&mut self, now: Tick, input: Input<Message, Timer>) -> Vec<Output<Message, Timer>> {
        self.now = self.now.max(now);
        // Before anything else: after a pause, what is in the inbox or due next is from another age.
        // Only answers are counted first. They are dated, so old ones change nothing, and a leader
        // that got no processor for a while does not give up with fresh ones in its inbox.
        let answer =
            matches!(&input, Input::Message { message: Message::HeartbeatReply { .. }, .. });
        if !answer {
            self.fence();
        }
        match input {
            Input::Start => self.start(),
            Input::Message { from, message } => self.receive(from, message),
            Input::Timer(timer) => self.fire(timer),
            Input::Connected(peer) => self.repair(peer),
            Input::Disconnected(peer) => self.lose(peer),
            Input::Request { client, request } => self.serve(client, &request),
            Input::Requests(requests) => {
                for (client, request) in requests {
                    self.serve(client, &request);
                }
            }
        }
        if answer {
            self.fence();
        }
        mem::take(&mut self.outputs)
    }

    fn envelope(&self) -> (u64, Role) {
        (self.durable.current_epoch, self.state.role())
    }

    fn clock(&self) -> ClockName {
        self.options.timers
    }

    fn retries_failed_sync(&self) -> bool {
        self.options.defects.retry_failed_sync
    }
}

impl Fle {
    /// The leader that this node follows or is, with its epoch, once it is established.
    pub fn leader(&self) -> Option<(NodeId, u64)> {
        self.state.established(self.id)
    }

    /// The highest epoch that this node has promised to go by.
    pub fn accepted_epoch(&self) -> u64 {
        self.durable.accepted_epoch
    }

    /// The election round it is in.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// The highest numbered zxid that it has logged.
    pub fn zxid(&self) -> Zxid {
        self.durable.zxid
    }

    fn start(&mut self) {
        self.emit(Event::NodeStart {
            persisted: self.durable.persisted(&self.members),
            fresh: self.fresh,
            defects: self.options.defect_names.clone(),
            params: self.effective_params(),
        });
        if self.fresh && self.options.initial_counter > 0 {
            self.log(Zxid { epoch: 0, counter: self.options.initial_counter });
        }
        if self.options.defects.config_leader_on_boot {
            self.believe_configuration();
        } else if self.options.defects.resume_as_leader
            && self.durable.accepted_leader == Some(self.id)
        {
            self.resume();
        } else {
            self.look("started");
        }
    }

    fn receive(&mut self, from: NodeId, message: Message) {
        if from == self.id {
            return;
        }
        if !self.members.contains(&from) {
            if !self.options.defects.non_member_votes_counted {
                return;
            }
            self.hit("non-member-votes-counted", "a message");
        }
        self.note_message("recv", from, &message);
        if !matches!(message, Message::Heartbeat { .. }) {
            self.take_for_a_heartbeat(from);
        }
        match message {
            Message::Notification { round, vote, standing, heard } => {
                self.on_notification(from, round, vote, standing, heard);
            }
            Message::FollowerInfo { accepted_epoch, current_epoch, zxid } => {
                let promise = super::state::Promise { accepted_epoch, current_epoch, zxid };
                self.on_follower_info(from, promise);
            }
            Message::LeaderInfo { epoch, established } => {
                self.on_leader_info(from, epoch, established);
            }
            Message::EpochAck { epoch, granted, accepted_epoch, current_epoch, zxid } => {
                let promise = super::state::Promise { accepted_epoch, current_epoch, zxid };
                self.on_epoch_ack(from, epoch, granted, promise);
            }
            Message::Heartbeat { epoch, beat, sent_at } => {
                self.on_heartbeat(from, epoch, beat, sent_at);
            }
            Message::HeartbeatReply { epoch, sent_at, accepted, own_epoch, own_leader, .. } => {
                self.on_heartbeat_reply(from, epoch, sent_at, accepted, own_epoch, own_leader);
            }
            Message::SubjectiveDown { leader, epoch } => {
                self.on_subjective_down(from, leader, epoch);
            }
            Message::DownAnswer { leader, epoch, down, known } => {
                self.on_down_answer(from, (leader, epoch), down, known);
            }
            Message::ObjectiveDown { leader, epoch, reporters } => {
                self.on_objective_down(from, (leader, epoch), &reporters);
            }
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Resend => self.resend(),
            Timer::Finalize => self.finalize(),
            Timer::Discovery => self.discover(),
            Timer::Beat => self.beat(),
            Timer::Silence => self.silence(),
        }
    }

    /// A new connection may have replaced one that lost what was said.
    fn repair(&mut self, peer: NodeId) {
        self.closed.remove(&peer);
        self.take_for_a_heartbeat(peer);
        match &self.state {
            State::Looking(_) => self.notify(peer),
            State::Following(Following {
                leader, phase: FollowerPhase::Discovery { .. }, ..
            }) if *leader == peer => self.send_follower_info(peer),
            _ => {}
        }
    }

    /// A closed connection says nothing about a leader: heartbeats do.
    fn lose(&mut self, peer: NodeId) {
        self.closed.insert(peer);
    }

    /// The defect `tcp-alive-is-leader-alive`: the leader's process speaks, so the leader lives.
    /// Rightly only its heartbeats count.
    fn take_for_a_heartbeat(&mut self, from: NodeId) {
        let now = self.now;
        if let State::Following(Following {
            leader,
            phase: FollowerPhase::Broadcast { heard_at, suspect, .. },
            ..
        }) = &mut self.state
            && self.options.defects.tcp_alive_is_leader_alive
            && *leader == from
        {
            (*heard_at, *suspect) = (now, false);
            self.set(Timer::Silence, now + self.options.down_after);
            self.hit("tcp-alive-is-leader-alive", "its process speaks");
        }
    }

    fn serve(&mut self, client: ClientId, request: &Request) {
        let serial = request.serial;
        let reply = match request.f.as_str() {
            "status" => Reply::done(serial, self.status()),
            "advance" => match request.value.as_ref().and_then(Value::as_u64) {
                Some(steps @ 1..=0xffff_ffff) => {
                    let zxid = self.advance(steps);
                    Reply::done(serial, json!(zxid))
                }
                _ => Reply::refused(serial, "`advance` takes a number from 1 to 2^32-1"),
            },
            other => Reply::refused(serial, format!("`fle` has no function `{other}`")),
        };
        self.outputs.push(Output::Reply { client, reply });
    }

    fn status(&self) -> Value {
        let leader = self.leader();
        json!({
            "role": self.state.role(),
            "phase": self.state.phase(),
            "leader": leader.map(|(leader, _)| leader),
            "epoch": leader.map(|(_, epoch)| epoch),
            "round": self.round,
            "accepted-epoch": self.durable.accepted_epoch,
            "current-epoch": self.durable.current_epoch,
            "zxid": self.durable.zxid,
        })
    }

    /// Logs as many transactions. As in Zab, the counter starts again in a new epoch.
    fn advance(&mut self, steps: u64) -> Zxid {
        let last = self.durable.zxid;
        let epoch = self.durable.current_epoch;
        let counter = if last.epoch == epoch { last.counter + steps } else { steps };
        let zxid = Zxid { epoch, counter };
        self.log(zxid);
        self.at(Moment::ZxidSynced);
        // A vote for oneself speaks of what is logged.
        self.stand();
        zxid
    }

    fn log(&mut self, zxid: Zxid) {
        self.persist(
            Change::Zxid(zxid),
            Event::Persist {
                what: "zxid".to_owned(),
                value: None,
                bound_to: None,
                up_to: None,
                zxid: Some(zxid),
                ok: true,
            },
        );
    }

    /// The defect `config-leader-on-boot`, instead of looking for a leader.
    fn believe_configuration(&mut self) {
        let leader = self.options.config_leader;
        let epoch = self.durable.current_epoch.max(1);
        self.hit("config-leader-on-boot", "start");
        if self.durable.accepted_epoch < epoch {
            self.accept(epoch, leader, "configured");
        }
        self.enter_epoch(epoch, "configured");
        let vote = Vote { leader, ..self.own_vote() };
        if leader == self.id {
            let now = self.now;
            let answered = self.peers().map(|peer| (peer, now)).collect();
            let broadcast = Broadcast { epoch, beat: 0, answered, elected: false };
            self.become_leader(vote, broadcast, vec![self.id], "config");
        } else {
            self.become_follower(leader, vote, epoch, "configured");
        }
    }

    /// The defect `resume-as-leader`, instead of looking for a leader.
    fn resume(&mut self) {
        let epoch = self.durable.accepted_epoch;
        self.hit("resume-as-leader", "start");
        self.enter_epoch(epoch, "resumed");
        let now = self.now;
        let answered = self.peers().map(|peer| (peer, now)).collect();
        let broadcast = Broadcast { epoch, beat: 0, answered, elected: false };
        self.become_leader(self.own_vote(), broadcast, vec![self.id], "resumed");
    }

    pub(super) fn become_leader(
        &mut self,
        vote: Vote,
        broadcast: Broadcast,
        votes: Vec<NodeId>,
        how: &str,
    ) {
        let epoch = broadcast.epoch;
        let vote = Vote { peer_epoch: epoch, ..vote };
        let elected = broadcast.elected;
        let phase = LeaderPhase::Broadcast(broadcast);
        self.enter(State::Leading(Leading { vote, phase }), how);
        self.emit(Event::LeaderElected {
            in_term: epoch,
            established: true,
            votes,
            how: how.to_owned(),
            round: Some(self.round),
            config: None,
        });
        self.know(Some(self.id));
        if elected && self.options.defects.no_hb_after_elected {
            self.hit("no-hb-after-elected", "established");
        }
        self.at(Moment::Established);
        self.beat();
    }

    pub(super) fn become_follower(&mut self, leader: NodeId, vote: Vote, epoch: u64, reason: &str) {
        let vote = Vote { peer_epoch: epoch, ..vote };
        let phase = FollowerPhase::Broadcast { epoch, heard_at: self.now, suspect: false };
        self.enter(State::Following(Following { leader, vote, phase }), reason);
        self.know(Some(leader));
        self.set(Timer::Silence, self.now + self.options.down_after);
    }

    /// Changes the state. No timer of the old one outlives it.
    pub(super) fn enter(&mut self, state: State, reason: &str) {
        let from = self.state.role();
        for timer in Timer::ALL {
            self.cancel(timer);
        }
        self.state = state;
        self.emit(Event::RoleChange {
            from,
            to: self.state.role(),
            phase: Some(self.state.phase().to_owned()),
            reason: reason.to_owned(),
        });
    }

    /// Changes the leader that the node believes in.
    pub(super) fn know(&mut self, leader: Option<NodeId>) {
        if self.leader_known != leader {
            self.leader_known = leader;
            let in_term = self.leader().map_or(self.durable.current_epoch, |(_, epoch)| epoch);
            self.emit(Event::LeaderKnown { leader, in_term });
        }
    }

    /// Durably promises `epoch` to `leader`.
    pub(super) fn accept(&mut self, epoch: u64, leader: NodeId, cause: &str) {
        let from = self.durable.accepted_epoch;
        assert!(epoch > from, "an accepted epoch never decreases and is bound to one leader");
        if self.options.defects.round_stored_not_epoch {
            self.hit("round-stored-not-epoch", "accepted");
            self.durable.apply(Change::Accepted { epoch, leader });
        } else {
            self.store_accepted(epoch, leader);
        }
        self.epoch_seen = self.epoch_seen.max(epoch);
        self.note_change("accepted-epoch", from, epoch, cause);
    }

    fn store_accepted(&mut self, epoch: u64, leader: NodeId) {
        let change = Change::Accepted { epoch, leader };
        self.persist(change, persisted("accepted-epoch", epoch, Some(leader)));
    }

    /// The defect `round-stored-not-epoch`: the number that need not outlive the process.
    pub(super) fn store_round(&mut self, round: u64) {
        self.persist(Change::Round(round), persisted("round", round, None));
    }

    /// Durably notes that an established leader of `epoch` was followed.
    pub(super) fn enter_epoch(&mut self, epoch: u64, cause: &str) {
        let from = self.durable.current_epoch;
        if epoch > from {
            assert!(
                epoch <= self.durable.accepted_epoch || self.options.defects != Defects::default(),
                "an epoch is accepted before it is entered"
            );
            if self.options.defects.round_stored_not_epoch
                && let Some(leader) = self.durable.accepted_leader
            {
                self.store_accepted(self.durable.accepted_epoch, leader);
            }
            self.persist(Change::CurrentEpoch(epoch), persisted("current-epoch", epoch, None));
            self.note_change("current-epoch", from, epoch, cause);
        }
    }

    fn persist(&mut self, change: Change, event: Event) {
        self.outputs.push(Output::Write(change.encode()));
        self.at(match change {
            Change::Accepted { .. } => Moment::AcceptWritten,
            Change::CurrentEpoch(_) | Change::Round(_) => Moment::EpochWritten,
            Change::Zxid(_) => Moment::ZxidWritten,
        });
        if self.options.defects.accepted_epoch_not_synced
            && matches!(change, Change::Accepted { .. })
        {
            // A later sync, of something else, makes it durable after all.
            self.hit("accepted-epoch-not-synced", "accepted");
            self.durable.apply(change);
            return;
        }
        let stamped = self.stamp(event);
        self.outputs.push(Output::Sync(vec![stamped]));
        self.durable.apply(change);
    }

    pub(super) fn note_change(&mut self, kind: &str, from: u64, to: u64, cause: &str) {
        self.emit(Event::TermChange { kind: kind.to_owned(), from, to, cause: cause.to_owned() });
    }

    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        self.note_message("send", to, &message);
        self.outputs.push(Output::Send { to, message });
    }

    pub(super) fn broadcast(&mut self, message: &Message) {
        for peer in self.peers().collect::<Vec<_>>() {
            self.send(peer, message.clone());
        }
    }

    /// Election messages are part of the history; heartbeats have an event of their own.
    fn note_message(&mut self, dir: &str, peer: NodeId, message: &Message) {
        let (kind, candidate, zxid, granted) = match message {
            Message::Notification { vote, .. } => {
                ("notification", vote.map(|it| it.leader), vote.map(|it| it.zxid), None)
            }
            Message::FollowerInfo { zxid, .. } => ("follower-info", None, Some(*zxid), None),
            Message::LeaderInfo { .. } => ("leader-info", None, None, None),
            Message::EpochAck { granted, zxid, .. } => {
                ("epoch-ack", None, Some(*zxid), Some(*granted))
            }
            Message::SubjectiveDown { leader, .. } => ("sdown", Some(*leader), None, None),
            Message::DownAnswer { leader, down, .. } => {
                ("sdown-answer", Some(*leader), None, Some(*down))
            }
            Message::ObjectiveDown { leader, .. } => ("odown", Some(*leader), None, None),
            Message::Heartbeat { .. } | Message::HeartbeatReply { .. } => return,
        };
        let reason = match message {
            Message::Notification { standing: Standing::Looking, .. } => Some("looking"),
            Message::Notification { standing: Standing::Following { .. }, .. } => Some("following"),
            Message::Notification { standing: Standing::Leading { .. }, .. } => Some("leading"),
            Message::LeaderInfo { established: true, .. } => Some("established"),
            _ => None,
        };
        self.emit(Event::VoteMsg {
            dir: dir.to_owned(),
            peer,
            kind: kind.to_owned(),
            msg_term: message.term(),
            candidate,
            last: None,
            zxid,
            granted,
            reason: reason.map(str::to_owned),
        });
    }

    pub(super) fn put(&mut self, output: Output<Message, Timer>) {
        self.outputs.push(output);
    }

    pub(super) fn emit(&mut self, event: Event) {
        let stamped = self.stamp(event);
        self.outputs.push(Output::Event(stamped));
    }

    fn stamp(&self, event: Event) -> Stamped {
        let (term, role) = self.envelope();
        Stamped { term, role, event }
    }

    pub(super) fn hit(&mut self, name: &str, place: &str) {
        self.emit(Event::DefectHit { name: name.to_owned(), place: place.to_owned() });
    }

    pub(super) fn set(&mut self, timer: Timer, at: Tick) {
        self.outputs.push(Output::SetTimer(timer, at));
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        self.outputs.push(Output::CancelTimer(timer));
    }

    /// More than half of the configured nodes, whoever of them is alive.
    pub(super) fn quorum(&self) -> usize {
        self.members.len() / 2 + 1
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = NodeId> {
        self.members.iter().copied().filter(|member| *member != self.id)
    }

    pub(super) fn own_vote(&self) -> Vote {
        Vote { peer_epoch: self.durable.current_epoch, zxid: self.durable.zxid, leader: self.id }
    }

    fn effective_params(&self) -> Map<String, Value> {
        self.options.params.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }
}

fn persisted(what: &str, value: u64, bound_to: Option<NodeId>) -> Event {
    Event::Persist {
        what: what.to_owned(),
        value: Some(value),
        bound_to,
        up_to: None,
        zxid: None,
        ok: true,
    }
}
