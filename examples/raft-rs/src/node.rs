//! The loop around raft-rs' `RawNode`: what it is told goes in, and each `Ready` that comes out is
//! handled in the order that its documentation asks for.
//!
//! 1. A leader's messages leave at once; nothing of them depends on its own disk.
//! 2. The snapshot, the entries and the hard state are saved, and synced where they must be.
//! 3. What is committed is applied, and clients are answered.
//! 4. The messages of everybody else leave: votes and acknowledgements, which promise what was saved.
//!
//! What happens inside raft-rs is told by comparing what it shows before and after: see `events`.

use std::{collections::BTreeMap, mem};

use raft::{
    ProgressState, RawNode, SnapshotStatus, StateRole,
    eraftpb::{Entry, HardState, Message, MessageType, Snapshot},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use slog::{Drain, Never, OwnedKVList, Record, o};
use usurper_history::{EntryId, Event, NodeId, Persisted, Role, frame::Kind};
use usurper_node::{
    protocol::{Input, Output, Protocol, RecoverError, Setup, Stamped, Tick},
    raft::{Entry as Applied, Machine},
};

use crate::{
    disk,
    events::Shown,
    log::{Log, id, place},
    message::{Packet, kind},
    options::{Defect, Options, TICK},
    service::{Clients, command},
};

/// The only timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticking;

/// A node of raft-rs, with the key-value service that its log is applied to.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) options: Options,
    pub(crate) raw: RawNode<Log>,
    fresh: bool,
    rng: StdRng,
    /// The random timeout that this node last drew.
    patience: usize,
    pub(crate) shown: Shown,
    /// What was told to be committed.
    pub(crate) committed: u64,
    pub(crate) machine: Machine,
    pub(crate) applied: u64,
    pub(crate) clients: Clients,
    /// When each follower was sent a snapshot: raft-rs waits to hear what became of it.
    snapshots: BTreeMap<u64, Tick>,
    pub(crate) now: Tick,
    outputs: Vec<Output<Packet, Ticking>>,
}

/// Hands raft-rs' own log lines to the log of the node.
struct Talk;

impl Drain for Talk {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        tracing::debug!(target: "raft", "{}", record.msg());
        Ok(())
    }
}

impl Protocol for Node {
    const NAME: &'static str = "raft-rs";
    type Message = Packet;
    type Timer = Ticking;

    fn recover(setup: &Setup, records: &[Vec<u8>]) -> Result<Self, RecoverError> {
        let options = Options::new(setup)?;
        let voters = setup.members.iter().map(|node| u64::from(node.0)).collect();
        let mut log = disk::recover(voters, records)?;
        log.forgets_data = options.has(Defect::SnapshotWithoutData);
        let applied = place(&log.snapshot).index;
        let machine = restore(&log.snapshot)
            .or_else(|| log.forgets_data.then(Machine::default))
            .ok_or_else(|| contradiction("its snapshot has no state"))?;
        let config = options.config(u64::from(setup.id.0), applied);
        let logger = slog::Logger::root(Talk, o!());
        let raw = RawNode::new(&config, log, &logger)
            .map_err(|error| contradiction(&error.to_string()))?;
        let seed = setup.seed ^ (u64::from(setup.id.0) << 32) ^ (u64::from(setup.inc) << 40);
        Ok(Self {
            id: setup.id,
            options,
            shown: Shown::new(&raw.raft),
            committed: raw.raft.raft_log.committed,
            raw,
            fresh: records.is_empty(),
            rng: StdRng::seed_from_u64(seed),
            patience: 0,
            machine,
            applied,
            clients: Clients::new(setup.id, setup.inc),
            snapshots: BTreeMap::new(),
            now: Tick(0),
            outputs: Vec::new(),
        })
    }

    fn step(&mut self, now: Tick, input: Input<Packet, Ticking>) -> Vec<Output<Packet, Ticking>> {
        self.now = self.now.max(now);
        match input {
            Input::Start => self.start(),
            Input::Message { from, message: Packet(message) } => self.receive(from, message),
            Input::Timer(Ticking) => self.tick(),
            Input::Connected(_) => {}
            Input::Disconnected(peer) => {
                let peer = u64::from(peer.0);
                self.raw.report_unreachable(peer);
                self.snapshot_lost(peer);
            }
            Input::Request { client, request } => self.serve(client, &request),
            Input::Requests(requests) => {
                for (client, request) in requests {
                    self.serve(client, &request);
                }
            }
        }
        self.work();
        mem::take(&mut self.outputs)
    }

