//! What every target holds its reader to.

use usurper_checks::{
    Judgement, Means,
    formats::{Format, Source, write_jepsen_edn},
};

/// Reads bytes strictly and leniently, and judges what they are. Two files, where the format is one
/// of many, are divided by a line of their own.
pub fn read(data: &[u8], format: Format) {
    let _ = read_once(data, None, true);
    let strict = read_once(data, Some(format), false);
    let lenient = read_once(data, Some(format), true);
    assert!(strict.is_none() || lenient.is_some());
}

fn read_once(data: &[u8], format: Option<Format>, lenient: bool) -> Option<()> {
    const DIVIDER: &[u8] = b"\n---\n";
    let many = format.is_some_and(Format::is_of_many_files);
    let place = data.windows(DIVIDER.len()).position(|bytes| bytes == DIVIDER).filter(|_| many);
    let sources = match place {
        Some(place) => vec![
            Source::bytes("one", &data[..=place]),
            Source::bytes("two", &data[place + DIVIDER.len()..]),
        ],
        None => vec![Source::bytes("one", data)],
    };
    let imported = usurper_checks::formats::read(sources, format, lenient).ok()?;
    let skipped = imported.report().skipped;
    let mut text = Vec::new();
    let records = imported.records.iter().map(|(_, record)| record);
    if write_jepsen_edn(records, &mut text).expect("memory takes everything") > 0 {
        let again = vec![Source::bytes("again", &text)];
        usurper_checks::formats::read(again, Some(Format::JepsenEdn), true).expect("what we write can be read");
    }
    // A search is bounded by the operations that fit into a small input, and by this.
    if imported.records.len() < 64
        && let Ok(verdict) = imported.judge(&Means::default())
    {
        assert!(skipped == 0 || verdict.judgement != Judgement::Valid);
    }
    Some(())
}
