//! Writing a history so that a crash of the writer loses nothing that was handed to it.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{header::Header, record::Record};

/// Why a history could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`", path.display())]
pub struct WriteError {
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

/// Appends records to a history.
///
/// What is pushed is in memory until the next flush, which is one `write` to the file: whoever lets
/// something happen that depends on a record has to flush before. What was flushed survives the death
/// of the writer, which can tear at most its last line. Records are in the order in which they were
/// handed over; [`sort_file`] brings a finished history into the order of time.
#[derive(Debug)]
pub struct Writer {
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
}

impl Writer {
    /// Creates the file with its header line. It must not exist yet.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub fn create(path: &Path, header: &Header) -> Result<Self, WriteError> {
        let at = |source| WriteError { path: path.to_owned(), source };
        let file = File::options().append(true).create_new(true).open(path).map_err(at)?;
        let mut writer = Self { file, path: path.to_owned(), buffer: Vec::new() };
        let line = serde_json::to_string(header).map_err(|error| at(error.into()))?;
        writer.push_line(line.as_bytes());
        writer.flush()?;
        Ok(writer)
    }

    /// Appends one record, and what was pushed before it.
    ///
    /// # Errors
    /// When the file cannot be written, for example because the disk is full.
    pub fn append(&mut self, record: &Record) -> Result<(), WriteError> {
        self.push(record);
        self.flush()
    }

    /// Takes a record that is written with the next flush.
    pub fn push(&mut self, record: &Record) {
        serde_json::to_writer(&mut self.buffer, record)
            .expect("records hold nothing that JSON cannot, and memory takes every byte");
        self.buffer.push(b'\n');
    }

    /// Takes a line that is known to be a record, byte for byte.
    pub fn push_line(&mut self, line: &[u8]) {
        self.buffer.extend_from_slice(line);
        self.buffer.push(b'\n');
    }

    /// Writes what was pushed, in one `write`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.buffer);
        // What could not be written now is not tried again: a part of it may stand there.
        self.buffer.clear();
        written.map_err(|source| WriteError { path: self.path.clone(), source })
    }

    /// Flushes the file to the disk.
    ///
    /// # Errors
    /// When the sync fails.
    pub fn sync(&self) -> Result<(), WriteError> {
        self.file.sync_all().map_err(|source| WriteError { path: self.path.clone(), source })
    }
}

#[derive(Deserialize)]
struct Instant {
    t: u64,
}

/// Brings the records of a finished history into the order of time, keeping every byte of each line.
///
/// A node stamps an event before it writes it, so a node that is stopped in between delivers it
/// late. The order of equal times is kept. The file is replaced atomically, or left alone when it is
/// in order already; a last line that is torn stays last.
///
/// # Errors
/// When the file cannot be read or replaced.
pub fn sort_file(path: &Path) -> Result<(), WriteError> {
    let at = |source| WriteError { path: path.to_owned(), source };
    let mut header = Vec::new();
    let mut reader = BufReader::new(File::open(path).map_err(at)?);
    reader.read_until(b'\n', &mut header).map_err(at)?;
    // Where each line is, and when: a long history is not held in memory.
    let mut lines: Vec<(u64, u64, u64)> = Vec::new();
    let mut offset = header.len() as u64;
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(at)? as u64;
        if length == 0 {
            break;
        }
        let t = serde_json::from_slice::<Instant>(&line).map_or(u64::MAX, |instant| instant.t);
        lines.push((t, offset, length));
        offset += length;
    }
    if lines.is_sorted_by_key(|(t, _, _)| *t) {
        return Ok(());
    }
    lines.sort_by_key(|(t, _, _)| *t);
    let temporary = path.with_extension("jsonl.sorting");
    let unsorted = reader.into_inner();
    let mut sorted = BufWriter::new(File::create(&temporary).map_err(at)?);
    sorted.write_all(&header).map_err(at)?;
    // Most lines still follow each other.
    for together in lines.chunk_by(|(_, offset, length), (_, next, _)| offset + length == *next) {
        let start = together[0].1;
        let bytes = together.iter().map(|(_, _, length)| length).sum();
        let mut from = &unsorted;
        from.seek(SeekFrom::Start(start)).map_err(at)?;
        io::copy(&mut from.take(bytes), &mut sorted).map_err(at)?;
    }
    let sorted = sorted.into_inner().map_err(|error| at(error.into_error()))?;
    sorted.sync_all().map_err(at)?;
    fs::rename(&temporary, path).map_err(at)
}