    fn envelope(&self) -> (u64, Role) {
        (self.raw.raft.term, role(self.raw.raft.state))
    }
}

/// The role as usurper calls it.
pub(crate) fn role(state: StateRole) -> Role {
    match state {
        StateRole::Follower => Role::Follower,
        StateRole::PreCandidate => Role::PreCandidate,
        StateRole::Candidate => Role::Candidate,
        StateRole::Leader => Role::Leader,
    }
}

/// A node by raft-rs' number for it, which is never 0.
pub(crate) fn node(number: u64) -> Option<NodeId> {
    u8::try_from(number).ok().filter(|number| *number > 0).map(NodeId)
}

/// The state in a snapshot; none, if it cannot be read.
fn restore(snapshot: &Snapshot) -> Option<Machine> {
    if place(snapshot).index == 0 {
        return Some(Machine::default());
    }
    postcard::from_bytes(&snapshot.data).ok().map(Machine::restore)
}

fn contradiction(text: &str) -> RecoverError {
    RecoverError::Contradiction(text.to_owned())
}

impl Node {
    fn start(&mut self) {
        let log = self.raw.store();
        let snapshot = Some(place(&log.snapshot)).filter(|place| place.index > 0);
        let (first, last) = (log.first(), log.last());
        let HardState { term, vote, commit, .. } = log.hard;
        self.emit(Event::NodeStart {
            persisted: Persisted {
                term: Some(term),
                vote: node(vote),
                first,
                last: Some(last),
                commit: Some(commit),
                applied: Some(self.applied),
                snapshot,
                ..Persisted::default()
            },
            fresh: self.fresh,
            defects: self.options.defects.iter().map(|it| it.name().to_owned()).collect(),
            params: self.options.effective(),
        });
        self.draw_patience();
        self.outputs.push(Output::SetTimer(Ticking, self.now + TICK));
    }

    /// Time passes. A tick that comes late is one tick: raft-rs knows no other time.
    fn tick(&mut self) {
        self.outputs.push(Output::SetTimer(Ticking, self.now + TICK));
        self.raw.tick();
        self.look("time");
        let timeout = TICK * u32::try_from(self.options.election).unwrap_or(u32::MAX);
        self.refuse_late_reads(timeout);
        let late = |(_, sent): &(&u64, &Tick)| self.now.since(**sent) >= timeout;
        let late: Vec<_> = self.snapshots.iter().filter(late).map(|(peer, _)| *peer).collect();
        for peer in late {
            self.snapshot_lost(peer);
        }
    }

    /// A snapshot that was sent may not have come: raft-rs sends nothing to that follower until it
    /// hears so.
    fn snapshot_lost(&mut self, peer: u64) {
        if self.snapshots.remove(&peer).is_none() {
            return;
        }
        let progress = self.raw.raft.prs().get(peer);
        if progress.is_some_and(|progress| progress.state == ProgressState::Snapshot) {
            self.raw.report_snapshot(peer, SnapshotStatus::Failure);
        }
    }

    fn receive(&mut self, from: NodeId, message: Message) {
        if message.from != u64::from(from.0) || message.to != u64::from(self.id.0) {
            return;
        }
        self.note_vote_message("recv", from, &message);
        let (message_type, term, reject) = (message.get_msg_type(), message.term, message.reject);
        let commit = message.commit;
        if message_type == MessageType::MsgRequestVoteResponse && !reject {
            self.shown.granted(from, term);
        }
        let cause = kind(&message).map_or("message", Kind::name);
        if let Err(error) = self.raw.step(message) {
            tracing::debug!(%from, cause, %error, "raft-rs takes no such message now");
        }
        self.look(cause);
        if message_type == MessageType::MsgHeartbeat {
            let raft = &self.raw.raft;
            let follows = raft.term == term && node(raft.leader_id) == Some(from);
            let (dir, reason) = match follows {
                true => ("accepted", None),
                false => ("rejected", Some("not of the leader that it follows".to_owned())),
            };
            self.note_heartbeat(dir, Some(from), term, from, commit, reason);
        }
    }

    /// Replaces the timeout that raft-rs drew by one that follows from the run's seed.
    fn draw_patience(&mut self) {
        let raft = &mut self.raw.raft;
        if self.patience == raft.randomized_election_timeout() {
            return;
        }
        let config = self.options.config(raft.id, 0);
        let range = config.min_election_tick()..config.max_election_tick();
        self.patience = self.rng.random_range(range);
        raft.set_randomized_election_timeout(self.patience);
    }

