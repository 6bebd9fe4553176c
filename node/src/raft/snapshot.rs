//! Snapshots: the state after an entry, instead of the log before it (chapter 5 of the thesis).
//!
//! A node takes one by itself when it has applied enough since the last, and drops the log behind it,
//! but for a tail that spares followers who are a little behind. A snapshot has everything that the
//! dropped entries said: the state, the sessions, and the configuration. It is on the disk, with what
//! is left of the log, before the log is dropped.
//!
//! A leader whose log does not reach back to what a follower needs sends its snapshot, in pieces,
//! one at a time, because it can be longer than a message may be. The follower takes the next piece
//! only, says how far it got, and so can go on after a loss. It installs the snapshot only if it
//! knows something that its log does not: one that is not ahead of its commit index is old, and one
//! whose last entry it has is a commit index and no more (as in etcd).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use usurper_history::{EntryId, Event, NodeId};

use super::{
    config::{Configs, Placed},
    durable::Change,
    log::Log,
    machine::{Machine, Saved},
    message::Message,
    node::Raft,
    options::Defect,
    progress::Pace,
    state::State,
};
use crate::protocol::RecoverError;

/// Of a snapshot in one message, and in one record of the disk.
const PIECE_BYTES: usize = 1 << 20;

/// The state after an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) last: EntryId,
    /// All of it, as it travels and as it is on the disk.
    bytes: Vec<u8>,
}

/// What is in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    last: EntryId,
    pub(crate) config: Placed,
    pub(crate) state: Saved,
}

/// A snapshot of which pieces have come.
#[derive(Debug)]
pub(crate) struct Incoming {
    from: NodeId,
    term: u64,
    last: EntryId,
    bytes: Vec<u8>,
}

impl Snapshot {
    fn new(content: &Content) -> Self {
        let bytes = postcard::to_stdvec(content).expect("a state is plain data");
        Self { last: content.last, bytes }
    }

    /// # Errors
    /// When these are not the bytes of a snapshot.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Result<(Self, Content), RecoverError> {
        let unreadable = || RecoverError::Contradiction("a snapshot cannot be read".to_owned());
        let content: Content = postcard::from_bytes(&bytes).map_err(|_| unreadable())?;
        Ok((Self { last: content.last, bytes }, content))
    }

    /// The records that hold it on the disk, before a log that begins after `base`.
    fn records(&self, base: EntryId) -> impl Iterator<Item = Vec<u8>> + '_ {
        let pieces = self.bytes.chunks(PIECE_BYTES).map(|piece| Change::Piece(piece.to_vec()));
        pieces.chain([Change::Snapshot { base }]).map(|change| change.encode())
    }
}

