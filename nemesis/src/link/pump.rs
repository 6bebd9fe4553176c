//! Carries one direction of one connection over a link.
//!
//! While nothing touches the link, whatever was read is written as it is; only where frames begin is
//! kept in mind. Otherwise whole messages go through the link's conditions and a queue.
//!
//! The end of a connection is the last thing that it sends: it waits behind held and late messages
//! and does not cross a wall, so that a node whose peer died behind a partition is not told. A peer
//! that is gone in the meantime is written to in vain, as a host that is off would be.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
    time::{Instant, sleep_until},
};
use usurper_history::frame::{Frame, Kind};

use super::{
    Wire,
    framing::Framing,
    queue::Queue,
    rule::Summary,
    state::{Gate, LinkState},
};

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 18;

/// Why a connection must be broken off.
#[derive(Debug)]
pub(crate) enum Broken {
    /// One side did.
    Reset,
    /// One side sent what is no frame.
    Garbage,
}

/// Whether one direction has told its end to the other side.
#[derive(Debug, Default)]
pub(crate) struct Ended(AtomicBool);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing more will be sent.
    Finished,
    Reset,
}

#[derive(Debug)]
pub(crate) struct Pump {
    link: Arc<LinkState>,
    connection: u64,
    summary: watch::Receiver<Summary>,
    random: StdRng,
    framing: Framing,
    /// What was read and not looked at yet.
    buffer: Vec<u8>,
    queue: Queue,
    /// What is being written, and how much of it has been.
    out: Vec<u8>,
    written: usize,
    /// How the stream ended, and when that may be told.
    end: Option<(End, Instant)>,
    /// The other side takes nothing any more.
    deaf: bool,
}

impl Pump {
    /// `first`: what was read from the connection already.
    pub(crate) fn new(link: Arc<LinkState>, connection: u64, seed: u64, first: Vec<u8>) -> Self {
        let mut summary = link.subscribe();
        // The first look must not miss what changed since the connection was let in.
        summary.mark_changed();
        Self {
            link,
            connection,
            summary,
            random: StdRng::seed_from_u64(seed),
            framing: Framing::default(),
            buffer: first,
            queue: Queue::default(),
            out: Vec::new(),
            written: 0,
            end: None,
            deaf: false,
        }
    }

