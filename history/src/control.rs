//! What the nemesis can tell one of our own nodes about the machine that it runs on.
//!
//! A node of ours plays along: its disk and its clocks are the real ones, bent as it was told. That
//! takes no privilege and works on every machine. A command is one line of JSON to the node's control
//! socket, answered by one line; the same JSON on its command line is in force from the start. It is
//! here for the reason that the frame is: who asks and who obeys must not know each other.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The exit code of a node whose disk failed it. A write or a sync of unknown outcome ends a node: to
/// go on would be to forget what it promised. (`EX_IOERR` of sysexits.h.)
pub const EXIT_DISK_FAILED: i32 = 74;
/// The exit code of a node that cannot use its data: damaged, of another node or a later version.
/// (`EX_DATAERR` of sysexits.h.)
pub const EXIT_BAD_DATA: i32 = 65;
/// A longer command is refused.
pub const COMMAND_BYTES_MAX: usize = 4096;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $( $(#[$variant_doc:meta])* $variant:ident $text:literal ),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $( $(#[$variant_doc])* #[serde(rename = $text)] $variant ),* }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $text),* })
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(format!("`{text}`, expected one of {}", [$(concat!("`", $text, "`")),*].join(", "))),
                }
            }
        }
    };
}

named! {
    /// A way to use the disk.
    DiskOp {
        Write "write",
        Sync "sync",
    }
}

named! {
    /// What a failing disk says.
    DiskError {
        /// The medium failed.
        Io "eio",
        /// No space is left.
        Full "enospc",
    }
}

named! {
    /// A clock of a node.
    ClockName {
        /// What timers run on: monotonic.
        Timer "timer",
        /// The time of day, which an operator can set.
        Wall "wall",
    }
}

named! {
    /// What happens when a node gets to a failpoint.
    FailpointAct {
        /// The process is gone, at once.
        Crash "crash",
        /// It stands still until it is released. Its sockets stay open and fill.
        Pause "pause",
        /// It stands still for a time.
        Delay "delay",
    }
}

/// A change to the machine under a node. Each can be repeated without harm, and replaces an earlier
/// one of its kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "do",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Command {
    /// Syncs block until the disk is restored.
    DiskStall {},
    /// Each sync takes this much longer.
    DiskSlow { delay_ns: u64 },
    /// Writes or syncs fail, so many times or until the disk is restored.
    DiskFail { op: DiskOp, error: DiskError, count: Option<u32> },
    /// The disk works again.
    DiskRestore {},
    /// A clock steps forwards or backwards.
    ClockJump { clock: ClockName, by_ns: i64 },
    /// A clock runs at this multiple of real time from here on.
    ClockRate { clock: ClockName, rate: f64 },
    /// The clocks run true again. The wall clock is also set right; the timer clock, which never goes
    /// back, catches up if it is behind.
    ClockRestore {},
    /// Arms a failpoint, for one hit.
    Failpoint { point: String, act: FailpointAct, delay_ns: u64 },
    /// Disarms all failpoints, and lets go on what stands still at one.
    FailpointRelease {},
    /// Changes nothing.
    Status {},
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// Whether it is in force.
    pub ok: bool,
    /// What is in force now, or why the command is not.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::{Command, DiskError, DiskOp};

    #[test]
    fn a_command_is_one_flat_line() {
        let command =
            Command::DiskFail { op: DiskOp::Sync, error: DiskError::Full, count: Some(2) };
        let text = r#"{"do":"disk-fail","op":"sync","error":"enospc","count":2}"#;
        assert_eq!(serde_json::to_string(&command).unwrap(), text);
        assert_eq!(serde_json::from_str::<Command>(text).unwrap(), command);
        let until_restored = r#"{"do":"disk-fail","op":"sync","error":"enospc"}"#;
        let command: Command = serde_json::from_str(until_restored).unwrap();
        assert!(matches!(command, Command::DiskFail { count: None, .. }));
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for text in [
            r#"{"do":"disk-melt"}"#,
            r#"{"do":"disk-stall","delay-ns":1}"#,
            r#"{"do":"disk-slow"}"#,
            r#"{"do":"disk-slow","delay-ns":-1}"#,
            r#"{"do":"disk-fail","op":"read","error":"eio"}"#,
            "[]",
            "",
        ] {
            assert!(serde_json::from_str::<Command>(text).is_err(), "{text}");
        }
    }
}
