//! What the faults of a file share: damage that can be undone as long as nobody has built on it.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use usurper_history::NodeId;

use super::Host;

/// What it takes to put a damaged file right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    /// What belongs at this place.
    pub at: u64,
    pub bytes: Vec<u8>,
    /// The length of the file as it was left. With another one somebody has written since.
    pub length: u64,
}

impl Damage {
    /// Inverts one byte, by its offset or in the middle of the file, after noting how to undo it.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is too short.
    pub(super) fn flip(
        path: &Path,
        at: Option<u64>,
        note: impl FnOnce(Self),
    ) -> io::Result<String> {
        let file = open(path)?;
        let length = file.metadata()?.len();
        let at = at.unwrap_or(length / 2);
        if at >= length {
            return Err(io::Error::other(format!("it has {length} bytes, no byte {at}")));
        }
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        note(Self { path: path.to_owned(), at, bytes: byte.to_vec(), length });
        file.write_all_at(&[!byte[0]], at)?;
        Ok(format!("byte {at} of {length} is {:#04x} instead of {:#04x}", !byte[0], byte[0]))
    }

    /// Cuts off the last bytes, after noting how to undo it.
    ///
    /// # Errors
    /// When the file cannot be read or cut, or is too short.
    pub(super) fn truncate(path: &Path, count: u64, note: impl FnOnce(Self)) -> io::Result<String> {
        let file = open(path)?;
        let before = file.metadata()?.len();
        let Some(length) = before.checked_sub(count) else {
            return Err(io::Error::other(format!("it has {before} bytes, fewer than {count}")));
        };
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, length)?;
        note(Self { path: path.to_owned(), at: length, bytes, length });
        file.set_len(length)?;
        Ok(format!("{length} bytes are left of {before}"))
    }

    /// Puts right what is as it was left. What somebody has written over since stays.
    fn undo(&self) -> io::Result<bool> {
        let file = open(&self.path)?;
        if file.metadata()?.len() != self.length {
            return Ok(false);
        }
        file.write_all_at(&self.bytes, self.at)?;
        Ok(true)
    }
}

/// Undoes all damage of a node, the latest first.
pub(super) fn repair(node: NodeId, host: &mut dyn Host) -> Result<Option<String>, String> {
    let mut repaired = 0;
    let damages = host.take_damage(node);
    for (index, damage) in damages.iter().enumerate().rev() {
        match damage.undo() {
            Ok(done) => repaired += usize::from(done),
            Err(error) => {
                // What is not put right yet stays to be tried again.
                damages[..=index].iter().for_each(|damage| host.note_damage(node, damage.clone()));
                return Err(format!("{node}: `{}`: {error}", damage.path.display()));
            }
        }
    }
    Ok((!damages.is_empty()).then(|| format!("{node}: {repaired} places of its log put right")))
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Damage;

    #[test]
    fn damage_is_undone_byte_by_byte() {
        let directory = std::env::temp_dir().join(format!("usurper-damage-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("log");
        fs::write(&path, b"abcdef").unwrap();
        let mut noted = Vec::new();
        Damage::flip(&path, None, |damage| noted.push(damage)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc\x9bef");
        Damage::flip(&path, Some(0), |damage| noted.push(damage)).unwrap();
        Damage::truncate(&path, 3, |damage| noted.push(damage)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"\x9ebc");
        assert!(Damage::flip(&path, Some(3), |_| ()).is_err());
        assert!(Damage::truncate(&path, 4, |_| ()).is_err());
        for damage in noted.iter().rev() {
            assert!(damage.undo().unwrap());
        }
        assert_eq!(fs::read(&path).unwrap(), b"abcdef");
        // Somebody has written since.
        let mut noted = None;
        Damage::truncate(&path, 3, |damage| noted = Some(damage)).unwrap();
        fs::write(&path, b"abcxyz").unwrap();
        assert!(!noted.unwrap().undo().unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"abcxyz");
        fs::remove_dir_all(&directory).unwrap();
    }
}