    /// Carries until the end of the stream has been told.
    ///
    /// # Errors
    /// When the connection is to be broken off instead.
    pub(crate) async fn carry(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        own: &Ended,
        other: &Ended,
    ) -> Result<(), Broken> {
        let mut fresh = !self.buffer.is_empty();
        loop {
            let news = self.summary.has_changed().unwrap_or(false);
            let summary = *self.summary.borrow_and_update();
            if self.deaf {
                self.forget();
                if self.end.is_some() {
                    own.0.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                if other.0.load(Ordering::Relaxed) {
                    // The other direction has ended, so nothing else would tell the sender.
                    return Err(Broken::Reset);
                }
                self.make_room();
                let read = from.read_buf(&mut self.buffer).await;
                self.note_end(&read);
                continue;
            }
            if !news && !summary.touched && self.is_idle() {
                if !std::mem::take(&mut fresh) && !self.read_while_untouched(&mut from).await {
                    continue;
                }
                let passing = self.passing()?;
                self.deaf = to.write_all(&self.buffer[..passing]).await.is_err();
                self.buffer.drain(..passing);
                continue;
            }
            // Whatever a turn leaves in the buffer must not wait for the next read.
            fresh = true;
            let wake = self.turn(news)?;
            if self.may_tell_end(wake) {
                own.0.store(true, Ordering::Relaxed);
                if self.end.is_some_and(|(end, _)| end == End::Reset) {
                    return Err(Broken::Reset);
                }
                // An error means that the other side is gone, too.
                let _ = to.shutdown().await;
                return Ok(());
            }
            let bytes_stay = summary.walled && self.link.wire() == Wire::Bytes;
            let reading = self.end.is_none() && !self.queue.is_full() && !bytes_stay;
            if reading {
                self.make_room();
            }
            tokio::select! {
                changed = self.summary.changed() => {
                    if changed.is_err() {
                        return Err(Broken::Reset);
                    }
                    self.summary.mark_changed();
                }
                read = from.read_buf(&mut self.buffer), if reading => self.note_end(&read),
                wrote = to.write(&self.out[self.written..]), if self.is_writing() => match wrote {
                    Ok(bytes) => self.written += bytes,
                    Err(_) => self.deaf = true,
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// Nothing is under way that has to go first.
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.is_writing() && self.end.is_none()
    }

    fn is_writing(&self) -> bool {
        self.written < self.out.len()
    }

    fn make_room(&mut self) {
        if self.buffer.capacity() - self.buffer.len() < CHUNK_BYTES / 4 {
            self.buffer.reserve(CHUNK_BYTES);
        }
    }

    /// Reads; says whether what was read may pass as it is.
    async fn read_while_untouched(&mut self, from: &mut (impl AsyncRead + Unpin)) -> bool {
        self.make_room();
        tokio::select! {
            // A change that came first counts for what comes after it.
            biased;
            _ = self.summary.changed() => {
                self.summary.mark_changed();
                false
            }
            read = from.read_buf(&mut self.buffer) => {
                self.note_end(&read);
                self.end.is_none() && !self.summary.has_changed().unwrap_or(true)
            }
        }
    }

    fn note_end(&mut self, read: &io::Result<usize>) {
        let end = match read {
            Ok(1..) => return,
            Ok(0) => End::Finished,
            Err(_) => End::Reset,
        };
        let waits = self.link.lock().waits(None, &mut self.random);
        let wait = waits.into_iter().map(|(_, wait)| wait).sum();
        self.end = Some((end, Instant::now() + wait));
    }

    /// How much of the buffer passes as it is.
    fn passing(&mut self) -> Result<usize, Broken> {
        match self.link.wire() {
            Wire::Frames => self.framing.pass(&self.buffer).map_err(|_| Broken::Garbage),
            Wire::Bytes => Ok(self.buffer.len()),
        }
    }

    /// Moves messages from the buffer to the queue and from there to what is written. Says when to
    /// look again.
    fn turn(&mut self, news: bool) -> Result<Option<Instant>, Broken> {
        let now = Instant::now();
        let link = Arc::clone(&self.link);
        let mut inner = link.lock();
        if news {
            inner.settle(self.connection, &mut self.queue, &mut self.random, now);
            if let Some((_, due)) = &mut self.end
                && inner.waits(None, &mut self.random).is_empty()
            {
                *due = now;
            }
        }
        if !self.is_writing() {
            self.out.clear();
            self.written = 0;
        }
        // The rest of a frame that has been begun is past all conditions.
        let begun = self.framing.finish(&self.buffer);
        self.out.extend_from_slice(&self.buffer[..begun]);
        let mut at = begun;
        while !self.queue.is_full() {
            let rest = &self.buffer[at..];
            let (kind, length) = match self.link.wire() {
                Wire::Frames => match Frame::length(rest).map_err(|_| Broken::Garbage)? {
                    Some(length) if length <= rest.len() => (Kind::from_byte(rest[3]), length),
                    _ => break,
                },
                Wire::Bytes if rest.is_empty() => break,
                Wire::Bytes => (None, rest.len()),
            };
            if kind.is_none() && self.link.wire() == Wire::Frames {
                return Err(Broken::Garbage);
            }
            let bytes = rest[..length].to_vec();
            inner.arrive(self.connection, kind, bytes, &mut self.queue, &mut self.random, now);
            at += length;
        }
        self.buffer.drain(..at);
        if !self.framing.is_between() {
            if self.end.is_some() {
                // The frame will never be whole, and nothing can follow half a frame.
                inner.orphan(self.queue.len());
                self.queue.clear();
            }
            return Ok(None);
        }
        while self.out.len() < CHUNK_BYTES {
            let Some((index, due)) = self.queue.next() else { break };
            if due > now {
                return Ok(Some(due));
            }
            let item = self.queue.peek(index);
            match inner.gate(item.kind, item.bytes.len(), now) {
                Gate::Pass => self.out.append(&mut self.queue.take(index).bytes),
                Gate::PassPart(most) => self.out.append(&mut self.queue.split(index, most)),
                Gate::Swallow => drop(self.queue.take(index)),
                Gate::Until(free_at) => return Ok(Some(free_at)),
                Gate::Shut => return Ok(None),
            }
        }
        let end_due =
            self.end.map(|(_, due)| due).filter(|due| self.queue.is_empty() && *due > now);
        Ok(end_due)
    }

    /// Whether everything has been carried that comes before the end.
    fn may_tell_end(&self, wake: Option<Instant>) -> bool {
        self.end.is_some()
            && self.queue.is_empty()
            && !self.is_writing()
            && wake.is_none()
            && self.link.lock().lets_end(self.connection)
    }

    /// Throws away what nobody takes.
    fn forget(&mut self) {
        self.buffer.clear();
        self.out.clear();
        self.written = 0;
        self.link.lock().orphan(self.queue.len());
        self.queue.clear();
    }
}
