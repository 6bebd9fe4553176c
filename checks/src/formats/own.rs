//! Our own histories, read leniently: what is wrong with them is passed over and counted, and the
//! records are brought into the order of time.

use std::io::Read;

use serde_json::Value;
use usurper_history::{Body, Header, ReadError, Reader, Record};

use super::{
    input::{Lines, Skipped, Source},
    operations::Clients,
    problem::{FormatError, Problem},
};

/// What such a history holds.
pub(super) struct Own {
    pub(super) header: Header,
    pub(super) records: Vec<(u64, Record)>,
    pub(super) skipped: Skipped,
}

/// Reads such a history. Its header must be whole.
pub(super) fn read(source: Source<'_>, lenient: bool) -> Result<Own, FormatError> {
    let mut lines = Lines::new(source, lenient);
    let history = |file: &str, source| FormatError::History { file: file.to_owned(), source };
    let Some(first) = lines.next_line()? else {
        return Err(history(lines.name(), ReadError::Empty));
    };
    // The reader of whole histories knows what a header may be.
    let header = Reader::new(first.bytes.as_slice().chain(&b"\n"[..]));
    let header = header.map_err(|source| history(lines.name(), source))?.header().clone();
    let mut records: Vec<(u64, Record)> = Vec::new();
    while let Some(line) = lines.next_line()? {
        match Record::parse(&line.bytes) {
            Ok(record) => records.push((line.number, record)),
            Err(_) if !line.ended => {
                lines.bad(line.number, Problem::Truncated { what: "record" })?;
            }
            Err(error) => lines.bad(line.number, Problem::Record(error))?,
        }
    }
    records.sort_by_key(|(_, record)| record.t);
    let mut clients = Clients::default();
    let mut kept = Vec::with_capacity(records.len());
    for (line, record) in records {
        let step = match &record.body {
            Body::Op(op) => clients.step(line, op),
            _ => Ok(()),
        };
        match step {
            Ok(()) => kept.push((line, record)),
            Err(problem) => lines.bad(line, problem)?,
        }
    }
    if !kept.is_sorted_by_key(|(line, _)| *line) {
        // Positions follow the order of time; each record says where it was.
        for (place, (line, record)) in (2..).zip(&mut kept) {
            record.extra.insert("at".to_owned(), Value::from(line.to_string()));
            *line = place;
        }
    }
    Ok(Own { header, records: kept, skipped: lines.skipped() })
}
