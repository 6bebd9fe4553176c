//! The log: how a leader brings it to its followers, what a follower takes, and what is committed.
//!
//! - A follower takes entries only after a place where its log agrees with the leader's. It drops
//!   what conflicts and nothing else: an append can be late, and shorter than what came since.
//! - It commits no more than the leader showed it to agree on.
//! - A leader counts replicas of an entry of its own term only. An earlier one that a majority has
//!   can still be replaced; it is committed by one of this term that comes after it.

use std::{collections::BTreeMap, mem, time::Duration};

use usurper_history::{EntryId, Event, NodeId};

use super::{
    command::{Command, Entry},
    machine::Answer,
    message::{Hint, Message},
    node::Raft,
    options::{Defect, Reads},
    state::{State, Timer, Waiting},
};

/// An append with more than one entry is not longer than about this; with one, a frame is long enough.
const APPEND_BYTES_MAX: usize = 1 << 20;
/// With the defect `session-expiry-local-clock` a session lives so long.
const SESSION_IDLE_MAX: Duration = Duration::from_secs(60);

impl Raft {
    /// The leader's timer.
    pub(super) fn beat(&mut self) {
        if matches!(self.state, State::Leader(_)) {
            self.set(Timer::Beat, self.now + self.options.heartbeat);
            self.broadcast_heartbeat();
        }
    }

    /// The defect `no-hb-after-elected`.
    pub(super) fn is_mute(&self) -> bool {
        self.has(Defect::NoHbAfterElected)
    }

    pub(super) fn broadcast_heartbeat(&mut self) {
        let State::Leader(leading) = &self.state else { return };
        if self.is_mute() || leading.progress.is_empty() {
            return;
        }
        if self.options.reads == Reads::Lease {
            self.note_round();
        }
        let State::Leader(leading) = &self.state else { return };
        // An answer to this beat answers all reads before it, too.
        let read = leading.reads.keys().next_back().copied().unwrap_or(0);
        let context = leading.lease.rounds.back().map_or(read, |(round, _)| *round);
        let known: Vec<_> =
            leading.progress.iter().map(|(peer, progress)| (*peer, progress.matched)).collect();
        let term = self.hard.term;
        self.note_heartbeat("sent", None, term, self.id, self.commit, "");
        for (peer, matched) in known {
            let mut commit = self.commit.min(matched);
            if commit < self.commit && self.has(Defect::HeartbeatFullCommit) {
                self.hit(Defect::HeartbeatFullCommit, "a follower that may lack the entries");
                commit = self.commit;
            }
            self.send(peer, Message::Heartbeat { term, commit, context });
        }
    }

    pub(super) fn on_heartbeat(&mut self, from: NodeId, term: u64, commit: u64, context: u64) {
        if !self.follow(from) {
            self.note_heartbeat("rejected", Some(from), term, from, commit, "leading");
            return;
        }
        self.note_heartbeat("accepted", Some(from), term, from, commit, "");
        self.learn_commit(commit, from);
        self.send(from, Message::HeartbeatReply { term, context });
    }

    pub(super) fn on_heartbeat_reply(&mut self, from: NodeId, context: u64) {
        let last = self.log.last().index;
        let State::Leader(leading) = &mut self.state else { return };
        let Some(progress) = leading.progress.get_mut(&from) else { return };
        progress.answered(self.now);
        progress.unblock();
        self.send_piece_again(from);
        let State::Leader(leading) = &mut self.state else { return };
        let Some(progress) = leading.progress.get_mut(&from) else { return };
        if progress.matched < last || progress.is_probing() {
            self.send_append(from);
        }
        self.extend_lease(from, context);
        self.confirm_reads(from, context);
    }

    /// Puts a command at the end of the log and on its way.
    pub(super) fn propose(&mut self, command: Command, waiting: Option<Waiting>) {
        self.propose_gathered();
        self.propose_all(vec![(command, waiting)]);
    }

    /// Takes a command that is proposed together with those that came with it: they share one write,
    /// one sync and one round of appends.
    pub(super) fn gather(&mut self, command: Command, waiting: Waiting) {
        self.gathered_bytes += command.bytes();
        self.gathered.push((command, Some(waiting)));
        if self.gathered_bytes >= APPEND_BYTES_MAX {
            self.propose_gathered();
        }
    }

    /// Proposes what was gathered.
    pub(super) fn propose_gathered(&mut self) {
        self.gathered_bytes = 0;
        let gathered = mem::take(&mut self.gathered);
        if !gathered.is_empty() {
            self.propose_all(gathered);
        }
    }

