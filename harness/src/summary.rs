//! A verdict as text, for a person.

use std::{collections::BTreeMap, fmt::Write};

use usurper_checks::{Figures, Finding, Import, Judgement, Leadership, Spread, Verdict, term_word};

use crate::{
    failure::Status,
    output::{Paint, paint},
    reporter::seconds,
};

impl From<Judgement> for Status {
    fn from(judgement: Judgement) -> Self {
        match judgement {
            Judgement::Valid => Self::Valid,
            Judgement::Invalid => Self::Invalid,
            Judgement::Unknown => Self::Unknown,
        }
    }
}

/// The verdict as a block of text. `stored` says where the run is.
pub(crate) fn text(verdict: &Verdict, stored: &str, colour: bool) -> String {
    let mut out = String::new();
    write_all(&mut out, verdict, stored, colour).expect("a String takes everything");
    out
}

fn write_all(
    out: &mut String,
    verdict: &Verdict,
    stored: &str,
    colour: bool,
) -> Result<(), std::fmt::Error> {
    let mark = |judgement: Judgement| {
        let colour_of = match judgement {
            Judgement::Valid => Paint::Good,
            Judgement::Invalid => Paint::Bad,
            Judgement::Unknown => Paint::Unclear,
        };
        paint(&format!("{:<8}", judgement.name()), colour_of, colour)
    };
    if let Some(import) = &verdict.imported {
        imported(out, import)?;
    }
    // Of faults and of what was up when, only a run tells.
    match &verdict.imported {
        Some(import) if import.format != "usurper" => {
            if !import.leaders.is_empty() {
                elections(out, &verdict.figures)?;
                leaderless(out, &verdict.figures, "at most ")?;
            }
        }
        _ => figures(out, verdict)?,
    }
    if verdict.truncated {
        writeln!(out, "note       the history was cut off: the harness did not get to its end")?;
    }
    for lost in &verdict.lost {
        writeln!(out, "note       {lost}")?;
    }
    writeln!(out, "checks")?;
    for check in &verdict.checks {
        let reason = check.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        writeln!(out, "  {} {}{reason}", mark(check.judgement), check.check)?;
        let all = [("", &check.findings), ("warning: ", &check.warnings)];
        let omitted = [check.findings_omitted, check.warnings_omitted];
        for ((kind, findings), omitted) in all.into_iter().zip(omitted) {
            for finding in findings {
                write_finding(out, kind, finding, verdict, colour)?;
            }
            if omitted > 0 {
                writeln!(out, "           and {omitted} more {}s", kind_word(kind))?;
            }
        }
    }
    let suspicions = verdict.imported.iter().flat_map(|import| &import.suspicions);
    for (place, suspicion) in suspicions.enumerate() {
        if place == 0 {
            writeln!(out, "suspicions (violations, unless links were cut or servers paused)")?;
        }
        let kind = format!("{}: ", suspicion.check);
        write_finding(out, &kind, &suspicion.finding, verdict, colour)?;
    }
    let mut absent: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for check in &verdict.not_applied {
        absent.entry(check.needs.join(", ")).or_default().push(&check.check);
    }
    for (needs, checks) in absent {
        let line = format!("  -        {} (needs: {needs})", checks.join(", "));
        writeln!(out, "{}", paint(&line, Paint::Faint, colour))?;
    }
    write!(out, "verdict    {}", mark(verdict.judgement).trim_end())?;
    if verdict.imported.is_none() { write!(out, "\nstored in  {stored}") } else { Ok(()) }
}

fn write_finding(
    out: &mut String,
    kind: &str,
    finding: &Finding,
    verdict: &Verdict,
    colour: bool,
) -> Result<(), std::fmt::Error> {
    let import = verdict.imported.as_ref();
    let line = |line: &u64| {
        let place = import.and_then(|import| import.places.get(line).cloned());
        place.unwrap_or_else(|| line.to_string())
    };
    let lines: Vec<_> = finding.lines.iter().map(line).collect();
    writeln!(out, "           {kind}{}", paint(&finding.sentence, Paint::Strong, colour))?;
    let (from, to) = (seconds(finding.from_ns), seconds(finding.to_ns));
    let when = if finding.from_ns == finding.to_ns {
        format!("at {from:.3} s")
    } else {
        format!("from {from:.3} s to {to:.3} s")
    };
    let lines = lines.join(" ");
    let proof = match import {
        // A format without times.
        Some(_) if finding.to_ns == 0 => format!("           lines {lines}"),
        Some(_) => format!("           {when}, lines {lines}"),
        None => format!("           {when}, history lines {lines}"),
    };
    writeln!(out, "{}", paint(&proof, Paint::Faint, colour))
}

fn kind_word(kind: &str) -> &'static str {
    if kind.is_empty() { "finding" } else { "warning" }
}

