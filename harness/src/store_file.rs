//! The small JSON files of a store: written at once or not at all, and read with their version.

use std::{fs, io, path::Path};

use anyhow::{Context, anyhow};
use serde::{Serialize, de::DeserializeOwned};

use crate::failure::Failure;

/// Writes `name` into a folder, at once or not at all.
pub(crate) fn write(folder: &Path, name: &str, value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value).expect("it holds nothing that JSON cannot");
    let temporary = folder.join(format!(".{name}"));
    let path = folder.join(name);
    fs::write(&temporary, json)
        .and_then(|()| fs::rename(&temporary, &path))
        .with_context(|| format!("cannot write `{}`", path.display()))
        .map_err(Failure::harness)
}

/// Reads `name` from a folder; nothing where it is not there.
///
/// # Errors
/// When it cannot be read, or has another version than `known`.
pub(crate) fn read<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
    version: impl Fn(&T) -> u32,
    known: u32,
) -> Result<Option<T>, Failure> {
    let path = folder.join(name);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| anyhow!(error)),
    };
    let parsed = text.and_then(|text| Ok(serde_json::from_str::<T>(&text)?));
    let value = parsed.and_then(|value| match version(&value) {
        version if version == known => Ok(value),
        newer => Err(anyhow!("it has version {newer}, this usurper reads {known}")),
    });
    value
        .map(Some)
        .with_context(|| format!("cannot read `{}`", path.display()))
        .map_err(Failure::usage)
}