    fn propose_all(&mut self, commands: Vec<(Command, Option<Waiting>)>) {
        let first = self.log.last().index + 1;
        let (mut entries, mut waiting) = (Vec::new(), Vec::new());
        for (index, (command, client)) in (first..).zip(commands) {
            entries.push(Entry { id: EntryId { term: self.hard.term, index }, command });
            waiting.extend(client.map(|client| (index, client)));
        }
        self.write_entries(entries, "self");
        if self.has(Defect::LeaderSelfAckUnsynced) {
            self.hit(Defect::LeaderSelfAckUnsynced, "an own entry");
            self.forget_to_sync();
        }
        if let State::Leader(leading) = &mut self.state {
            leading.proposals.extend(waiting);
        }
        self.broadcast_append();
        if self.advance_commit() {
            self.broadcast_append();
            self.settle_config();
        }
    }

    fn broadcast_append(&mut self) {
        let State::Leader(leading) = &self.state else { return };
        for peer in leading.progress.keys().copied().collect::<Vec<_>>() {
            self.send_append(peer);
        }
    }

    /// Sends a follower what it lacks, unless an answer has to come first.
    pub(super) fn send_append(&mut self, to: NodeId) {
        if self.is_mute() {
            return;
        }
        let State::Leader(leading) = &mut self.state else { return };
        let Some(progress) = leading.progress.get_mut(&to) else { return };
        if progress.is_paused() {
            return;
        }
        if progress.next <= self.log.base().index {
            if self.options.has(Defect::CompactTooEarly) {
                progress.sent(None);
                self.hit(Defect::CompactTooEarly, "a follower that needs what is gone");
                return;
            }
            self.begin_snapshot(to);
            return;
        }
        let prev = self.log.id(progress.next - 1);
        let entries = self.log.batch(progress.next, self.options.batch, APPEND_BYTES_MAX).to_vec();
        progress.sent(entries.last().map(|entry| entry.id.index));
        let (term, commit) = (self.hard.term, self.commit);
        self.send(to, Message::Append { term, prev, entries, commit });
    }

    pub(super) fn on_append(
        &mut self,
        from: NodeId,
        prev: EntryId,
        entries: Vec<Entry>,
        commit: u64,
    ) {
        let term = self.hard.term;
        if !self.follow(from) {
            return;
        }
        // What is committed agrees with every leader's log: this append is late.
        if prev.index < self.commit {
            let matched = self.commit;
            self.send(from, Message::AppendReply { term, matched, refused: None });
            return;
        }
        let takes_any = self.has(Defect::NoPrevCheck) && prev.index <= self.log.last().index;
        if takes_any && !self.log.matches(prev) {
            self.hit(Defect::NoPrevCheck, "a place where the logs differ");
        } else if !self.log.matches(prev) {
            let place = self.log.last_not_above(prev.index, prev.term);
            let refused = Some(Hint { refused: prev.index, place });
            self.send(from, Message::AppendReply { term, matched: 0, refused });
            return;
        }
        let verified = prev.index + entries.len() as u64;
        self.take_entries(entries, verified);
        if self.has(Defect::AckBeforeSync) && self.has_unsynced_entries() {
            self.hit(Defect::AckBeforeSync, "entries that nobody synced");
            self.forget_to_sync();
        }
        // Durable here before it is applied here, so that a restart never goes back behind that.
        self.flush();
        self.learn_commit(commit.min(verified), from);
        self.emit(Event::Ack {
            to: from,
            kind: "append".to_owned(),
            in_term: term,
            id: Some(self.log.id(verified)),
            durable_up_to: Some(self.log.last()),
        });
        self.send(from, Message::AppendReply { term, matched: verified, refused: None });
    }

    /// Takes entries that follow a place where the logs agree; the last has the index `verified`.
    fn take_entries(&mut self, mut entries: Vec<Entry>, verified: u64) {
        let known = entries.iter().take_while(|entry| self.log.matches(entry.id)).count();
        entries.drain(..known);
        let own = self.log.last().index;
        if entries.first().is_some_and(|first| first.id.index <= own)
            && self.has(Defect::NoTailTruncation)
        {
            self.hit(Defect::NoTailTruncation, "a conflict with the leader's log");
            entries.retain(|entry| entry.id.index > own);
        }
        if let Some(first) = entries.first() {
            let from = first.id.index;
            assert!(
                from > self.commit || !self.options.defects.is_empty(),
                "the committed entry {from} conflicts with the leader's"
            );
            if from <= own {
                self.truncate(from, "a conflict with the leader's log");
            }
            self.write_entries(entries, "leader");
        } else if self.log.last().index > verified && self.has(Defect::TruncateOnAnyAppend) {
            self.hit(Defect::TruncateOnAnyAppend, "an append that is shorter than the log");
            self.truncate(verified + 1, "the end of the append");
        }
    }

