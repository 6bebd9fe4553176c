//! The only place that prints: data to stdout, talk to stderr.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use serde::Serialize;

use crate::failure::Failure;

/// Prints data. A closed pipe is the reader's choice and ends nothing.
pub(crate) fn data(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints data as JSON.
///
/// # Errors
/// When it cannot be JSON.
pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).context("cannot print JSON");
    data(&text.map_err(Failure::harness)?);
    Ok(())
}

/// Says something to a person.
pub(crate) fn talk(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// How a word is marked where colour is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Good,
    Bad,
    Unclear,
    Faint,
    Strong,
}

/// Whether stdout wants colour: a terminal, and `NO_COLOR` unset.
pub(crate) fn wants_colour() -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !no_colour
}

/// The text with a colour, or as it is.
pub(crate) fn paint(text: &str, paint: Paint, colour: bool) -> String {
    if !colour {
        return text.to_owned();
    }
    let code = match paint {
        Paint::Good => "32",
        Paint::Bad => "31;1",
        Paint::Unclear => "33",
        Paint::Faint => "2",
        Paint::Strong => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
