use crate::transcript::check;

/// Dials of n3 to n1 every so many milliseconds, from `from` until `to`.
fn dials(from: u64, to: u64, every: usize) -> String {
    let times = (from..to).step_by(every);
    times.map(|t| format!("{t} n3 dials n1\n")).collect()
}

#[test]
fn a_pair_that_dials_without_end_is_rejected() {
    let text = format!("0 boot\n10 n3 elected 1\n{}9000 phase stop", dials(1_000, 7_000, 100));
    check(
        "connection-storm",
        &text,
        "invalid
         - n1 and n3 dialled each other 60 times in 5.9 s (more than 5 a second)",
    );
}

#[test]
fn both_ends_count_together() {
    let mut lines: Vec<_> = (0..20).map(|n| (1_000 + 300 * n, "n3 dials n1")).collect();
    lines.extend((0..20).map(|n| (1_100 + 300 * n, "n1 dials n3")));
    lines.sort_unstable();
    let text: String = lines.iter().map(|(t, what)| format!("{t} {what}\n")).collect();
    let text = format!("0 boot\n10 n3 elected 1\n{text}9000 phase stop");
    check(
        "connection-storm",
        &text,
        "invalid
         - n1 and n3 dialled each other 40 times in 5.8 s (more than 5 a second)",
    );
}

#[test]
fn a_node_that_backs_off_may_dial_for_ever() {
    let text = format!("0 boot\n10 n3 elected 1\n{}30000 phase stop", dials(1_000, 29_000, 200));
    check("connection-storm", &text, "valid");
}

#[test]
fn a_short_burst_is_no_storm() {
    let bursts = [dials(1_000, 5_900, 100), dials(8_000, 12_900, 100)].concat();
    let text = format!("0 boot\n10 n3 elected 1\n{bursts}20000 phase stop");
    check("connection-storm", &text, "valid");
}
