//! Reading a history, one record at a time.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use crate::{
    header::{FORMAT_VERSION, Header},
    record::{ParseError, Record},
};

/// A line longer than this is refused rather than read into memory.
pub const LINE_BYTES_MAX: u64 = 16 << 20;

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read line {line}")]
    Io { line: u64, source: io::Error },
    #[error("the file is empty, expected a history's header line")]
    Empty,
    #[error("line 1 is not the header of a history: {0}")]
    Header(#[source] serde_json::Error),
    #[error(
        "the history has format version {found}, this usurper reads up to {FORMAT_VERSION}; a newer usurper wrote it"
    )]
    Newer { found: u32 },
    #[error("line {line}: {source}")]
    Line { line: u64, source: ParseError },
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes")]
    TooLong { line: u64 },
}

/// A last line that has no end, as a killed writer leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornLine {
    /// Its number, from 1.
    pub line: u64,
    pub bytes: usize,
}

/// Streams the records of a history, in the order of the file, each with its line number (from 1;
/// the header is line 1).
///
/// A torn last line ends the stream and is reported by [`Reader::torn`]; any other bad line is an
/// error with its number.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
    line: u64,
    buffer: Vec<u8>,
    torn: Option<TornLine>,
    done: bool,
}

impl Reader<BufReader<File>> {
    /// Opens a history file.
    ///
    /// # Errors
    /// When it cannot be opened or has no readable header.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|source| ReadError::Io { line: 0, source })?;
        Self::new(BufReader::with_capacity(1 << 16, file))
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When the header is missing, malformed, or of a newer version.
    pub fn new(mut input: R) -> Result<Self, ReadError> {
        let mut buffer = Vec::new();
        if read_line(&mut input, &mut buffer, 1)?.is_none() {
            return Err(ReadError::Empty);
        }
        let header = parse_header(&buffer)?;
        Ok(Self { input, header, line: 1, buffer, torn: None, done: false })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The torn last line, once the stream has ended there.
    pub fn torn(&self) -> Option<TornLine> {
        self.torn
    }

    fn read_record(&mut self) -> Result<Option<(u64, Record)>, ReadError> {
        let ended = read_line(&mut self.input, &mut self.buffer, self.line + 1)?;
        let Some(ended) = ended else { return Ok(None) };
        self.line += 1;
        match Record::parse(&self.buffer) {
            Ok(record) => Ok(Some((self.line, record))),
            Err(_) if !ended => {
                self.torn = Some(TornLine { line: self.line, bytes: self.buffer.len() });
                Ok(None)
            }
            Err(source) => Err(ReadError::Line { line: self.line, source }),
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<(u64, Record), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.read_record().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Reads a line without its newline. `None` at the end, else whether the line was ended.
fn read_line<R: BufRead>(
    input: &mut R,
    buffer: &mut Vec<u8>,
    line: u64,
) -> Result<Option<bool>, ReadError> {
    buffer.clear();
    let read = input
        .take(LINE_BYTES_MAX + 1)
        .read_until(b'\n', buffer)
        .map_err(|source| ReadError::Io { line, source })?;
    if read == 0 {
        return Ok(None);
    }
    let ended = buffer.last() == Some(&b'\n');
    if ended {
        buffer.pop();
    } else if read as u64 > LINE_BYTES_MAX {
        return Err(ReadError::TooLong { line });
    }
    Ok(Some(ended))
}

/// The version is looked at first, so that a newer header is named as such whatever else it holds.
fn parse_header(line: &[u8]) -> Result<Header, ReadError> {
    #[derive(serde::Deserialize)]
    struct Version {
        #[serde(rename = "usurper-history")]
        version: u32,
    }
    let Version { version } = serde_json::from_slice(line).map_err(ReadError::Header)?;
    if version > FORMAT_VERSION {
        return Err(ReadError::Newer { found: version });
    }
    serde_json::from_slice(line).map_err(ReadError::Header)
}