    pub(super) fn on_append_reply(
        &mut self,
        from: NodeId,
        mut matched: u64,
        mut refused: Option<Hint>,
    ) {
        if let Some(hint) = refused
            && self.has(Defect::MatchFromReject)
            && matches!(self.state, State::Leader(_))
        {
            self.hit(Defect::MatchFromReject, "a refused append");
            (matched, refused) = (hint.refused, None);
        }
        let last = self.log.last().index;
        let State::Leader(leading) = &mut self.state else { return };
        let Some(progress) = leading.progress.get_mut(&from) else { return };
        progress.answered(self.now);
        if let Some(Hint { refused, place }) = refused {
            // Skip what of this log cannot be in the follower's, either.
            let hint = self.log.last_not_above(place.index, place.term).index;
            if progress.refused(refused, hint) {
                self.send_append(from);
            }
            return;
        }
        if matched > last {
            return;
        }
        let was_paused = progress.is_paused();
        let news = progress.accepted(matched);
        let behind = progress.next <= last;
        self.hand_over_to(from);
        if news && self.advance_commit() {
            self.broadcast_append();
            self.settle_config();
        } else if behind || was_paused {
            self.send_append(from);
        }
        self.go_on_catching_up();
    }

    /// Commits what a quorum has. Whether that is more than before.
    pub(super) fn advance_commit(&mut self) -> bool {
        // The leader is one of those who have it, once it is durable here.
        self.flush();
        let own = self.log.last().index;
        let State::Leader(leading) = &self.state else { return false };
        let mut known: BTreeMap<_, _> =
            leading.progress.iter().map(|(peer, progress)| (*peer, progress.matched)).collect();
        known.insert(self.id, own);
        let matched = |node: NodeId| known.get(&node).copied().unwrap_or(0);
        let index = self.decide_commit(&matched);
        if index <= self.commit {
            return false;
        }
        let counted = self.counted();
        let quorum: Vec<_> = counted.into_iter().filter(|node| matched(*node) >= index).collect();
        if self.log.term(index) != Some(self.hard.term) {
            if !self.has(Defect::CommitOldTermByCount) {
                return false;
            }
            self.hit(Defect::CommitOldTermByCount, "an entry of an earlier term");
        }
        self.commit = index;
        self.emit(Event::Commit {
            up_to: self.log.id(index),
            quorum: Some(quorum),
            learned_from: None,
            config: Some(self.config_id().index),
        });
        self.apply();
        self.start_early_reads();
        true
    }

    pub(super) fn learn_commit(&mut self, index: u64, from: NodeId) {
        if index <= self.commit || index > self.log.last().index {
            return;
        }
        self.commit = index;
        self.emit(Event::Commit {
            up_to: self.log.id(index),
            quorum: None,
            learned_from: Some(from),
            config: None,
        });
        self.apply();
    }

    /// Applies what is committed, and answers the clients that wait for it.
    fn apply(&mut self) {
        while self.applied < self.commit {
            let Some(entry) = self.log.get(self.applied + 1).cloned() else { return };
            self.applied += 1;
            // A repetition is answered from memory: only what takes effect is told as a session's.
            let (session, serial) = match &entry.command {
                Command::Operate { session: Some((session, serial)), .. }
                    if self.machine.is_new(*session, *serial)
                        || self.has(Defect::NoSessionDedup)
                            && self.machine.has_session(*session) =>
                {
                    (Some(*session), Some(*serial))
                }
                _ => (None, None),
            };
            let answer = self.apply_to_machine(&entry);
            self.emit(Event::Apply {
                id: entry.id,
                digest: entry.digest(),
                state_digest: Some(self.machine.digest()),
                session,
                serial,
            });
            if matches!(entry.command, Command::Configure(_)) {
                self.note_config("commit", entry.id);
            }
            self.answer(&entry, answer);
        }
        self.serve_forwarded();
    }

    /// Applies an entry, as the defects have it that are about that.
    fn apply_to_machine(&mut self, entry: &Entry) -> Answer {
        if self.has(Defect::AppliedIndexBeforeData) {
            self.misled.state_before = Some(self.machine.save());
        }
        let Command::Operate { session: Some((session, serial)), f, key, value } = &entry.command
        else {
            return self.machine.apply(entry);
        };
        if self.has(Defect::SessionExpiryLocalClock) {
            let used = self.misled.sessions_used.insert(*session, self.now);
            if used.is_some_and(|used| self.now.since(used) > SESSION_IDLE_MAX) {
                self.hit(Defect::SessionExpiryLocalClock, "a session that was idle here");
                self.machine.forget(*session);
            }
        }
        if self.has(Defect::NoSessionDedup)
            && self.machine.has_session(*session)
            && !self.machine.is_new(*session, *serial)
        {
            self.hit(Defect::NoSessionDedup, "an operation that was done before");
            let (f, key, value) = (*f, key.clone(), value.clone());
            let command = Command::Operate { session: None, f, key, value };
            return self.machine.apply(&Entry { id: entry.id, command });
        }
        self.machine.apply(entry)
    }

    pub(super) fn note_heartbeat(
        &mut self,
        dir: &str,
        peer: Option<NodeId>,
        msg_term: u64,
        leader: NodeId,
        commit: u64,
        reason: &str,
    ) {
        let reason = (!reason.is_empty()).then(|| reason.to_owned());
        let dir = dir.to_owned();
        self.emit(Event::Heartbeat { dir, peer, msg_term, leader, commit: Some(commit), reason });
    }
}