impl Raft {
    /// Enough has been applied since the last snapshot.
    pub(super) fn is_snapshot_due(&self) -> bool {
        let before = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.last.index);
        self.options.snapshot_after.is_some_and(|after| self.applied >= before + after)
    }

    pub(super) fn take_snapshot(&mut self) {
        // What the snapshot replaces must not be waiting to become durable.
        self.flush();
        let last = self.log.id(self.applied);
        let mut state = self.machine.save();
        if self.machine.has_sessions() && self.has(Defect::SnapshotWithoutSessions) {
            self.hit(Defect::SnapshotWithoutSessions, "the sessions are left out");
            state.forget_sessions();
        }
        if let Some(before) = self.misled.state_before.take() {
            self.hit(Defect::AppliedIndexBeforeData, "the state before the last entry");
            state = before;
        }
        let config = self.configs.at(self.applied).clone();
        let snapshot = Snapshot::new(&Content { last, config, state });
        self.note_snapshot("take", last);
        let keep = self.log.base().index.max(last.index.saturating_sub(self.options.snapshot_keep));
        self.log.compact(keep);
        self.configs.compact(last.index);
        self.store_snapshot(snapshot);
    }

    fn store_snapshot(&mut self, snapshot: Snapshot) {
        let records: Vec<_> = [Change::Hard(self.hard).encode()]
            .into_iter()
            .chain(snapshot.records(self.log.base()))
            .chain(self.log.batches(PIECE_BYTES).map(|batch| Change::Append(batch).encode()))
            .collect();
        self.rewrite(records, snapshot.last);
        self.snapshot = Some(Arc::new(snapshot));
    }

    /// Sends the snapshot to a follower that needs what the log has no more.
    pub(super) fn begin_snapshot(&mut self, to: NodeId) {
        let snapshot = self.snapshot.clone().expect("a log is dropped behind a snapshot only");
        let (last, since) = (snapshot.last, self.now);
        let State::Leader(leading) = &mut self.state else { return };
        let Some(progress) = leading.progress.get_mut(&to) else { return };
        progress.pace = Pace::Snapshot { snapshot, offset: 0, since };
        self.note_snapshot("send", last);
        self.send_piece(to);
    }

    /// Sends the piece that comes next, or again the one that has no answer.
    pub(super) fn send_piece(&mut self, to: NodeId) {
        let (term, now) = (self.hard.term, self.now);
        let State::Leader(leading) = &mut self.state else { return };
        let Some(progress) = leading.progress.get_mut(&to) else { return };
        let Pace::Snapshot { snapshot, offset, since } = &mut progress.pace else { return };
        *since = now;
        let end = snapshot.bytes.len().min(*offset + PIECE_BYTES);
        let piece = snapshot.bytes[*offset..end].to_vec();
        let done = end == snapshot.bytes.len();
        let (last, offset) = (snapshot.last, *offset as u64);
        self.send(to, Message::Snapshot { term, last, offset, piece, done });
    }

    /// The follower is alive. A piece, or its answer, may be lost.
    pub(super) fn send_piece_again(&mut self, to: NodeId) {
        let State::Leader(leading) = &self.state else { return };
        let Some(progress) = leading.progress.get(&to) else { return };
        if let Pace::Snapshot { since, .. } = progress.pace
            && self.now.since(since) >= self.options.election_timeout
        {
            self.send_piece(to);
        }
    }

    pub(super) fn on_snapshot_reply(&mut self, from: NodeId, last: EntryId, received: u64) {
        let now = self.now;
        let State::Leader(leading) = &mut self.state else { return };
        let Some(progress) = leading.progress.get_mut(&from) else { return };
        progress.answered(now);
        let Pace::Snapshot { snapshot, offset, .. } = &mut progress.pace else { return };
        let received = usize::try_from(received).unwrap_or(usize::MAX);
        // The same number again is the answer to a copy.
        if snapshot.last == last && received != *offset && received < snapshot.bytes.len() {
            *offset = received;
            self.send_piece(from);
        }
    }

    pub(super) fn on_snapshot(
        &mut self,
        from: NodeId,
        last: EntryId,
        offset: u64,
        piece: &[u8],
        done: bool,
    ) {
        if !self.follow(from) {
            return;
        }
        let term = self.hard.term;
        let is_old = last.index <= self.commit;
        if is_old && !self.has(Defect::SnapshotOverwritesNewer) {
            self.ignore_snapshot(from, last);
            return;
        }
        let same = |it: &Incoming| (it.from, it.term, it.last) == (from, term, last);
        let mut incoming = self.incoming.take().filter(same).unwrap_or_else(|| Incoming {
            from,
            term,
            last,
            bytes: Vec::new(),
        });
        let is_next = offset == incoming.bytes.len() as u64;
        if is_next {
            incoming.bytes.extend_from_slice(piece);
        }
        if !(is_next && done) {
            let received = incoming.bytes.len() as u64;
            self.incoming = Some(incoming);
            self.send(from, Message::SnapshotReply { term, last, received });
            return;
        }
        // Garbage that passed the checksum of the frame is no snapshot; the leader sends it again.
        let Ok((snapshot, content)) = Snapshot::from_bytes(incoming.bytes) else { return };
        if snapshot.last != last {
            return;
        }
        if is_old {
            self.hit(Defect::SnapshotOverwritesNewer, "a snapshot behind the commit index");
        } else if self.log.matches(last) {
            self.learn_commit(last.index, from);
            self.ignore_snapshot(from, last);
            return;
        }
        self.install_snapshot(snapshot, content);
        self.send(from, Message::AppendReply { term, matched: last.index, refused: None });
    }

    /// What it says is known here.
    fn ignore_snapshot(&mut self, from: NodeId, last: EntryId) {
        self.incoming = None;
        self.note_snapshot("ignore", last);
        let (term, matched) = (self.hard.term, self.commit);
        self.send(from, Message::AppendReply { term, matched, refused: None });
    }

    /// The log differs from what the snapshot says, or does not reach so far: all of it goes.
    fn install_snapshot(&mut self, snapshot: Snapshot, content: Content) {
        self.flush();
        let (last, role) = (snapshot.last, self.role());
        self.machine = Machine::restore(content.state);
        self.log = Log::after(last);
        (self.commit, self.applied) = (last.index, last.index);
        let mut config = content.config;
        if self.has(Defect::SnapshotWithoutConfig) {
            if config != *self.configs.latest() {
                self.hit(Defect::SnapshotWithoutConfig, "the configuration stays as it was");
            }
            config = self.configs.latest().clone();
        }
        self.configs = Configs::new(config);
        self.note_snapshot("install", last);
        self.store_snapshot(snapshot);
        self.adopt("apply", role);
        self.serve_forwarded();
    }

    fn note_snapshot(&mut self, op: &str, last: EntryId) {
        let is_own = matches!(op, "take" | "install");
        let voters = || self.configs.at(last.index).config.voters.iter().copied().collect();
        self.emit(Event::Snapshot {
            op: op.to_owned(),
            last,
            config: is_own.then(voters),
            state_digest: is_own.then(|| self.machine.digest()),
        });
    }
}
