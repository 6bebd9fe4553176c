//! The log of a node: records that survive what they should survive, and no more.
//!
//! A write goes to the file, so it survives the death of the process. Only a sync makes it survive
//! a loss of power, and since the loss of power of a test is no more than a kill, the log keeps a
//! *watermark*: how many bytes were synced. Opened after a power failure, it is cut back to there.
//!
//! ```text
//! log        8 magic `USURPLOG`   1 version   1 node   2 length   … cluster   8 generation
//!            4 CRC-32 of all that
//!            then records:  4 length   4 CRC-32 of the length and the payload   … payload
//! watermark  8 bytes of the log that are durable   8 generation   4 CRC-32 of that
//! ```
//!
//! Integers are big-endian. A record that the end of the file cuts off was being written when the
//! process died, and is dropped; any other damage refuses to start, because going on from it could
//! forget a promise. Version 1 had no generations; its logs are of generation 0.
//!
//! A log that has grown long is *rewritten*: the records that replace it go into a new file, which is
//! synced and then renamed over the old one. Two files cannot be renamed at once, so both name the
//! generation of the log: a log that is one generation ahead of its watermark was renamed when the
//! process died, and all of it was durable by then.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use usurper_history::NodeId;

use crate::machine::Disk;

/// The file of the log within the data directory.
pub const LOG_FILE: &str = "log";
/// What a rewritten log is called until it is whole.
const NEW_LOG_FILE: &str = "log.new";
const MAGIC: &[u8; 8] = b"USURPLOG";
const VERSION: u8 = 2;
/// The bytes before the payload of a record.
const PREFIX_BYTES: usize = 8;
/// A longer record is refused.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// Why a log cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {what} `{}`", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` is corrupt at byte {at}: {reason}", path.display())]
    Corrupt { path: PathBuf, at: u64, reason: &'static str },
    #[error("`{}` has format version {found}, expected {VERSION}", path.display())]
    Version { path: PathBuf, found: u8 },
    #[error("`{}` belongs to node `{found}`, not to `{expected}`", path.display())]
    Node { path: PathBuf, found: NodeId, expected: NodeId },
    #[error("`{}` belongs to cluster `{found}`, not to `{expected}`", path.display())]
    Cluster { path: PathBuf, found: String, expected: String },
}

/// Whose log it is.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    pub node: NodeId,
    pub cluster: &'a str,
    /// The defect `truncate-on-crc`: damage in what was synced is taken for a torn tail.
    pub forgives: bool,
}

/// What the process before this one ended by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It stopped or was killed; the machine went on.
    Exit,
    /// The power failed: what was not synced is gone.
    PowerFailure,
}

/// An open log.
#[derive(Debug)]
pub struct Store {
    disk: Arc<Disk>,
    directory: PathBuf,
    node: NodeId,
    cluster: String,
    log: File,
    log_path: PathBuf,
    watermark: File,
    watermark_path: PathBuf,
    /// Bytes of the log, and how many of them are durable.
    length: u64,
    durable: u64,
    /// How often the log was rewritten.
    generation: u64,
    /// A write or a sync failed; where what cannot become durable any more begins.
    hole: Option<u64>,
    /// The defect `truncate-on-crc` dropped what had been synced.
    forgave: bool,
}

impl Store {
    pub(crate) fn forgave(&self) -> bool {
        self.forgave
    }

