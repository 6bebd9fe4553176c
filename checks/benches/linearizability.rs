//! How fast histories are judged, and in how much memory.
//!
//! `cargo bench -p usurper-checks --bench linearizability -- [--porcupine CHECKOUT] [--dump DIR]
//! [--only TEXT]`
//!
//! With a checkout of Porcupine, its test data are judged and held against the verdicts that its
//! tests expect. With a directory, the generated registers are written there as text logs, for
//! another checker to read.

use std::{fmt::Write as _, path::Path, sync::Arc};

use usurper_checks::{
    formats::{jepsen_text, kv_text},
    linearizability::{Budget, Model, Operation, Options, Report, Verdict, check},
    models::{Chains, FailedCas, Register, RegisterOp, Text, TextOp, Value},
};
use usurper_history::monotonic_ns;

#[path = "../tests/linearizability/random.rs"]
mod random;

use random::{Chance, Shape, play};

const REGISTER: Register = Register { initial: Value::Nil, failed_cas: FailedCas::SawAnother };
const SECONDS_MAX: u64 = 60;

#[derive(Default)]
struct Arguments {
    porcupine: Option<String>,
    dump: Option<String>,
    only: Option<String>,
}

fn main() {
    let mut arguments = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--porcupine" => arguments.porcupine = words.next(),
            "--dump" => arguments.dump = words.next(),
            "--only" => arguments.only = words.next(),
            "--bench" => {}
            other => panic!("unknown argument `{other}`"),
        }
    }
    say(&format!(
        "{:<38} {:>8} {:>10} {:>12} {:>9}  {}",
        "history", "ops", "verdict", "time", "peak RSS", "counterexample"
    ));
    let bench = Bench { arguments };
    if let Some(path) = &bench.arguments.porcupine {
        bench.etcd_logs(Path::new(path));
        bench.kv_logs(Path::new(path));
    }
    bench.registers();
    bench.unique_writes();
}

#[expect(clippy::print_stdout, reason = "a bench prints its table")]
fn say(line: &str) {
    println!("{line}");
}

struct Deadline(u64);

impl Budget for Deadline {
    fn is_spent(&self) -> bool {
        monotonic_ns() >= self.0
    }
}

struct Bench {
    arguments: Arguments,
}