/// How a history that others wrote was read, and who led in it.
fn imported(out: &mut String, import: &Import) -> Result<(), std::fmt::Error> {
    writeln!(out, "format     {}: {}", import.format, import.files.join(", "))?;
    for note in import.notes.iter().chain(&import.doubts) {
        writeln!(out, "note       {note}")?;
    }
    if import.skipped > 0 {
        writeln!(out, "skipped    {} lines", import.skipped)?;
        for line in &import.skipped_first {
            writeln!(out, "           {line}")?;
        }
    }
    if !import.leaders.is_empty() {
        writeln!(out, "leaders")?;
    }
    let word = term_word(&import.format);
    for leader in &import.leaders {
        let (from, to) = (seconds(leader.from_ns), seconds(leader.to_ns));
        writeln!(
            out,
            "  {:<4} {word} {:<4} from {from:.3} s to {to:.3} s: {}{} ({}{})",
            leader.node,
            leader.term,
            leader.end,
            followed(leader),
            leader.place,
            elected_by(leader)
        )?;
    }
    Ok(())
}

/// A process that was killed wrote nothing of it; those who followed it tell how long it led at most.
fn followed(leader: &Leadership) -> String {
    let until = leader.followed_until_ns.map(seconds);
    until.map(|until| format!(", and it was followed until {until:.3} s")).unwrap_or_default()
}

fn elected_by(leader: &Leadership) -> String {
    let others = leader.votes.iter().filter(|node| **node != leader.node);
    let others: Vec<String> = others.map(ToString::to_string).collect();
    if others.is_empty() { String::new() } else { format!(", elected with {}", others.join(" ")) }
}

fn figures(out: &mut String, verdict: &Verdict) -> Result<(), std::fmt::Error> {
    let figures = &verdict.figures;
    let installed: Vec<_> = (figures.faults.iter())
        .filter(|(name, count)| count.installed > 0 && *name != "wait")
        .map(|(name, count)| format!("{name} {}", count.installed))
        .collect();
    let otherwise: u64 = (figures.faults.values())
        .map(|count| count.skipped + count.indeterminate + count.unfinished)
        .sum();
    let text = if installed.is_empty() { "none".to_owned() } else { installed.join(", ") };
    write!(out, "faults     {text}")?;
    if otherwise > 0 {
        write!(out, "; {otherwise} not installed (the history says why)")?;
    }
    writeln!(out)?;
    elections(out, figures)?;
    if let Some(failover) = &figures.failover {
        let count = failover.count;
        let text =
            format!("failover   {count} times a leader was taken down, the next one led after");
        spread(out, &text, failover)?;
    }
    if let Some(recovery) = &figures.write_recovery {
        let count = recovery.count;
        let text = format!("writes     after {count} faults, the next one was acknowledged after");
        spread(out, &text, recovery)?;
    }
    leaderless(out, figures, "")?;
    let Some(stalls) = &figures.stalls else { return Ok(()) };
    let (count, total) = (stalls.count, seconds(stalls.total_ns));
    let s = if count == 1 { "" } else { "s" };
    writeln!(
        out,
        "stalls     the machine stood still {count} time{s}, for {total:.1} s in all ({:.1} s at most)",
        seconds(stalls.longest_ns)
    )?;
    let uncounted = seconds(stalls.uncounted_ns);
    writeln!(out, "           no bound counts that, nor a grace after each: {uncounted:.1} s")?;
    if stalls.are_many() {
        let of = seconds(stalls.of_ns);
        writeln!(
            out,
            "note       that is much of {of:.1} s: a check that measures time saw only the rest"
        )?;
    }
    Ok(())
}

fn elections(out: &mut String, figures: &Figures) -> Result<(), std::fmt::Error> {
    let count = figures.leader_establishments;
    let s = if count == 1 { "" } else { "s" };
    write!(
        out,
        "elections  {count} leader{s} established in {:.1} s",
        seconds(figures.observed_ns)
    )?;
    if let Some(first) = figures.first_leader_ns {
        write!(out, ", the first after {:.2} s", seconds(first))?;
    }
    writeln!(out)?;
    if count > 0 {
        write!(
            out,
            "           {:.1} a minute, terms consumed: {}",
            figures.elections_per_minute, figures.terms_consumed
        )?;
        if let Some(messages) = figures.messages_per_election {
            write!(out, ", messages per election: {messages:.1}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// How long nobody led; the times of real servers' logs are bounds.
fn leaderless(out: &mut String, figures: &Figures, bound: &str) -> Result<(), std::fmt::Error> {
    let spells = figures.leaderless.len() as u64 + figures.leaderless_omitted;
    let text =
        format!("leaderless {bound}{:.2} s in {spells} intervals", seconds(figures.leaderless_ns));
    match &figures.leaderless_spells {
        Some(lengths) if lengths.count > 1 => spread(out, &format!("{text}, median"), lengths),
        _ => writeln!(out, "{text}"),
    }
}

fn spread(out: &mut String, text: &str, spread: &Spread) -> Result<(), std::fmt::Error> {
    writeln!(
        out,
        "{text} {:.2} s (min {:.2}, 95 % {:.2}, max {:.2})",
        seconds(spread.median_ns),
        seconds(spread.min_ns),
        seconds(spread.p95_ns),
        seconds(spread.max_ns)
    )
}
