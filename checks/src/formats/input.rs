//! Files as lines, with a bound on what a line may take of memory.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use usurper_history::LINE_BYTES_MAX;

use super::problem::{FormatError, Problem};

/// A file to read, or what stands for one.
pub struct Source<'a> {
    /// What it is called in messages.
    pub name: String,
    pub(super) input: Box<dyn BufRead + 'a>,
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Source<'a> {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Source<'static>> {
        let file = File::open(path)?;
        let input = Box::new(BufReader::with_capacity(1 << 16, file));
        Ok(Source { name: path.display().to_string(), input })
    }

    /// Bytes that are in memory already.
    pub fn bytes(name: impl Into<String>, bytes: &'a [u8]) -> Self {
        Self { name: name.into(), input: Box::new(bytes) }
    }

    /// The first bytes, which are read again later.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn peek(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        self.input.by_ref().take(bytes_max).read_to_end(&mut head)?;
        let rest = std::mem::replace(&mut self.input, Box::new(io::empty()));
        self.input = Box::new(io::Cursor::new(head.clone()).chain(rest));
        Ok(head)
    }
}

/// One line of a file, without its end.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
    /// Whether it has an end; only the last line can lack one.
    pub(super) ended: bool,
}

/// The lines of one file. What is wrong with one is an error where reading is strict, and counted
/// where it is lenient.
pub(super) struct Lines<'a> {
    source: Source<'a>,
    number: u64,
    lenient: bool,
    skipped: Skipped,
}

/// Lines that were passed over.
#[derive(Clone, Debug, Default)]
pub(super) struct Skipped {
    pub(super) count: u64,
    /// What was wrong with the first of them.
    pub(super) first: Vec<String>,
}

/// How many of the lines that were passed over are named.
const NAMED_MAX: usize = 10;

impl Skipped {
    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        let room = NAMED_MAX.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }
}

impl<'a> Lines<'a> {
    pub(super) fn new(source: Source<'a>, lenient: bool) -> Self {
        Self { source, number: 0, lenient, skipped: Skipped::default() }
    }

    pub(super) fn name(&self) -> &str {
        &self.source.name
    }

    pub(super) fn skipped(self) -> Skipped {
        self.skipped
    }

    /// Says that something is wrong with a line: an error, or one more line that was passed over.
    pub(super) fn bad(&mut self, line: u64, problem: Problem) -> Result<(), FormatError> {
        let file = self.source.name.clone();
        let error = FormatError::Line { file, line, problem };
        if !self.lenient {
            return Err(error);
        }
        self.skipped.count += 1;
        if self.skipped.first.len() < NAMED_MAX {
            self.skipped.first.push(error.to_string());
        }
        Ok(())
    }

    /// The next line, whatever its bytes.
    pub(super) fn next_line(&mut self) -> Result<Option<Line>, FormatError> {
        loop {
            let mut bytes = Vec::new();
            let read = self.read_until_newline(&mut bytes)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            let ended = bytes.last() == Some(&b'\n');
            if ended {
                bytes.pop();
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
            } else if bytes.len() as u64 > LINE_BYTES_MAX {
                self.bad(self.number, Problem::TooLong)?;
                self.pass_over_line()?;
                continue;
            }
            return Ok(Some(Line { number: self.number, bytes, ended }));
        }
    }

    /// The next line that is text.
    pub(super) fn next_text(&mut self) -> Result<Option<(Line, String)>, FormatError> {
        while let Some(mut line) = self.next_line()? {
            match String::from_utf8(std::mem::take(&mut line.bytes)) {
                Ok(text) => return Ok(Some((line, text))),
                Err(_) => self.bad(line.number, Problem::NotUtf8)?,
            }
        }
        Ok(None)
    }

    fn read_until_newline(&mut self, bytes: &mut Vec<u8>) -> Result<usize, FormatError> {
        let read = self.source.input.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', bytes);
        read.map_err(|source| FormatError::Io { file: self.source.name.clone(), source })
    }

    fn pass_over_line(&mut self) -> Result<(), FormatError> {
        loop {
            let mut bytes = Vec::new();
            if self.read_until_newline(&mut bytes)? == 0 || bytes.last() == Some(&b'\n') {
                return Ok(());
            }
        }
    }
}
