//! A disk that can be told to misbehave as disks do.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use usurper_history::control::{DiskError, DiskOp};

/// How the files of a node's log are written and synced.
#[derive(Debug, Default)]
pub struct Disk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stalled: bool,
    delay: Duration,
    failure: Option<Failure>,
    /// Counts the restorations, so that whoever waits out a delay notices one.
    restored: u64,
    /// A sync that a stall or a delay holds now.
    held: bool,
    syncs: u64,
    failures: u64,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    op: DiskOp,
    error: DiskError,
    /// How often yet; for ever if absent.
    left: Option<u32>,
}

impl Disk {
    /// Writes all of `bytes` to the file.
    ///
    /// # Errors
    /// When the real disk fails, or this one was told to. As on a full disk, a part of the bytes is in
    /// the file then.
    pub(crate) fn write_all_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        match self.lock().fails(DiskOp::Write) {
            None => file.write_all_at(bytes, at),
            Some(error) => {
                file.write_all_at(&bytes[..bytes.len() / 2], at)?;
                Err(error)
            }
        }
    }

    /// Makes what was written to the file durable, however long that takes.
    ///
    /// # Errors
    /// When the real disk fails, or this one was told to.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        self.wait();
        if let Some(error) = self.lock().fails(DiskOp::Sync) {
            return Err(error);
        }
        file.sync_data()?;
        self.lock().syncs += 1;
        Ok(())
    }

    /// Whether a sync would block now.
    pub(crate) fn is_stalled(&self) -> bool {
        self.lock().stalled
    }

    /// Waits until a sync would not block.
    pub(crate) fn wait_until_restored(&self) {
        let state = self.lock();
        let waited = self.changed.wait_while(state, |state| state.stalled);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits as long as a sync is held.
    fn wait(&self) {
        let mut state = self.lock();
        state.held = state.stalled || !state.delay.is_zero();
        while state.stalled {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // The disk that was slow when the sync came may be restored while it waits.
        let (delay, restored) = (state.delay, state.restored);
        let waited =
            self.changed.wait_timeout_while(state, delay, |state| state.restored == restored);
        waited.unwrap_or_else(PoisonError::into_inner).0.held = false;
    }

    pub(super) fn stall(&self) {
        self.lock().stalled = true;
    }

    pub(super) fn slow(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    pub(crate) fn fail(&self, op: DiskOp, error: DiskError, count: Option<u32>) {
        self.lock().failure = Some(Failure { op, error, left: count });
    }

    pub(super) fn restore(&self) {
        let mut state = self.lock();
        state.stalled = false;
        state.delay = Duration::ZERO;
        state.failure = None;
        state.restored += 1;
        self.changed.notify_all();
    }

    pub(super) fn describe(&self) -> String {
        let state = self.lock();
        let mut parts = Vec::new();
        if state.stalled {
            parts.push("syncs stall".to_owned());
        }
        if !state.delay.is_zero() {
            parts.push(format!("syncs take {:?} longer", state.delay));
        }
        if let Some(Failure { op, error, left }) = state.failure {
            let left = left.map_or("until restored".to_owned(), |left| format!("{left} times yet"));
            parts.push(format!("each {op} fails with {error}, {left}"));
        }
        if state.held {
            parts.push("one sync waits".to_owned());
        }
        let bent = if parts.is_empty() { "sound".to_owned() } else { parts.join(", ") };
        format!("disk: {bent} ({} syncs done, {} failed)", state.syncs, state.failures)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The error that such a use meets now, if it is told to meet one.
    fn fails(&mut self, op: DiskOp) -> Option<io::Error> {
        let failure = self.failure.as_mut().filter(|failure| failure.op == op)?;
        let error = failure.error;
        match &mut failure.left {
            None => {}
            Some(0) => return None,
            Some(left) => {
                *left -= 1;
                if *left == 0 {
                    self.failure = None;
                }
            }
        }
        self.failures += 1;
        Some(io::Error::from_raw_os_error(match error {
            DiskError::Io => nix::libc::EIO,
            DiskError::Full => nix::libc::ENOSPC,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        sync::{Arc, mpsc},
        thread,
        time::Duration,
    };

    use usurper_history::control::{DiskError, DiskOp};

    use super::Disk;

    fn file() -> File {
        tempfile::tempfile().unwrap()
    }

    /// A sync in a thread of its own; a message comes when it has returned.
    fn sync(disk: &Arc<Disk>) -> mpsc::Receiver<std::io::Result<()>> {
        let (sender, done) = mpsc::channel();
        let disk = Arc::clone(disk);
        thread::spawn(move || sender.send(disk.sync(&file())));
        done
    }

    fn wait_until_held(disk: &Disk) {
        while !disk.describe().contains("one sync waits") {
            thread::yield_now();
        }
    }

    #[test]
    fn a_stalled_sync_returns_when_the_disk_is_restored() {
        let disk = Arc::new(Disk::default());
        disk.stall();
        let done = sync(&disk);
        wait_until_held(&disk);
        assert!(done.try_recv().is_err(), "it came through");
        assert!(disk.describe().contains("(0 syncs done"));
        assert!(disk.is_stalled());
        disk.restore();
        disk.wait_until_restored();
        done.recv().unwrap().unwrap();
        assert_eq!(disk.describe(), "disk: sound (1 syncs done, 0 failed)");
    }

    #[test]
    fn a_slow_sync_takes_its_time_or_until_the_disk_is_restored() {
        let disk = Arc::new(Disk::default());
        disk.slow(Duration::from_millis(1));
        sync(&disk).recv().unwrap().unwrap();
        disk.slow(Duration::from_secs(3600));
        let done = sync(&disk);
        wait_until_held(&disk);
        assert!(done.try_recv().is_err(), "it came through");
        disk.restore();
        done.recv().unwrap().unwrap();
    }

    #[test]
    fn a_sync_fails_as_often_as_it_was_told_to() {
        let disk = Disk::default();
        disk.fail(DiskOp::Sync, DiskError::Io, Some(2));
        for _ in 0..2 {
            let error = disk.sync(&file()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(nix::libc::EIO));
        }
        disk.sync(&file()).unwrap();
        disk.fail(DiskOp::Sync, DiskError::Full, None);
        for _ in 0..5 {
            let error = disk.sync(&file()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(nix::libc::ENOSPC));
        }
        disk.restore();
        disk.sync(&file()).unwrap();
    }

    #[test]
    fn a_write_that_fails_leaves_a_part_behind() {
        let (disk, file) = (Disk::default(), file());
        disk.fail(DiskOp::Write, DiskError::Full, Some(1));
        disk.sync(&file).unwrap();
        disk.write_all_at(&file, b"record", 0).unwrap_err();
        assert_eq!(file.metadata().unwrap().len(), 3);
        disk.write_all_at(&file, b"record", 0).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 6);
    }

    #[test]
    fn a_disk_that_stalls_and_then_fails_does_both() {
        let disk = Arc::new(Disk::default());
        disk.stall();
        disk.fail(DiskOp::Sync, DiskError::Io, None);
        let done = sync(&disk);
        wait_until_held(&disk);
        {
            let mut state = disk.lock();
            state.stalled = false;
            disk.changed.notify_all();
        }
        assert!(done.recv().unwrap().is_err());
    }
}
