//! The state machine: where an input goes, and what all its parts share.
//!
//! The parts are in files of their own: `election` for campaigns and votes, `replication` for the
//! log, `service` for clients.
//!
//! Whatever changes the term, the vote or the log is written at once and made durable before the
//! next message or reply leaves, once for all that changed: see [`Raft::flush`].

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Map, Value, json};
use usurper_history::{EntryId, Event, NodeId, Persisted, Role, control::ClockName};

use super::{
    command::{Command, Entry},
    config::{Config, Configs, Placed},
    durable::{Change, Durable, HardState},
    log::Log,
    machine::{Machine, Saved},
    message::Message,
    options::{Defect, Options, Reads},
    snapshot::{Incoming, Snapshot},
    state::{Forwarded, State, Timer, Waiting},
};
use crate::protocol::{
    ClientId, Input, Output, Protocol, RecoverError, Reply, Setup, Stamped, Tick,
};

/// A node of `raft`.
#[derive(Debug)]
pub struct Raft {
    pub(super) id: NodeId,
    /// Every node that there may be, voter or not: who is listened to.
    pub(super) members: Vec<NodeId>,
    pub(super) options: Options,
    rng: StdRng,
    pub(super) fresh: bool,
    pub(super) hard: HardState,
    pub(super) log: Log,
    pub(super) configs: Configs,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) incoming: Option<Incoming>,
    pub(super) state: State,
    /// The leader of this term, once it is known.
    pub(super) leader: Option<NodeId>,
    /// When a leader was heard or a vote granted last: leases and timeouts run from here.
    pub(super) quiet_since: Tick,
    patience: Duration,
    pub(super) commit: u64,
    pub(super) applied: u64,
    pub(super) machine: Machine,
    /// The last context of a heartbeat that confirms reads. Never used twice in an incarnation.
    pub(super) context: u64,
    /// Commands of requests that came together and are proposed together, and about their bytes.
    pub(super) gathered: Vec<(Command, Option<Waiting>)>,
    pub(super) gathered_bytes: usize,
    /// The last context of a read that the leader was asked for. Never used twice by this node: the
    /// incarnation is in its upper half.
    pub(super) read_context: u64,
    pub(super) forwarded: BTreeMap<u64, Forwarded>,
    /// A restarted node does not know which leader it had answered: it keeps that one's lease.
    pub(super) silent_until: Tick,
    /// This is not its first start, and its disk is empty.
    pub(super) abstains: bool,
    /// It has led in this incarnation.
    pub(super) led: bool,
    /// The defect `reply-by-index-only`: those who waited for an index when this node was deposed.
    pub(super) orphans: BTreeMap<u64, Waiting>,
    /// The leader asked for this node's last campaign.
    pub(super) forced: bool,
    /// The defect `transfer-flag-survives-stepdown`.
    pub(super) stuck_transfer: bool,
    pub(super) misled: Misled,
    unsynced: Unsynced,
    pub(super) now: Tick,
    outputs: Vec<Output<Message, Timer>>,
}

/// What only defects remember.
#[derive(Debug, Default)]
pub(super) struct Misled {
    /// `session-expiry-local-clock`: when each session was used here.
    pub(super) sessions_used: BTreeMap<u64, Tick>,
    /// `applied-index-before-data`: the state before the entry that was applied last.
    pub(super) state_before: Option<Saved>,
    /// `bootstrap-without-expect`: who is connected.
    pub(super) reached: BTreeSet<NodeId>,
}

/// What was written and is not durable yet.
#[derive(Clone, Copy, Debug, Default)]
struct Unsynced {
    hard: bool,
    log: bool,
}

impl Protocol for Raft {
    const NAME: &'static str = "raft";
    type Message = Message;
    type Timer = Timer;

