//! The corpus of the fuzz targets, as it is and damaged: whatever the bytes, a history or an error,
//! and where a line was skipped, nothing is valid.

use std::path::PathBuf;

use usurper_checks::{
    Judgement,
    formats::{Format, Imported, write_jepsen_edn},
};

use super::texts;

/// How often each file is damaged.
const MUTATIONS: usize = 200;

fn corpus() -> Vec<(Format, PathBuf, Vec<u8>)> {
    let root = format!("{}/../fuzz/corpus", env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for format in Format::ALL {
        let folder = format!("{root}/{}", format.name().replace('-', "_"));
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
        for entry in entries {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            files.push((*format, path, bytes));
        }
    }
    files.sort_by(|a, b| a.1.cmp(&b.1));
    files
}

/// Reads bytes strictly and leniently, judges what they are, and holds the one against the other.
fn check(bytes: &[u8], format: Option<Format>) {
    let strict = texts(&[bytes], format, false);
    let lenient = texts(&[bytes], format, true);
    if let Ok(imported) = &strict {
        let read = lenient.as_ref().expect("lenient reading takes what strict reading takes");
        assert_eq!(read.records, imported.records);
        assert_eq!(read.report().skipped, 0);
    }
    for imported in [strict, lenient].into_iter().flatten() {
        let skipped = imported.report().skipped;
        round_trip(&imported);
        let Ok(verdict) = imported.judge(&usurper_checks::Means::default()) else { continue };
        assert!(skipped == 0 || verdict.judgement != Judgement::Valid);
    }
}

/// What is read from any format can be written as EDN and read again.
fn round_trip(imported: &Imported) {
    let records: Vec<_> = imported.records.iter().map(|(_, record)| record.clone()).collect();
    let mut text = Vec::new();
    if write_jepsen_edn(&records, &mut text).unwrap() == 0 {
        return;
    }
    let again = texts(&[&text], Some(Format::JepsenEdn), true);
    assert!(again.is_ok(), "{again:?}");
}

#[test]
fn every_file_of_the_corpus_is_a_history_or_an_error() {
    let corpus = corpus();
    assert!(corpus.len() >= 12, "{}", corpus.len());
    for (format, path, bytes) in &corpus {
        check(bytes, Some(*format));
        check(bytes, None);
        // A file that is named for it is whole.
        if path.file_name().unwrap().to_string_lossy().starts_with("whole") {
            let imported = texts(&[bytes], None, false).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(imported.format, *format, "{}", path.display());
        }
    }
}

#[test]
fn damaged_files_are_histories_or_errors() {
    let corpus = corpus();
    let mut random = Random(7);
    for (format, _, bytes) in &corpus {
        for _ in 0..MUTATIONS {
            let mut damaged = bytes.clone();
            for _ in 0..=random.below(3) {
                damage(&mut damaged, &mut random);
            }
            check(&damaged, Some(*format));
        }
    }
}

/// One damage of a kind that disks, editors and two writers do.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let place = random.below(bytes.len());
    let other = random.below(bytes.len());
    let (from, to) = (place.min(other), place.max(other));
    match random.below(6) {
        0 => bytes[place] ^= 1 << random.below(8),
        1 => bytes.truncate(place),
        2 => drop(bytes.drain(from..to.min(from + 40))),
        3 => {
            let copy = bytes[from..to.min(from + 200)].to_vec();
            bytes.splice(other..other, copy);
        }
        4 => bytes[place] = *b"\n{}[]\"\\:;#@".get(random.below(11)).unwrap_or(&b' '),
        _ => {
            // Two lines change places.
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            let (one, other) = (random.below(lines.len()), random.below(lines.len()));
            lines.swap(one, other);
            *bytes = lines.concat();
        }
    }
}

/// A small generator (xorshift), so that a failure is the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}
