//! `usurper export`: a history in another format, for other tools to judge.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use anyhow::{Context, anyhow};
use usurper_checks::formats::{Format, Imported, write_jepsen_edn};
use usurper_history::{Body, HarnessEvent, Record};

use super::check::histories;
use crate::{
    cli::ExportArgs,
    failure::{Failure, Status},
    output,
};

pub(crate) fn export(args: &ExportArgs) -> Result<Status, Failure> {
    let histories = histories(&args.histories, args.from)?;
    let [history] = histories.as_slice() else {
        let count = histories.len();
        return Err(Failure::usage(anyhow!("these are {count} histories, expected one")));
    };
    let imported = history.read(args.lenient)?;
    let lacks = imported.lacks();
    if args.format == Format::JepsenEdn && !lacks.is_empty() {
        let error = anyhow!("the history lacks something: {}", lacks.join("; "));
        return Err(
            Failure::usage(error).with_hint("Jepsen's EDN cannot say so, and would look whole")
        );
    }
    let (what, mut out): (_, Box<dyn Write>) = match &args.file {
        Some(path) => {
            let file = File::create(path)
                .with_context(|| format!("cannot create `{}`", path.display()))
                .map_err(Failure::usage)?;
            (path.display().to_string(), Box::new(file))
        }
        None => ("the output".to_owned(), Box::new(io::stdout().lock())),
    };
    let mut buffered = BufWriter::new(&mut out);
    let written = write(&imported, args.format, &mut buffered)
        .and_then(|count| buffered.flush().map(|()| count))
        .with_context(|| format!("cannot write {what}"))
        .map_err(Failure::harness)?;
    if written == 0 && args.format == Format::JepsenEdn {
        return Err(Failure::usage(anyhow!("the history has no operations of clients")));
    }
    for lack in lacks {
        output::talk(&format!("note: {lack}"));
    }
    Ok(Status::Valid)
}

fn write(imported: &Imported, format: Format, out: &mut dyn Write) -> io::Result<u64> {
    let records = imported.records.iter().map(|(_, record)| record);
    if format == Format::JepsenEdn {
        return write_jepsen_edn(records, out);
    }
    writeln!(out, "{}", serde_json::to_string(&imported.header)?)?;
    let mut written = 0;
    let mut last = 0;
    for record in records {
        writeln!(out, "{}", record.to_line())?;
        (written, last) = (written + 1, record.t);
    }
    if imported.format != Format::Usurper {
        // Not a run that was cut off.
        let phase = HarnessEvent::Phase { phase: "end".to_owned() };
        writeln!(out, "{}", Record::new(last, Body::Harness(phase)).to_line())?;
    }
    for lack in imported.lacks() {
        // Whoever judges the copy must know, too.
        let (step, waits_for) = (format!("the reading of the rest ({lack})"), String::new());
        let missed = Body::Harness(HarnessEvent::StepMissed { step, waits_for });
        writeln!(out, "{}", Record::new(last, missed).to_line())?;
    }
    Ok(written)
}