    fn recover(setup: &Setup, records: &[Vec<u8>]) -> Result<Self, RecoverError> {
        let options = Options::new(setup)?;
        let Durable { hard, log, snapshot, .. } = Durable::recover(records)?;
        let config = Config::of(options.initial_members.iter().copied());
        let mut configs = Configs::new(Placed { id: EntryId::default(), config });
        let (mut applied, mut machine) = (0, Machine::default());
        let snapshot = snapshot.map(|(snapshot, content)| {
            applied = snapshot.last.index;
            machine = Machine::restore(content.state);
            configs = Configs::new(content.config);
            Arc::new(snapshot)
        });
        for entry in log.from(applied + 1, usize::MAX) {
            configs.learn(entry);
        }
        let seed = setup.seed ^ (u64::from(setup.id.0) << 32) ^ (u64::from(setup.inc) << 40);
        Ok(Self {
            id: setup.id,
            members: setup.members.clone(),
            configs,
            options,
            rng: StdRng::seed_from_u64(seed),
            fresh: records.is_empty(),
            hard,
            log,
            state: State::Follower,
            leader: None,
            quiet_since: Tick(0),
            patience: Duration::ZERO,
            snapshot,
            incoming: None,
            // Only what is committed is applied, and only what is applied is in a snapshot.
            commit: applied,
            applied,
            machine,
            context: 0,
            gathered: Vec::new(),
            gathered_bytes: 0,
            read_context: u64::from(setup.inc) << 32,
            forwarded: BTreeMap::new(),
            silent_until: Tick(0),
            abstains: records.is_empty() && setup.inc > 1,
            led: false,
            orphans: BTreeMap::new(),
            forced: false,
            stuck_transfer: false,
            misled: Misled::default(),
            unsynced: Unsynced::default(),
            now: Tick(0),
            outputs: Vec::new(),
        })
    }

    fn step(&mut self, now: Tick, input: Input<Message, Timer>) -> Vec<Output<Message, Timer>> {
        self.now = self.now.max(now);
        match input {
            Input::Start => self.start(),
            Input::Message { from, message } => self.receive(from, message),
            Input::Timer(Timer::Election) => self.election_timeout(),
            Input::Timer(Timer::Beat) => self.beat(),
            Input::Connected(peer) => {
                self.misled.reached.insert(peer);
                self.repair(peer);
            }
            // Silence is what counts, not the connection it comes over.
            Input::Disconnected(peer) => {
                self.misled.reached.remove(&peer);
            }
            Input::Request { client, request } => {
                self.serve(client, &request);
                self.propose_gathered();
            }
            Input::Requests(requests) => {
                for (client, request) in requests {
                    self.serve(client, &request);
                }
                self.propose_gathered();
            }
        }
        if self.is_snapshot_due() {
            self.take_snapshot();
        }
        self.flush();
        mem::take(&mut self.outputs)
    }

    fn envelope(&self) -> (u64, Role) {
        (self.hard.term, self.role())
    }

    fn clock(&self) -> ClockName {
        if self.has(Defect::WallClockTimers) { ClockName::Wall } else { ClockName::Timer }
    }

    fn retries_failed_sync(&self) -> bool {
        self.has(Defect::RetryFailedSync)
    }

    fn beats_while_disk_stalls(&self) -> bool {
        self.has(Defect::NoDiskWatchdog)
    }

    fn ignores_failed_write(&self) -> bool {
        self.has(Defect::IgnoreWriteError)
    }
}

impl Raft {
    /// The leader that this node follows or is, with its term.
    pub fn leader(&self) -> Option<(NodeId, u64)> {
        self.leader.map(|leader| (leader, self.hard.term))
    }

    /// Whom it voted for in its term.
    pub fn vote(&self) -> Option<NodeId> {
        self.hard.vote
    }

    /// The index that it knows to be committed.
    pub fn commit(&self) -> u64 {
        self.commit
    }

    /// The place where its log ends.
    pub fn last(&self) -> EntryId {
        self.log.last()
    }

    /// The place after which its log begins; what was before is in a snapshot.
    pub fn base(&self) -> EntryId {
        self.log.base()
    }

    /// The log, from the first entry that it has.
    pub fn entries(&self) -> &[Entry] {
        self.log.from(1, usize::MAX)
    }

    /// The value of a key, as far as this node has applied the log.
    pub fn value(&self, key: &str) -> Value {
        self.machine.get(key)
    }

    /// The configuration that is in force here.
    pub fn config(&self) -> &Config {
        &self.configs.latest().config
    }

    fn start(&mut self) {
        let told = self.hard;
        if self.fresh {
            // So that the next start can tell a first one from the loss of a disk.
            self.outputs.push(Output::Write(Change::Hard(told).encode()));
            self.outputs.push(Output::Sync(Vec::new()));
        }
        if self.has(Defect::TermFromLogOnly) {
            self.hard = HardState { term: self.log.last().term, vote: None };
        }
        self.emit(Event::NodeStart {
            persisted: Persisted {
                term: Some(self.hard.term),
                vote: self.hard.vote,
                first: self.log.first(),
                last: Some(self.log.last()),
                commit: self.snapshot.as_ref().map(|_| self.commit),
                applied: self.snapshot.as_ref().map(|_| self.applied),
                snapshot: self.snapshot.as_ref().map(|snapshot| snapshot.last),
                config: Some(self.config().voters.iter().copied().collect()),
                extra: self.more_of_config(),
                ..Persisted::default()
            },
            fresh: self.fresh,
            defects: self.options.defects.iter().map(|it| it.name().to_owned()).collect(),
            params: self.effective_params(),
        });
        if self.hard != told {
            self.hit(Defect::TermFromLogOnly, "start");
        }
        if self.has(Defect::WallClockTimers) {
            self.hit(Defect::WallClockTimers, "start");
        }
        if self.abstains && self.has(Defect::AcceptWipedMember) {
            self.hit(Defect::AcceptWipedMember, "start");
            self.abstains = false;
        }
        if self.options.reads == Reads::Lease && !self.fresh {
            self.silent_until = self.now + self.options.election_timeout;
        }
        self.draw_patience();
        self.restart_timer();
        if self.hard.vote == Some(self.id) && self.has(Defect::ResumeAsLeader) {
            self.hit(Defect::ResumeAsLeader, "start");
            self.lead(vec![self.id]);
        }
    }

