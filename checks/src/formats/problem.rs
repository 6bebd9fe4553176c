//! What can be wrong with a file that others wrote, and how it is said.

use std::io;

use usurper_history::{LINE_BYTES_MAX, ParseError, ReadError};

use super::Format;

/// Why files cannot be read as a history.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("cannot read `{file}`")]
    Io { file: String, source: io::Error },
    #[error("`{file}` line {line}: {problem}")]
    Line { file: String, line: u64, problem: Problem },
    #[error("`{file}` is in no format that is known, expected one of {}", formats())]
    Unrecognised { file: String },
    #[error("`{file}` holds nothing that is {format}: no {expected}")]
    Nothing { file: String, format: Format, expected: &'static str },
    #[error("a history in the format {format} is one file, and there are {files}")]
    OneFile { format: Format, files: usize },
    #[error("`{one}` and `{other}` are both of server {server}")]
    SameServer { one: String, other: String, server: String },
    #[error(
        "these are logs of two clusters: most servers begin again with an empty disk, the last at \
         `{file}` line {line}; cut the files there"
    )]
    TwoClusters { file: String, line: u64 },
    #[error("there are {servers} servers, this usurper tells up to 255 apart")]
    TooManyServers { servers: usize },
    #[error("cannot read `{file}`")]
    History { file: String, source: ReadError },
}

/// What is wrong with one line.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("bytes that are no text, expected UTF-8")]
    NotUtf8,
    #[error("longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    #[error("truncated: the file ends within the {what} that begins here")]
    Truncated { what: &'static str },
    #[error("interleaved: the operation that begins here has no end before line {next}")]
    Interleaved { next: u64 },
    #[error("`{text}`, expected {expected}")]
    Malformed { text: String, expected: &'static str },
    #[error(
        "the text `\"{text}\"` cannot be told from the `{text}` without quotes that is there, too"
    )]
    TwoKinds { text: String },
    #[error("{0}")]
    Record(#[source] ParseError),
    #[error("process {process} completes an operation that it completed in line {before}")]
    CompletedTwice { process: u32, before: u64 },
    #[error("process {process} completes an operation that it never invoked")]
    NeverInvoked { process: u32 },
    #[error("process {process} invokes an operation while that of line {before} is open")]
    InvokedTwice { process: u32, before: u64 },
    #[error("process {process} completes the {asked} of line {before} as {told}")]
    OtherOperation { process: u32, before: u64, asked: String, told: String },
    #[error("out of order: {what} {here} comes after {what} {above}")]
    OutOfOrder { what: &'static str, here: u64, above: u64 },
    #[error("duplicated: {what} {here} was there before")]
    Duplicated { what: &'static str, here: u64 },
}

impl Problem {
    /// A line that is not what is expected; as much of it as a message can take.
    pub(super) fn malformed(text: &str, expected: &'static str) -> Self {
        const SHOWN_MAX: usize = 100;
        let mut shown: String = text.chars().take(SHOWN_MAX).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self::Malformed { text: shown, expected }
    }
}

fn formats() -> String {
    let names: Vec<String> = Format::ALL.iter().map(|format| format!("`{format}`")).collect();
    names.join(", ")
}
