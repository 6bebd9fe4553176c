//! The formats that are read, and how each is told by what a file holds.

use std::fmt;

use super::{dialect::Dialect, input::Source, jepsen_text::words_of, problem::FormatError};

/// How much of a file is looked at.
const HEAD_BYTES: u64 = 64 << 10;
/// Of how many lines.
const HEAD_LINES: usize = 500;

/// A format of histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Our own JSON Lines.
    Usurper,
    /// Jepsen's `history.edn`.
    JepsenEdn,
    /// Jepsen's printed operations on one register.
    JepsenText,
    /// The textual key-value logs of Porcupine's tests.
    PorcupineKv,
    /// Logs of etcd servers, one file each.
    Etcd,
    /// Logs of ZooKeeper servers, one file each.
    Zookeeper,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Dialect> for Format {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Etcd => Self::Etcd,
            Dialect::Zookeeper => Self::Zookeeper,
        }
    }
}

impl Format {
    /// Every format.
    pub const ALL: &[Self] = &[
        Self::Usurper,
        Self::JepsenEdn,
        Self::JepsenText,
        Self::PorcupineKv,
        Self::Etcd,
        Self::Zookeeper,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usurper => "usurper",
            Self::JepsenEdn => "jepsen-edn",
            Self::JepsenText => "jepsen-text",
            Self::PorcupineKv => "porcupine-kv",
            Self::Etcd => "etcd",
            Self::Zookeeper => "zookeeper",
        }
    }

    /// Whether the files of one cluster are one history.
    pub fn is_of_many_files(self) -> bool {
        matches!(self, Self::Etcd | Self::Zookeeper)
    }

    /// Tells a file's format by its first lines: the first line that only one format has decides.
    ///
    /// # Errors
    /// When the file cannot be read, or no line is of any format.
    pub fn detect(source: &mut Source<'_>) -> Result<Self, FormatError> {
        let head = source.peek(HEAD_BYTES);
        let file = source.name.clone();
        let head = head.map_err(|source| FormatError::Io { file: file.clone(), source })?;
        let lines = head.split(|byte| *byte == b'\n').take(HEAD_LINES);
        let mut lines = lines.filter_map(|line| std::str::from_utf8(line).ok());
        lines.find_map(of_line).ok_or(FormatError::Unrecognised { file })
    }
}

fn of_line(line: &str) -> Option<Format> {
    let line = line.trim();
    if line.starts_with('{') && line.contains("\"usurper-history\"") {
        return Some(Format::Usurper);
    }
    let begins_map = ["{:", "[{:", "({:", "#jepsen.", "[#jepsen."];
    if begins_map.iter().any(|begin| line.starts_with(begin)) {
        let texts = [":f :get", ":f :put", ":f :append"];
        let keyed = line.contains(":key \"") && texts.iter().any(|f| line.contains(f));
        return Some(if keyed { Format::PorcupineKv } else { Format::JepsenEdn });
    }
    if words_of(line).is_some() {
        return Some(Format::JepsenText);
    }
    [Dialect::Zookeeper, Dialect::Etcd]
        .into_iter()
        .find(|dialect| matches!(dialect.line(line), Ok(Some(_))))
        .map(Format::from)
}