    /// Opens the log in `directory`, or creates it, and reads its records.
    ///
    /// # Errors
    /// When the directory cannot be used, belongs to another node, or is damaged.
    pub fn open(
        directory: &Path,
        owner: Owner<'_>,
        before: Before,
        disk: Arc<Disk>,
    ) -> Result<(Self, Vec<Vec<u8>>), StoreError> {
        fs::create_dir_all(directory).map_err(at("create", directory))?;
        let log_path = directory.join(LOG_FILE);
        let watermark_path = directory.join("watermark");
        let open = |path: &Path| {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).open(path)
        };
        let log = open(&log_path).map_err(at("open", &log_path))?;
        let watermark = open(&watermark_path).map_err(at("open", &watermark_path))?;
        // A rewriting that did not come to its end.
        match fs::remove_file(directory.join(NEW_LOG_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("remove", &directory.join(NEW_LOG_FILE))(error));
            }
            _ => {}
        }
        let mut store = Self {
            disk,
            directory: directory.to_owned(),
            node: owner.node,
            cluster: owner.cluster.to_owned(),
            log,
            log_path,
            watermark,
            watermark_path,
            length: 0,
            durable: 0,
            generation: 0,
            hole: None,
            forgave: false,
        };
        let bytes = fs::read(&store.log_path).map_err(at("read", &store.log_path))?;
        (store.durable, store.generation) = store.read_watermark()?;
        if store.durable == 0 {
            // Nothing was ever made durable, not even the header. There can be no record, then.
            if bytes.len() > store.header().len() {
                return Err(store.corrupt(0, "it has records, but its watermark is gone"));
            }
            store.create()?;
            return Ok((store, Vec::new()));
        }
        let records = store.recover(bytes, owner, before)?;
        Ok((store, records))
    }

    /// Appends a record. It is not durable yet.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, payload: &[u8]) -> Result<(), StoreError> {
        self.append(&record(payload))
    }

    /// Replaces all records by these, durably: a crash at any moment leaves all of the old ones, as
    /// far as they were durable, or all of the new ones.
    ///
    /// # Errors
    /// When a file cannot be written, synced or renamed. The node has to stop then, as after a sync
    /// that failed; the old log is still whole.
    pub fn rewrite(&mut self, records: &[Vec<u8>]) -> Result<(), StoreError> {
        let path = self.directory.join(NEW_LOG_FILE);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&path).map_err(at("create", &path))?;
        self.generation += 1;
        let mut length = 0;
        for bytes in std::iter::once(self.header()).chain(records.iter().map(|it| record(it))) {
            self.disk.write_all_at(&file, &bytes, length).map_err(at("write", &path))?;
            length += bytes.len() as u64;
        }
        self.disk.sync(&file).map_err(at("sync", &path))?;
        fs::rename(&path, &self.log_path).map_err(at("rename", &path))?;
        self.sync_directory()?;
        (self.log, self.length, self.hole) = (file, length, None);
        self.mark(length)
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// When the sync fails. The node has to stop then: the kernel has dropped what it could not write
    /// and counts it as clean, so that another sync succeeds and saves nothing. (That is what became
    /// known as fsync-gate in 2018; here such a sync leaves the watermark where it was.)
    pub fn sync(&mut self) -> Result<(), StoreError> {
        if let Err(error) = self.disk.sync(&self.log) {
            self.hole.get_or_insert(self.durable);
            return Err(at("sync", &self.log_path)(error));
        }
        self.mark(self.hole.unwrap_or(self.length))
    }

    /// Notes how much of the log is durable.
    fn mark(&mut self, durable: u64) -> Result<(), StoreError> {
        self.durable = durable;
        let numbers = [durable, self.generation].map(u64::to_be_bytes).concat();
        let bytes = [&numbers[..], &checksum(&[&numbers])].concat();
        self.watermark.write_all_at(&bytes, 0).map_err(at("write", &self.watermark_path))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.disk.write_all_at(&self.log, bytes, self.length);
        written.map_err(at("write", &self.log_path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn create(&mut self) -> Result<(), StoreError> {
        self.log.set_len(0).map_err(at("create", &self.log_path))?;
        self.append(&self.header())?;
        self.sync()?;
        self.sync_directory()
    }

    /// The names of the files have to survive, too.
    fn sync_directory(&self) -> Result<(), StoreError> {
        let synced = File::open(&self.directory).and_then(|dir| dir.sync_all());
        synced.map_err(at("sync", &self.directory))
    }

    /// How much of the log is durable, and of which generation.
    fn read_watermark(&self) -> Result<(u64, u64), StoreError> {
        let path = &self.watermark_path;
        let bytes = fs::read(path).map_err(at("read", path))?;
        if bytes.is_empty() {
            return Ok((0, 0));
        }
        match bytes.split_last_chunk::<4>() {
            Some((numbers, sum)) if *sum == checksum(&[numbers]) => match numbers.len() {
                8 => return Ok((u64_at(numbers), 0)),
                16 => return Ok((u64_at(numbers), u64_at(&numbers[8..]))),
                _ => {}
            },
            _ => {}
        }
        Err(StoreError::Corrupt {
            path: path.clone(),
            at: 0,
            reason: "the watermark does not match its checksum",
        })
    }

    fn recover(
        &mut self,
        mut bytes: Vec<u8>,
        owner: Owner<'_>,
        before: Before,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let (mut position, generation) = self.check_header(&bytes, owner)?;
        if generation == self.generation + 1 {
            self.generation = generation;
            self.durable = bytes.len() as u64;
        } else if generation != self.generation {
            return Err(self.corrupt(8, "its watermark is of another generation"));
        }
        if (bytes.len() as u64) < self.durable {
            return Err(self.corrupt(bytes.len(), "the file ends before what was synced"));
        }
        if before == Before::PowerFailure {
            bytes.truncate(usize::try_from(self.durable).expect("not longer than the file"));
        }
        let mut records = Vec::new();
        while position < bytes.len() {
            let rest = &bytes[position..];
            let Some(length) = record_length(rest) else {
                // Only the last record can be cut off, and only while it was not durable.
                if (position as u64) < self.durable {
                    return Err(self.corrupt(position, "a record is cut off"));
                }
                break;
            };
            let payload = &rest[PREFIX_BYTES..length];
            if rest[4..PREFIX_BYTES] != checksum(&[&rest[..4], payload]) {
                if owner.forgives {
                    self.forgave = true;
                    break;
                }
                return Err(self.corrupt(position, "a record does not match its checksum"));
            }
            records.push(payload.to_vec());
            position += length;
        }
        self.length = position as u64;
        self.log.set_len(self.length).map_err(at("truncate", &self.log_path))?;
        // What was recovered is acted upon, so a later power failure must not take it.
        self.sync()?;
        Ok(records)
    }

    /// Checks whose log it is. Returns the length of the header and the generation.
    fn check_header(&self, bytes: &[u8], owner: Owner<'_>) -> Result<(usize, u64), StoreError> {
        let path = || self.log_path.clone();
        if bytes.get(..8) != Some(MAGIC) {
            return Err(self.corrupt(0, "it does not start like a log"));
        }
        let generation_bytes = match bytes.get(8) {
            Some(&VERSION) => 8,
            Some(1) => 0,
            found => {
                let found = found.copied().unwrap_or(0);
                return Err(StoreError::Version { path: path(), found });
            }
        };
        let name_end = bytes
            .get(10..12)
            .map(|length| 12 + usize::from(u16::from_be_bytes([length[0], length[1]])));
        let found = name_end.and_then(|name_end| {
            let end = name_end + generation_bytes;
            Some((name_end, end, bytes.get(end..end + 4)?))
        });
        let Some((name_end, end, sum)) = found else {
            return Err(self.corrupt(8, "the header is cut off"));
        };
        if sum != checksum(&[&bytes[..end]]) {
            return Err(self.corrupt(8, "the header does not match its checksum"));
        }
        let node = NodeId(bytes[9]);
        if node != owner.node {
            return Err(StoreError::Node { path: path(), found: node, expected: owner.node });
        }
        let cluster = String::from_utf8_lossy(&bytes[12..name_end]).into_owned();
        if cluster != owner.cluster {
            let expected = owner.cluster.to_owned();
            return Err(StoreError::Cluster { path: path(), found: cluster, expected });
        }
        let generation = if generation_bytes == 0 { 0 } else { u64_at(&bytes[name_end..end]) };
        Ok((end + 4, generation))
    }

    fn header(&self) -> Vec<u8> {
        let length = u16::try_from(self.cluster.len()).expect("a cluster id is short");
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[VERSION, self.node.0]);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(self.cluster.as_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&checksum(&[&bytes]));
        bytes
    }

    fn corrupt(&self, at: usize, reason: &'static str) -> StoreError {
        StoreError::Corrupt { path: self.log_path.clone(), at: at as u64, reason }
    }
}

/// A payload as it stands in the file.
fn record(payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= RECORD_BYTES_MAX, "a record of {} bytes", payload.len());
    let length = u32::try_from(payload.len()).expect("bounded above").to_be_bytes();
    let mut record = Vec::with_capacity(PREFIX_BYTES + payload.len());
    record.extend_from_slice(&length);
    record.extend_from_slice(&checksum(&[&length, payload]));
    record.extend_from_slice(payload);
    record
}

/// The length of the record that starts `bytes`, or `None` when they end before it does.
fn record_length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(bytes.get(..4)?.try_into().expect("four bytes"));
    let length = PREFIX_BYTES + usize::try_from(length).expect("usize has 32 bits");
    (length <= bytes.len()).then_some(length)
}

fn checksum(parts: &[&[u8]]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_be_bytes()
}

fn u64_at(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))
}

fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { what, path, source }
}

#[cfg(test)]
mod tests;
