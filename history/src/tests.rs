//! The format as a whole: what is written is read back, and what is damaged is named.

use std::{fs, io::BufReader, path::Path};

use proptest::prelude::*;
use serde_json::Value;

use crate::{
    Event, HarnessEvent, Header, ReadError, Reader, Record, TornLine, Writer,
    sample::{Random, Sample},
    sort_file,
};

fn history(seed: u64, length: usize) -> (Header, Vec<Record>) {
    let mut random = Random(seed);
    let header = Header::sample(&mut random);
    (header, (0..length).map(|_| Record::sample(&mut random)).collect())
}

fn write(path: &Path, header: &Header, records: &[Record]) {
    let mut writer = Writer::create(path, header).unwrap();
    records.iter().for_each(|record| writer.append(record).unwrap());
}

/// Everything that can be read: the records, the torn line, the error.
fn read(bytes: &[u8]) -> Result<(Header, Vec<Record>, Option<TornLine>), ReadError> {
    let mut reader = Reader::new(BufReader::new(bytes))?;
    let mut records = Vec::new();
    for next in reader.by_ref() {
        records.push(next?.1);
    }
    Ok((reader.header().clone(), records, reader.torn()))
}

proptest! {
    #[test]
    fn any_history_written_is_read_back_equal(seed: u64, length in 0_usize..40) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let (header, records) = history(seed, length);
        write(&path, &header, &records);
        let (header_read, records_read, torn) = read(&fs::read(&path).unwrap()).unwrap();
        prop_assert_eq!(header_read, header);
        prop_assert_eq!(records_read, records);
        prop_assert_eq!(torn, None);
    }

    #[test]
    fn a_history_cut_anywhere_loses_its_last_line_at_most(seed: u64, cut: prop::sample::Index) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let (header, records) = history(seed, 5);
        write(&path, &header, &records);
        let bytes = fs::read(&path).unwrap();
        let first = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let end = first + cut.index(bytes.len() - first + 1);
        let whole = bytes[..end].iter().filter(|byte| **byte == b'\n').count() - 1;
        let (_, read, torn) = read(&bytes[..end]).unwrap();
        // A line that lacks nothing but its newline is a record all the same.
        prop_assert!(read.len() == whole || (read.len() == whole + 1 && torn.is_none()));
        prop_assert_eq!(&read[..], &records[..read.len()]);
        prop_assert_eq!(torn.is_some(), read.len() == whole && bytes[end - 1] != b'\n');
    }

    #[test]
    fn sorting_keeps_every_line_and_the_order_of_equal_times(seed: u64, length in 0_usize..20) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let (header, mut records) = history(seed, length);
        records.iter_mut().for_each(|record| record.t %= 4);
        write(&path, &header, &records);
        sort_file(&path).unwrap();
        records.sort_by_key(|record| record.t);
        let (header_read, records_read, _) = read(&fs::read(&path).unwrap()).unwrap();
        prop_assert_eq!(header_read, header);
        prop_assert_eq!(records_read, records);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
        prop_assert!(read(&bytes).is_err());
    }
}

/// What reading a header and these lines says.
#[track_caller]
fn check(lines: &str, expected: &str) {
    let (header, _) = history(1, 0);
    let text = format!("{}\n{lines}", serde_json::to_string(&header).unwrap());
    let said = match read(text.as_bytes()) {
        Ok((_, records, torn)) => format!("{} records, torn: {torn:?}", records.len()),
        Err(error) => error.to_string(),
    };
    assert_eq!(said, expected);
}

#[test]
fn what_is_pushed_is_written_with_the_next_flush_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let (header, records) = history(3, 3);
    let mut writer = Writer::create(&path, &header).unwrap();
    let before = fs::read(&path).unwrap();
    writer.push(&records[0]);
    writer.push_line(records[1].to_line().as_bytes());
    assert_eq!(fs::read(&path).unwrap(), before);
    writer.append(&records[2]).unwrap();
    writer.flush().unwrap();
    assert_eq!(read(&fs::read(&path).unwrap()).unwrap().1, records);
}