    /// A new connection may have replaced one that lost what was under way.
    fn repair(&mut self, peer: NodeId) {
        if let State::Leader(leading) = &mut self.state
            && let Some(progress) = leading.progress.get_mut(&peer)
        {
            progress.probe();
            self.send_append(peer);
        }
    }

    /// Draws how long this node waits for a leader before it campaigns. Those who draw differently do
    /// not split the votes again.
    pub(super) fn draw_patience(&mut self) {
        let base = self.options.election_timeout;
        let random = self.rng.random_range(Duration::ZERO..base);
        self.patience = self.options.campaign_after.unwrap_or(base + random);
    }

    /// A leader was heard, or a campaign begins: waits anew.
    pub(super) fn restart_timer(&mut self) {
        self.quiet_since = self.now;
        self.set(Timer::Election, self.now + self.patience);
    }

    /// Raises the term. The vote in it is still to be cast.
    pub(super) fn enter_term(&mut self, term: u64, cause: &str) {
        let from = self.hard.term;
        assert!(term > from, "a term never decreases");
        self.write_hard(HardState { term, vote: None });
        self.emit(Event::TermChange {
            kind: "term".to_owned(),
            from,
            to: term,
            cause: cause.to_owned(),
        });
    }

    pub(super) fn write_hard(&mut self, hard: HardState) {
        self.hard = hard;
        self.outputs.push(Output::Write(Change::Hard(hard).encode()));
        self.unsynced.hard = true;
    }

    /// The vote of the defect `vote-not-synced`: written, but nobody waits for it.
    pub(super) fn write_vote_unsynced(&mut self, candidate: NodeId) {
        self.flush();
        self.write_hard(HardState { vote: Some(candidate), ..self.hard });
        self.unsynced.hard = false;
    }

    /// Puts entries into the log, in memory and on disk.
    pub(super) fn write_entries(&mut self, entries: Vec<Entry>, origin: &str) {
        let mut prev = self.log.last();
        // One event per kind and term: a batch can hold a leader's no-op and clients' entries, and
        // whoever reads `first` and `last` must know the terms between them.
        let alike =
            |one: &Entry, other: &Entry| one.kind() == other.kind() && one.id.term == other.id.term;
        for batch in entries.chunk_by(alike) {
            let last = batch[batch.len() - 1].id;
            self.emit(Event::Append {
                first: batch[0].id,
                last,
                digests: batch.iter().map(Entry::digest).collect(),
                kind: batch[0].kind().to_owned(),
                origin: origin.to_owned(),
                prev: Some(prev),
            });
            prev = last;
        }
        self.outputs.push(Output::Write(Change::Append(entries.clone()).encode()));
        self.unsynced.log = true;
        for entry in entries {
            let role = self.role();
            let adopted = self.configs.learn(&entry);
            self.log.push(entry);
            if adopted {
                self.adopt("append", role);
            }
        }
    }

    /// Drops the log from this index on.
    pub(super) fn truncate(&mut self, from: u64, cause: &str) {
        let last = self.log.last();
        if from > last.index {
            return;
        }
        self.emit(Event::Truncate {
            first: self.log.id(from),
            last,
            cause: cause.to_owned(),
            commit: self.commit,
        });
        self.log.truncate(from);
        self.outputs.push(Output::Write(Change::Truncate(from).encode()));
        self.unsynced.log = true;
        let role = self.role();
        if self.configs.truncate(from) {
            self.adopt("revert", role);
        }
    }

    pub(super) fn has_unsynced_entries(&self) -> bool {
        self.unsynced.log
    }

    /// The defect `ack-before-sync`: the next sync that comes for another reason takes them along.
    pub(super) fn forget_to_sync(&mut self) {
        self.unsynced.log = false;
    }

