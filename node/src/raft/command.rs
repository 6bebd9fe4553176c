//! What the log holds: commands, and their digests.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use usurper_history::EntryId;

use super::config::Config;
use crate::protocol::Request;

/// A longer key or value is refused.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// The counter of `advance` without a key.
const COUNTER: &str = "counter";

/// What an entry does when it is applied. Values are JSON as text, because an entry's bytes, and so
/// its digest, must not depend on how a value was spelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A new leader's first entry. It changes nothing, but it commits what came before it.
    Noop,
    /// Opens a client session. Its id is the index of this entry.
    Register,
    /// A client's operation: `f`, its key and its value. `session` with the number of the
    /// operation in it: a second entry with the same pair is answered from the first.
    Operate { session: Option<(u64, u64)>, f: Function, key: String, value: String },
    /// Puts this configuration in force, as soon as the entry is in a log.
    Configure(Config),
}

impl Command {
    /// What a client asks to be put into the log.
    ///
    /// # Errors
    /// When it is nothing of the kind; the text says why.
    pub fn of(request: &Request) -> Result<Self, String> {
        let (f, key, value) = parts(request)?;
        let session = request.session.map(|session| (session.id, session.serial));
        Ok(f.map_or(Self::Register, |f| Self::Operate { session, f, key, value }))
    }

    /// About how many bytes its entry takes in a message.
    pub(crate) fn bytes(&self) -> usize {
        64 + match self {
            Self::Noop | Self::Register => 0,
            Self::Configure(config) => 8 * config.members().len(),
            Self::Operate { key, value, .. } => key.len() + value.len(),
        }
    }
}

/// What a client can ask of the state machine through the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Function {
    Read,
    Write,
    /// The value is `[expected, new]`.
    Cas,
    /// Adds the value to the end of a list.
    Append,
    /// Adds a number to a counter.
    Advance,
    /// Takes a lock that is free. The answer is the fencing token: larger than any before.
    Acquire,
    /// Gives a lock back. The value is the token with which it was taken.
    Release,
    /// Removes a key.
    Delete,
}

/// The function of a request (none: it opens a session), its key and its value as text.
pub(crate) fn parts(request: &Request) -> Result<(Option<Function>, String, String), String> {
    let f = match request.f.as_str() {
        "register" => None,
        "read" => Some(Function::Read),
        "write" => Some(Function::Write),
        "cas" => Some(Function::Cas),
        "append" => Some(Function::Append),
        "advance" | "add" => Some(Function::Advance),
        "acquire" => Some(Function::Acquire),
        "release" => Some(Function::Release),
        "delete" => Some(Function::Delete),
        other => return Err(format!("there is no function `{other}`")),
    };
    let key = match (&request.key, f) {
        (Some(key), _) => key.clone(),
        (None, Some(Function::Advance)) => COUNTER.to_owned(),
        (None, None) => String::new(),
        (None, Some(_)) => return Err(format!("`{}` takes a key", request.f)),
    };
    let value = match (&request.value, f) {
        (None, Some(Function::Read | Function::Acquire | Function::Delete) | None) => {
            "null".to_owned()
        }
        (None, Some(_)) => return Err(format!("`{}` takes a value", request.f)),
        (Some(value), _) => value.to_string(),
    };
    if key.len().max(value.len()) > VALUE_BYTES_MAX {
        return Err(format!("longer than {VALUE_BYTES_MAX} bytes"));
    }
    if f == Some(Function::Advance) && !request.value.as_ref().is_some_and(Value::is_u64) {
        return Err(format!("`{}` takes a number", request.f));
    }
    Ok((f, key, value))
}

/// One place of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: EntryId,
    pub command: Command,
}

impl Entry {
    /// Identifies the command: equal digests, equal commands.
    pub fn digest(&self) -> String {
        let bytes = postcard::to_stdvec(&self.command).expect("a command is plain data");
        format!("{:016x}", fnv1a(&[&bytes]))
    }

    /// About how many bytes it takes in a message.
    pub(crate) fn bytes(&self) -> usize {
        self.command.bytes()
    }

    /// `client`, `noop` or `config`, as the `append` event has it.
    pub fn kind(&self) -> &'static str {
        match self.command {
            Command::Noop => "noop",
            Command::Configure(_) => "config",
            Command::Register | Command::Operate { .. } => "client",
        }
    }
}

/// FNV-1a of 64 bits, over parts that cannot run into each other. Digests tell entries of one run
/// apart; nobody forges them.
pub(crate) fn fnv1a(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        let length = (part.len() as u64).to_be_bytes();
        for byte in length.iter().chain(*part) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use usurper_history::EntryId;

    use super::{Command, Entry, fnv1a};

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(fnv1a(&[b"ab", b"c"]), fnv1a(&[b"a", b"bc"]));
        assert_eq!(fnv1a(&[b"ab", b"c"]), fnv1a(&[b"ab", b"c"]));
    }

    #[test]
    fn a_digest_is_of_the_command_alone() {
        let entry = |term, command| Entry { id: EntryId { term, index: 1 }, command }.digest();
        assert_eq!(entry(1, Command::Noop), entry(2, Command::Noop));
        assert_ne!(entry(1, Command::Noop), entry(1, Command::Register));
    }
}