    /// Tells what raft-rs has changed since the last look.
    pub(crate) fn look(&mut self, cause: &str) {
        self.draw_patience();
        let (events, deposed, lost) = self.shown.look(&self.raw.raft, cause);
        for event in events {
            // raft-rs does not tell what a setting changes; it is at work in each of these.
            let hit = match event {
                Event::RoleChange { to: Role::Candidate, .. } => {
                    Some((Defect::NoPrevote, "a campaign that asked nobody before"))
                }
                Event::LeaderElected { .. } => {
                    Some((Defect::NoCheckQuorum, "a leadership that no silence ends"))
                }
                _ => None,
            };
            self.emit(event);
            if let Some((defect, place)) = hit.filter(|(defect, _)| self.options.has(*defect)) {
                self.hit(defect, place);
            }
        }
        if deposed {
            self.abandon_proposals();
        }
        if lost {
            self.refuse_reads();
        }
    }

    /// Does what raft-rs wants done, until there is nothing.
    fn work(&mut self) {
        self.look("report");
        while self.raw.has_ready() {
            let mut ready = self.raw.ready();
            let snapshot = ready.snapshot().clone();
            let entries = ready.take_entries();
            if !snapshot.is_empty() {
                self.note_snapshot("install", &snapshot);
            }
            self.note_entries(&entries, place(&snapshot));
            self.send(ready.take_messages());
            if self.options.has(Defect::SendBeforePersist) && ready.must_sync() {
                self.hit(Defect::SendBeforePersist, "messages that promise what is not saved yet");
                self.send(ready.take_persisted_messages());
            }
            if !snapshot.is_empty() {
                self.install(snapshot);
            }
            self.save(ready.hs().cloned(), &entries, ready.must_sync());
            for read in ready.take_read_states() {
                self.read_state(&read);
            }
            self.note_commit();
            self.apply(ready.take_committed_entries());
            self.send(ready.take_persisted_messages());
            let mut light = self.raw.advance_append(ready);
            if let Some(commit) = light.commit_index() {
                self.raw.mut_store().hard.commit = commit;
            }
            self.note_commit();
            self.send(light.take_messages());
            self.apply(light.take_committed_entries());
            self.raw.advance_apply();
            self.look("ready");
        }
        self.answer_reads();
        self.take_snapshot();
    }

    /// Saves what a `Ready` has, durably where it says that it must be.
    fn save(&mut self, hard: Option<HardState>, entries: &[Entry], must_sync: bool) {
        let forgets = self.options.has(Defect::HardStateNotSaved);
        if forgets && hard.is_some() {
            self.hit(Defect::HardStateNotSaved, "a term, a vote or a commit index");
        }
        let hard = hard.filter(|_| !forgets);
        if hard.is_none() && entries.is_empty() {
            return;
        }
        self.outputs.push(Output::Write(disk::write(hard.as_ref(), entries)));
        let log = self.raw.mut_store();
        log.append(entries);
        if let Some(hard) = &hard {
            log.hard = hard.clone();
        }
        if !must_sync {
            return;
        }
        let mut persisted = Vec::new();
        if let Some(HardState { term, vote, .. }) = hard {
            persisted.push(persist("hard-state", Some(term), node(vote), None));
        }
        if let Some(last) = entries.last() {
            persisted.push(persist("log", None, None, Some(id(last))));
        }
        self.sync(persisted);
    }

    fn sync(&mut self, persisted: Vec<Event>) {
        let persisted = persisted.into_iter().map(|event| self.stamp(event)).collect();
        self.outputs.push(Output::Sync(persisted));
    }

    /// A leader sent the state that its log begins with.
    fn install(&mut self, snapshot: Snapshot) {
        let last = place(&snapshot);
        if snapshot.data.is_empty() {
            self.hit(Defect::SnapshotWithoutData, "a snapshot without a state");
        }
        // Without the switch there is none that cannot be read: its frame has a checksum.
        self.machine = restore(&snapshot).unwrap_or_default();
        (self.applied, self.committed) = (last.index, last.index);
        self.raw.mut_store().install(snapshot);
        self.rewrite();
    }