    /// Makes durable what was written. Nothing is sent or answered before.
    pub(super) fn flush(&mut self) {
        let Unsynced { hard, log } = mem::take(&mut self.unsynced);
        let mut persisted = Vec::new();
        if hard {
            let HardState { term, vote } = self.hard;
            persisted.push(self.stamp(Event::Persist {
                what: "hard-state".to_owned(),
                value: Some(term),
                bound_to: vote,
                up_to: None,
                zxid: None,
                ok: true,
            }));
        }
        if log {
            persisted.push(self.stamp(Event::Persist {
                what: "log".to_owned(),
                value: None,
                bound_to: None,
                up_to: Some(self.log.last()),
                zxid: None,
                ok: true,
            }));
        }
        if !persisted.is_empty() {
            self.outputs.push(Output::Sync(persisted));
        }
    }

    /// Replaces the log on disk by one that begins with a snapshot.
    pub(super) fn rewrite(&mut self, records: Vec<Vec<u8>>, last: EntryId) {
        let persisted = |what: &str, up_to| Event::Persist {
            what: what.to_owned(),
            value: None,
            bound_to: None,
            up_to: Some(up_to),
            zxid: None,
            ok: true,
        };
        let events = [persisted("snapshot", last), persisted("log", self.log.last())];
        let persisted = events.map(|event| self.stamp(event)).into();
        self.outputs.push(Output::Rewrite { records, persisted });
    }

    /// Changes the role.
    pub(super) fn enter(&mut self, state: State, reason: &str) {
        let from = self.role();
        let left = mem::replace(&mut self.state, state);
        let to = self.role();
        if from != to || matches!(self.state, State::PreCandidate(_) | State::Candidate(_)) {
            let reason = reason.to_owned();
            self.emit(Event::RoleChange { from, to, phase: None, reason });
        }
        if let State::Leader(leading) = left {
            self.cancel(Timer::Beat);
            self.abandon(*leading);
        }
    }

    /// Changes the leader that the node believes in.
    pub(super) fn know(&mut self, leader: Option<NodeId>) {
        if self.leader != leader {
            self.leader = leader;
            self.emit(Event::LeaderKnown { leader, in_term: self.hard.term });
            self.refuse_forwarded();
        }
    }

    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        self.flush();
        self.note_vote_message("send", to, &message, None);
        self.outputs.push(Output::Send { to, message });
    }

    pub(super) fn reply(&mut self, client: ClientId, reply: Reply) {
        self.flush();
        self.outputs.push(Output::Reply { client, reply });
    }

    /// Election messages are part of the history; the others have events of their own.
    pub(super) fn note_vote_message(
        &mut self,
        dir: &str,
        peer: NodeId,
        message: &Message,
        reason: Option<&str>,
    ) {
        let (kind, candidate, last, granted) = match message {
            Message::VoteRequest { prevote, last, .. } => {
                let candidate = if dir == "send" { self.id } else { peer };
                let kind = if *prevote { "prevote-req" } else { "vote-req" };
                (kind, Some(candidate), Some(*last), None)
            }
            Message::VoteReply { prevote, granted, .. } => {
                let kind = if *prevote { "prevote-resp" } else { "vote-resp" };
                (kind, None, None, Some(*granted))
            }
            _ => return,
        };
        self.emit(Event::VoteMsg {
            dir: dir.to_owned(),
            peer,
            kind: kind.to_owned(),
            msg_term: message.term(),
            candidate,
            last,
            zxid: None,
            granted,
            reason: reason.map(str::to_owned),
        });
    }

    pub(super) fn emit(&mut self, event: Event) {
        let stamped = self.stamp(event);
        self.outputs.push(Output::Event(stamped));
    }

    fn stamp(&self, event: Event) -> Stamped {
        let (term, role) = self.envelope();
        Stamped { term, role, event }
    }

    pub(super) fn has(&self, defect: Defect) -> bool {
        self.options.has(defect)
    }

    pub(super) fn hit(&mut self, defect: Defect, place: &str) {
        let name = defect.name().to_owned();
        self.emit(Event::DefectHit { name, place: place.to_owned() });
    }

    pub(super) fn set(&mut self, timer: Timer, at: Tick) {
        self.outputs.push(Output::SetTimer(timer, at));
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        self.outputs.push(Output::CancelTimer(timer));
    }

    fn effective_params(&self) -> Map<String, Value> {
        self.options.params.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }

    pub(super) fn status(&self) -> Value {
        json!({
            "role": self.state.role(),
            "leader": self.leader,
            "term": self.hard.term,
            "vote": self.hard.vote,
            "last": self.log.last(),
            "commit": self.commit,
            "applied": self.applied,
            "config": self.config(),
        })
    }
}