impl Bench {
    fn wanted(&self, name: &str) -> bool {
        self.arguments.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    /// One row of the table.
    fn row<M: Model>(
        &self,
        name: &str,
        model: &M,
        ops: &[Operation<M::Op>],
        options: Options,
        expected: Option<bool>,
    ) {
        if !self.wanted(name) {
            return;
        }
        forget_peak();
        let from = monotonic_ns();
        let report = check(model, ops, options, &Deadline(from + SECONDS_MAX * 1_000_000_000));
        let ns = monotonic_ns() - from;
        let agrees = expected.is_none_or(|expected| is(&report) == Some(expected));
        let mut note = match &report.verdict {
            Verdict::Valid => String::new(),
            Verdict::Invalid(found) => {
                let minimal = if found.minimal { "minimal" } else { "not minimal" };
                format!("{} operations, {minimal}", found.core.len())
            }
            Verdict::Unknown(unknown) => format!("{unknown:?}"),
        };
        if !agrees {
            note = format!("WRONG VERDICT; {note}");
        }
        say(&format!(
            "{name:<38} {:>8} {:>10} {:>9.3} ms {:>6} MB  {note}",
            ops.len(),
            word(&report),
            ms(ns),
            peak_megabytes(),
        ));
    }

    fn etcd_logs(&self, porcupine: &Path) {
        let tests =
            std::fs::read_to_string(porcupine.join("porcupine_test.go")).expect("its tests");
        let mut logs = Vec::new();
        for (number, expected) in expectations(&tests) {
            let file = porcupine.join(format!("test_data/jepsen/etcd_{number:03}.log"));
            logs.push((number, expected, std::fs::read(file).expect("a log")));
        }
        for round in ["etcd logs, first time", "etcd logs, again", "etcd logs, verdict only"] {
            if !self.wanted(round) {
                continue;
            }
            forget_peak();
            let (mut parse_ns, mut check_ns, mut worst) = (0, 0, (0, 0));
            let (mut ops, mut wrong, mut cores) = (0, Vec::new(), Vec::new());
            for (number, expected, text) in &logs {
                let begin = monotonic_ns();
                let log = jepsen_text(text).expect("a log");
                let middle = monotonic_ns();
                let options =
                    Options { counterexample: !round.contains("only"), ..Options::default() };
                let report = check(&REGISTER, &log.operations, options, &|| false);
                let end = monotonic_ns();
                parse_ns += middle - begin;
                check_ns += end - middle;
                worst = worst.max((end - middle, *number));
                ops += log.operations.len();
                if is(&report) != Some(*expected) {
                    wrong.push(*number);
                }
                if let Verdict::Invalid(found) = report.verdict {
                    cores.push(found.core.len());
                }
            }
            cores.sort_unstable();
            say(&format!(
                "{round:<38} {ops:>8} {:>10} {:>9.3} ms {:>6} MB  {} logs, worst etcd_{:03} {:.3} ms, \
                 reading {:.3} ms, wrong {wrong:?}, counterexamples of {:?} to {:?} operations",
                "",
                ms(check_ns),
                peak_megabytes(),
                logs.len(),
                worst.1,
                ms(worst.0),
                ms(parse_ns),
                cores.first(),
                cores.last()
            ));
        }
    }

    fn kv_logs(&self, porcupine: &Path) {
        for name in ["c01-ok", "c01-bad", "c10-ok", "c10-bad", "c50-ok", "c50-bad"] {
            let file = porcupine.join(format!("test_data/kv/{name}.txt"));
            let text = std::fs::read(file).expect("a log");
            let expected = Some(name.ends_with("ok"));
            let begin = monotonic_ns();
            let mut log = kv_text(&text).expect("a log");
            let read_ns = monotonic_ns() - begin;
            let options = Options::default();
            if self.wanted("kv") {
                say(&format!("kv {name}: reading took {:.3} ms", ms(read_ns)));
            }
            self.row(&format!("kv {name}"), &Text, &log.operations, options, expected);
            let silent = Options { counterexample: false, ..options };
            self.row(&format!("kv {name}, verdict only"), &Text, &log.operations, silent, expected);
            let searched = Options { shortcuts: false, ..silent };
            self.row(&format!("kv {name}, searched"), &Text, &log.operations, searched, expected);
            if name.starts_with("c50") {
                continue;
            }
            let keys = log.keys.len();
            let whole: Vec<_> = log
                .operations
                .drain(..)
                .map(|op| Operation {
                    process: op.process,
                    key: 0,
                    call: op.call,
                    ret: op.ret,
                    op: (op.key as usize, op.op),
                })
                .collect();
            let name = format!("kv {name}, one object, searched");
            self.row(&name, &Texts { keys }, &whole, silent, expected);
        }
    }

    fn registers(&self) {
        let shape = |operations, unknown_one_in| Shape {
            operations,
            processes: 10,
            keys: 1,
            unknown_one_in,
        };
        for (name, shape, spoilt) in [
            ("cas 10k valid", shape(10_000, 0), false),
            ("cas 10k invalid", shape(10_000, 0), true),
            ("cas 10k valid, 1% crashed", shape(10_000, 100), false),
            ("cas 10k invalid, 1% crashed", shape(10_000, 100), true),
            ("cas 1k valid, 5% crashed", shape(1_000, 20), false),
            ("cas 1k invalid, 5% crashed", shape(1_000, 20), true),
            ("cas 1k invalid, 1% crashed", shape(1_000, 100), true),
            ("cas 10k valid, 5% crashed", shape(10_000, 20), false),
            ("cas 10k invalid, 5% crashed", shape(10_000, 20), true),
            ("cas 100k valid", shape(100_000, 0), false),
            ("cas 100k invalid", shape(100_000, 0), true),
        ] {
            for seed in 1..=3 {
                let name = format!("{name} #{seed}");
                if !self.wanted(&name) {
                    continue;
                }
                let mut ops = cas_register(seed, shape);
                match (spoilt, shape.unknown_one_in) {
                    (false, _) => {}
                    (true, 0) => spoil(&mut ops, 8),
                    (true, _) => read_stale(&mut ops),
                }
                if let Some(directory) = &self.arguments.dump {
                    let file =
                        format!("{directory}/{}.log", name.replace([' ', ',', '%', '#'], "_"));
                    std::fs::write(file, as_jepsen_text(&ops)).expect("a log");
                    continue;
                }
                self.row(&name, &REGISTER, &ops, Options::default(), Some(!spoilt));
                let silent = Options { counterexample: false, ..Options::default() };
                let name = format!("{name}, verdict only");
                self.row(&name, &REGISTER, &ops, silent, Some(!spoilt));
            }
        }
    }

    fn unique_writes(&self) {
        for (name, spoilt) in [("unique 1M valid", false), ("unique 1M invalid", true)] {
            if !self.wanted(name) || self.arguments.dump.is_some() {
                continue;
            }
            let shape =
                Shape { operations: 1_000_000, processes: 20, keys: 100, unknown_one_in: 500 };
            let mut next = 0;
            let mut ops = play(
                &mut Chance::new(7),
                shape,
                &Value::Nil,
                |chance| {
                    chance.one_in(2).then(|| {
                        next += 1;
                        Value::Int(next)
                    })
                },
                |state, write, _| match write {
                    Some(value) => {
                        *state = value.clone();
                        RegisterOp::Write(value.clone())
                    }
                    None => RegisterOp::Read(state.clone()),
                },
            );
            if spoilt {
                spoil(&mut ops, 8);
            }
            for threads in [1, 2] {
                let options = Options { threads, ..Options::default() };
                let name = format!("{name}, {threads} threads");
                self.row(&name, &REGISTER, &ops, options, Some(!spoilt));
            }
        }
    }
}

/// Reads, writes and compare-and-sets of five values.
fn cas_register(seed: u64, shape: Shape) -> Vec<Operation<RegisterOp>> {
    let value = |chance: &mut Chance| Value::Int(i64::try_from(chance.below(5)).expect("small"));
    play(
        &mut Chance::new(seed),
        shape,
        &Value::Nil,
        |chance| match chance.below(3) {
            0 => RegisterOp::Read(Value::Nil),
            1 => RegisterOp::Write(value(chance)),
            _ => RegisterOp::Cas { from: value(chance), to: value(chance) },
        },
        |state, asked, unknown| match asked {
            RegisterOp::Read(_) => RegisterOp::Read(state.clone()),
            RegisterOp::Cas { from, .. } if from != state && !unknown => {
                RegisterOp::CasFailed { from: from.clone() }
            }
            RegisterOp::Cas { from, to } => {
                if from == state {
                    *state = to.clone();
                }
                asked.clone()
            }
            RegisterOp::Write(value) => {
                *state = value.clone();
                asked.clone()
            }
            RegisterOp::CasFailed { .. } => unreachable!("nobody asks to fail"),
        },
    )
}

/// Changes what reads returned, after nine tenths of the history, until there is no order.
fn spoil(ops: &mut [Operation<RegisterOp>], reads_max: usize) {
    let from = ops.len() * 9 / 10;
    let mut changed = 0;
    for op in &mut ops[from..] {
        if let RegisterOp::Read(value) = &mut op.op {
            // In a register of five values several changes in a row make sure of it.
            *value = match value {
                Value::Int(value) if *value < 5 => Value::Int((*value + 2) % 5),
                Value::Int(value) => Value::Int(*value - 3),
                _ => Value::Int(4),
            };
            changed += 1;
            if changed == reads_max {
                return;
            }
        }
    }
}

/// After nine tenths of the history, one process writes 6 and 7 and reads 6. Nothing else touches
/// these values, so what crashed cannot explain it.
fn read_stale(ops: &mut Vec<Operation<RegisterOp>>) {
    for op in ops.iter_mut() {
        op.call *= 8;
        op.ret = op.ret.map(|ret| ret * 8);
    }
    let mut position = ops[ops.len() * 9 / 10].call;
    for op in [
        RegisterOp::Write(Value::Int(6)),
        RegisterOp::Write(Value::Int(7)),
        RegisterOp::Read(Value::Int(6)),
    ] {
        position += 2;
        let (call, ret) = (position, Some(position + 1));
        ops.push(Operation { process: 1_000_000, key: 0, call, ret, op });
    }
    ops.sort_unstable_by_key(|op| op.call);
}

fn as_jepsen_text(ops: &[Operation<RegisterOp>]) -> String {
    let mut events = Vec::new();
    for op in ops {
        let (word, value, failed) = match &op.op {
            RegisterOp::Read(value) => (":read", value.to_string(), false),
            RegisterOp::Write(value) => (":write", value.to_string(), false),
            RegisterOp::Cas { from, to } => (":cas", format!("[{from} {to}]"), false),
            // What it would have left is not kept; any other value says the same.
            RegisterOp::CasFailed { from } => (":cas", format!("[{from} 99]"), true),
        };
        if word == ":read" && op.ret.is_none() {
            continue;
        }
        let asked = if word == ":read" { "nil" } else { &value };
        events.push((op.call, format!("{}\t:invoke\t{word}\t{asked}", op.process)));
        if let Some(ret) = op.ret {
            let kind = if failed { ":fail" } else { ":ok" };
            events.push((ret, format!("{}\t{kind}\t{word}\t{value}", op.process)));
        }
    }
    events.sort();
    let mut text = String::new();
    for (_, event) in events {
        writeln!(text, "INFO  jepsen.util - {event}").expect("memory");
    }
    text
}

/// All texts as one object, as if nobody knew that keys are independent.
struct Texts {
    keys: usize,
}

impl Model for Texts {
    type Op = (usize, TextOp);
    type State = Arc<[u32]>;
    type Arena = Chains;

