//! Histories that others wrote.

mod bad_input;
mod field;
mod field_rules;
mod jepsen;
mod mutated;

use usurper_checks::{
    Judgement, Means, Verdict,
    formats::{Format, Imported, Source, read},
};

/// Reads texts as files `f1`, `f2`, ….
fn texts<'a>(
    texts: &[&'a [u8]],
    format: Option<Format>,
    lenient: bool,
) -> Result<Imported, String> {
    let source = |(number, text): (usize, &&'a [u8])| Source::bytes(format!("f{number}"), text);
    let sources = (1..).zip(texts).map(source).collect();
    read(sources, format, lenient).map_err(|error| {
        let source = std::error::Error::source(&error);
        source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
    })
}

#[track_caller]
fn verdict(imported: Imported) -> Verdict {
    imported.judge(&Means::default()).unwrap()
}

#[track_caller]
fn judged(text: &str, expected: Judgement) -> Verdict {
    let verdict = verdict(texts(&[text.as_bytes()], None, false).unwrap());
    assert_eq!(verdict.judgement, expected, "{text}\n{:#?}", verdict.checks);
    verdict
}

/// A recorded file.
fn data(path: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