    /// Takes a snapshot once enough was applied, and drops the log behind it.
    fn take_snapshot(&mut self) {
        let log = self.raw.store();
        let Some(last) = log.at(self.applied) else { return };
        if self.applied < place(&log.snapshot).index + self.options.snapshot_after {
            return;
        }
        let mut snapshot = Snapshot::default();
        let data = postcard::to_stdvec(&self.machine.save()).expect("a state is plain data");
        snapshot.set_data(data.into());
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (last.index, last.term);
        metadata.mut_conf_state().voters.clone_from(&log.voters);
        self.note_snapshot("take", &snapshot);
        let keep = self.options.snapshot_keep;
        let log = self.raw.mut_store();
        log.snapshot = snapshot;
        log.hard.commit = log.hard.commit.max(last.index);
        log.compact(last.index.saturating_sub(keep));
        self.rewrite();
    }

    fn rewrite(&mut self) {
        let log = self.raw.store();
        let (records, last) = (disk::rewrite(log), log.last());
        let snapshot = place(&log.snapshot);
        let persisted = [("snapshot", snapshot), ("log", last)]
            .map(|(what, up_to)| self.stamp(persist(what, None, None, Some(up_to))));
        self.outputs.push(Output::Rewrite { records, persisted: persisted.into() });
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            let applied = Applied { id: id(&entry), command: command(&entry) };
            self.applied = entry.index;
            let (session, serial) = match self.is_new(&applied.command) {
                Some((session, serial)) => (Some(session), Some(serial)),
                None => (None, None),
            };
            let answer = self.machine.apply(&applied);
            self.emit(Event::Apply {
                id: applied.id,
                digest: applied.digest(),
                state_digest: Some(self.machine.digest()),
                session,
                serial,
            });
            self.answer(&entry, answer);
        }
    }

    fn send(&mut self, messages: Vec<Message>) {
        let beat = messages.iter().find(|it| it.get_msg_type() == MessageType::MsgHeartbeat);
        if let Some(term) = beat.map(|message| message.term) {
            let commit = self.committed;
            self.note_heartbeat("sent", None, term, self.id, commit, None);
        }
        for message in messages {
            let Some(to) = node(message.to).filter(|_| kind(&message).is_some()) else { continue };
            self.note_promise(to, &message);
            self.note_vote_message("send", to, &message);
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.note_snapshot("send", message.get_snapshot());
                self.snapshots.insert(message.to, self.now);
            }
            self.outputs.push(Output::Send { to, message: Packet(message) });
        }
    }

    /// The commit index has moved.
    fn note_commit(&mut self) {
        let raft = &self.raw.raft;
        let index = raft.raft_log.committed;
        if index <= self.committed {
            return;
        }
        self.committed = index;
        let Ok(term) = raft.raft_log.term(index) else { return };
        let leads = raft.state == StateRole::Leader;
        let has = |(peer, progress): (&u64, &raft::Progress)| {
            (progress.matched >= index).then(|| node(*peer)).flatten()
        };
        let mut quorum: Vec<_> = raft.prs().iter().filter_map(has).collect();
        quorum.sort_unstable();
        let learned_from = node(raft.leader_id).filter(|leader| *leader != self.id);
        self.emit(Event::Commit {
            up_to: EntryId { term, index },
            quorum: leads.then_some(quorum),
            learned_from,
            config: None,
        });
    }

    fn note_snapshot(&mut self, op: &str, snapshot: &Snapshot) {
        let metadata = snapshot.get_metadata();
        let voters = metadata.get_conf_state().voters.iter().filter_map(|it| node(*it)).collect();
        let state = (op != "send").then(|| match op {
            "install" => restore(snapshot).unwrap_or_default().digest(),
            _ => self.machine.digest(),
        });
        self.emit(Event::Snapshot {
            op: op.to_owned(),
            last: place(snapshot),
            config: state.is_some().then_some(voters),
            state_digest: state,
        });
    }

    pub(crate) fn emit(&mut self, event: Event) {
        let stamped = self.stamp(event);
        self.outputs.push(Output::Event(stamped));
    }

    pub(crate) fn stamp(&self, event: Event) -> Stamped {
        let (term, role) = self.envelope();
        Stamped { term, role, event }
    }

    pub(crate) fn push(&mut self, output: Output<Packet, Ticking>) {
        self.outputs.push(output);
    }

    pub(crate) fn hit(&mut self, defect: Defect, place: &str) {
        self.emit(Event::DefectHit { name: defect.name().to_owned(), place: place.to_owned() });
    }
}

fn persist(
    what: &str,
    value: Option<u64>,
    bound_to: Option<NodeId>,
    up_to: Option<EntryId>,
) -> Event {
    Event::Persist { what: what.to_owned(), value, bound_to, up_to, zxid: None, ok: true }
}