#[test]
fn a_bad_line_in_the_middle_is_an_error_with_its_number() {
    let good = r#"{"t":1,"record":"harness","event":"phase","phase":"run"}"#;
    check(&format!("{good}\n{good}\n"), "2 records, torn: None");
    check(
        &format!("{good}\n{{\"t\":\n{good}\n"),
        "line 3: not JSON: EOF while parsing a value at line 1 column 5",
    );
    check(
        &format!("{good}\n\n{good}"),
        "line 3: not JSON: EOF while parsing a value at line 1 column 0",
    );
    check(
        &format!("{good}\n{{\"t\":1,\"rec"),
        "1 records, torn: Some(TornLine { line: 3, bytes: 11 })",
    );
    check(
        "[1]\n",
        "line 2: not JSON: invalid type: sequence, expected a JSON object at line 1 column 0",
    );
    check("{\"t\":1,\"t\":2}\n", "line 2: not JSON: `t` stands twice at line 1 column 13");
    check(r#"{"t":1}"#, "0 records, torn: Some(TornLine { line: 2, bytes: 7 })");
    check(
        "{\"t\":1,\"record\":\"dream\"}\n",
        "line 2: unknown kind of record `dream`, expected `node`, `op`, `fault` or `harness`",
    );
    check("{\"t\":1,\"record\":\"harness\",\"event\":\"nap\"}\n", "line 2: unknown event `nap`");
    check(
        "{\"t\":1,\"record\":\"harness\",\"event\":\"ready\",\"node\":\"n1\"}\n",
        "line 2: `ready` lacks `inc`",
    );
    check(
        "{\"t\":1,\"record\":\"harness\",\"event\":\"ready\",\"node\":\"x\",\"inc\":1}\n",
        "line 2: `ready` has a wrong `node`: `x` is not a node, expected `n1` to `n255`",
    );
}

#[test]
fn a_value_that_would_be_another_one_once_it_is_read_is_refused() {
    let read = |value: &str| {
        format!(
            "{{\"t\":1,\"record\":\"op\",\"process\":1,\"type\":\"ok\",\"f\":\"read\",\"value\":{value}}}\n"
        )
    };
    let refused =
        "line 2: `op` has a `value` with a number of too many digits, write it as a string";
    check(&read("123456789012345678901234567890"), refused);
    check(&read("[1, -123456789012345678901234567890]"), refused);
    for value in ["18446744073709551615", "1.5", "\"123456789012345678901234567890\"", "null"] {
        check(&read(value), "1 records, torn: None");
    }
}

#[test]
fn an_empty_file_and_a_newer_version_are_named() {
    assert!(matches!(read(b""), Err(ReadError::Empty)));
    let newer = br#"{"usurper-history":2,"what":"ever"}"#;
    let error = read(newer).unwrap_err().to_string();
    assert!(error.contains("format version 2") && error.contains("newer usurper"), "{error}");
}

#[test]
fn a_writer_does_not_overwrite_a_history() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let (header, _) = history(1, 0);
    drop(Writer::create(&path, &header).unwrap());
    assert!(Writer::create(&path, &header).is_err());
}

#[test]
fn the_tables_of_names_and_fields_agree_with_what_is_written() {
    let mut random = Random(3);
    for _ in 0..2000 {
        let event = Event::sample(&mut random);
        assert!(Event::NAMES.contains(&event.name()));
        assert!(Event::fields_of(event.name()).is_some());
    }
    assert_eq!(Event::NAMES.len(), 22);
    assert_eq!(Event::fields_of("vote-cast").unwrap()[0], "candidate");
    assert_eq!(HarnessEvent::fields_of("nothing"), None);
    let record = Record::sample(&mut Random(9));
    assert_eq!(record.field("t"), Some(Value::from(record.t)));
    assert_eq!(record.field("no such field"), None);
}