    fn initial(&self, chains: &mut Chains) -> Self::State {
        vec![Text.initial(chains); self.keys].into()
    }

    fn step(&self, chains: &mut Chains, state: &Self::State, op: &Self::Op) -> Option<Self::State> {
        let (key, op) = op;
        let next = Text.step(chains, &state[*key], op)?;
        if next == state[*key] {
            return Some(state.clone());
        }
        let mut state = state.to_vec();
        state[*key] = next;
        Some(state.into())
    }

    fn only_observes(&self, op: &Self::Op) -> bool {
        Text.only_observes(&op.1)
    }

    fn describe(&self, op: &Self::Op) -> String {
        format!("{} of key {}", Text.describe(&op.1), op.0)
    }
}

/// The verdicts that Porcupine's tests expect of its etcd logs.
fn expectations(tests: &str) -> Vec<(u32, bool)> {
    let calls = tests.lines().filter_map(|line| line.trim().strip_prefix("checkJepsen(t, "));
    calls
        .map(|rest| {
            let (number, expected) =
                rest.trim_end_matches(')').split_once(", ").expect("a number and a verdict");
            (number.parse().expect("a number"), expected == "true")
        })
        .collect()
}

fn is(report: &Report) -> Option<bool> {
    match report.verdict {
        Verdict::Valid => Some(true),
        Verdict::Invalid(_) => Some(false),
        Verdict::Unknown(_) => None,
    }
}

fn word(report: &Report) -> &'static str {
    match is(report) {
        Some(true) => "valid",
        Some(false) => "invalid",
        None => "unknown",
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Resets the kernel's peak of this process' memory.
fn forget_peak() {
    // Where it is not allowed, the peak is that of the whole bench so far.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) / 1024
}
