//! How fast histories are judged, and in how much memory; beside Porcupine where there is one.
//!
//! ```sh
//! cargo bench -p usurper-checks --bench linearizability -- [--porcupine CHECKOUT] [--only TEXT]
//! ```
//!
//! With a checkout of Porcupine, its Go code is built, both check the same files in turn on one
//! thread, and the table has ratios. Reading the files is not counted for either, nor is the time in
//! which others had the processor, but with two threads. Each time is the best of a few rounds; what
//! takes Porcupine long is done once.

use std::path::{Path, PathBuf};

use usurper_checks::{
    linearizability::{Model, Operation, Options, Verdict, check},
    models::{FailedCas, Queue, QueueOp, Register, RegisterOp, Text, Value},
};

mod histories;
mod logs;
mod measure;
mod porcupine;
#[path = "../../tests/linearizability/random.rs"]
mod random;

use histories::{Texts, as_jepsen_text, cas_register, read_stale, spoil, unique_writes, whole};
use measure::{Deadline, Looks, Measured, measure};
use porcupine::Porcupine;
use random::Shape;

const REGISTER: Register = Register { initial: Value::Nil, failed_cas: FailedCas::SawAnother };
const ROUNDS: usize = 7;
/// What takes no longer is done more often.
const QUICK_NS: u64 = 10_000_000;
const MINIMAL: Options = Options {
    bytes_max: 512 << 20,
    threads: 1,
    shortcuts: true,
    strategy: usurper_checks::linearizability::Strategy::Both,
    counterexample: true,
};
const VERDICT_ONLY: Options = Options { counterexample: false, ..MINIMAL };

fn main() {
    let (mut checkout, mut only) = (None, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--porcupine" => checkout = words.next(),
            "--only" => only = words.next(),
            "--bench" => {}
            other => panic!("unknown argument `{other}`"),
        }
    }
    let scratch = std::env::temp_dir().join(format!("usurper-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("a folder");
    let porcupine =
        checkout.map(|checkout| Porcupine::build(&absolute(Path::new(&checkout)), &scratch));
    say("| histories | operations | verdict | Porcupine | usurper | ratio | notes |");
    say("|---|---|---|---|---|---|---|");
    let bench = Bench { porcupine, only, scratch: scratch.clone() };
    bench.etcd_logs();
    bench.kv_logs();
    bench.registers();
    bench.unique_writes();
    bench.deadlines();
    std::fs::remove_dir_all(scratch).expect("no scratch folder left");
}

fn absolute(path: &Path) -> PathBuf {
    // A bench starts in the folder of its package, its caller in that of the workspace.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    workspace.join(path).canonicalize().expect("a checkout of Porcupine")
}

#[expect(clippy::print_stdout, reason = "a bench prints its table")]
fn say(line: &str) {
    println!("{line}");
}

struct Bench {
    porcupine: Option<Porcupine>,
    only: Option<String>,
    scratch: PathBuf,
}

/// How Porcupine is asked.
#[derive(Clone, Copy)]
struct Asked<'a> {
    kind: &'a str,
    files: &'a [PathBuf],
    seconds_max: u32,
}

impl Bench {
    fn wanted(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    /// One row of the table: both in turn, the best of each.
    fn row(
        &self,
        name: &str,
        operations: usize,
        asked: Option<Asked<'_>>,
        mut ours: impl FnMut() -> Measured,
    ) {
        if !self.wanted(name) {
            return;
        }
        let (mut best, mut theirs): (Option<Measured>, Option<Measured>) = (None, None);
        for round in 0..ROUNDS {
            let quick = theirs.as_ref().is_none_or(|they| they.ns < 1_000_000_000);
            if let (Some(porcupine), Some(asked)) = (&self.porcupine, asked)
                && (round == 0 || quick)
            {
                let measured = porcupine.measure(asked.kind, asked.seconds_max, asked.files);
                if theirs.as_ref().is_none_or(|best| measured.ns < best.ns) {
                    theirs = Some(measured);
                }
            }
            for _ in 0..ROUNDS {
                let measured = ours();
                let ns = measured.ns;
                if best.as_ref().is_none_or(|best| ns < best.ns) {
                    best = Some(measured);
                }
                if ns > QUICK_NS {
                    break;
                }
            }
        }
        let ours = best.expect("one round at least");
        let (beside, ratio) = match &theirs {
            None => Default::default(),
            Some(they) => (
                format!("{}, {}, {} MB", they.verdict, time(they.ns), they.peak_megabytes),
                match they.verdict.as_str() {
                    "out of memory" => "gave up".to_owned(),
                    "unknown" => format!("> {}", times(they.ns, ours.ns)),
                    _ => times(they.ns, ours.ns),
                },
            ),
        };
        say(&format!(
            "| {name} | {operations} | {} | {beside} | {}, {} MB | {ratio} | {} |",
            ours.verdict,
            time(ours.ns),
            ours.peak_megabytes,
            ours.note
        ));
    }

    fn etcd_logs(&self) {
        let Some(porcupine) = &self.porcupine else { return };
        let mut logs = Vec::new();
        let mut files = Vec::new();
        for (number, expected) in porcupine.etcd_logs() {
            let file = porcupine.data(&format!("jepsen/etcd_{number:03}.log"));
            logs.push((logs::registers(&file), expected));
            files.push(file);
        }
        let operations = logs.iter().map(|(ops, _)| ops.len()).sum();
        let asked = Asked { kind: "etcd", files: &files, seconds_max: 60 };
        for (what, options) in
            [("verdicts only", VERDICT_ONLY), ("with minimal counterexamples", MINIMAL)]
        {
            let name = format!("{} etcd logs, {what}", logs.len());
            self.row(&name, operations, Some(asked), || {
                let (mut all, mut wrong, mut not_minimal) = (0, 0, 0);
                let mut peak_megabytes = 0;
                for (ops, expected) in &logs {
                    let (measured, report) = measure(&REGISTER, ops, options);
                    all += measured.ns;
                    peak_megabytes = measured.peak_megabytes.max(peak_megabytes);
                    wrong += usize::from(measured.verdict != verdict_of(*expected));
                    not_minimal += usize::from(
                        matches!(&report.verdict, Verdict::Invalid(found) if !found.minimal),
                    );
                }
                let mut note = format!("{wrong} wrong");
                if options.counterexample {
                    note.push_str(&format!(", {not_minimal} not minimal"));
                }
                Measured { ns: all, verdict: "mixed".to_owned(), peak_megabytes, note }
            });
        }
    }

    fn kv_logs(&self) {
        let Some(porcupine) = &self.porcupine else { return };
        for name in ["c10-ok", "c10-bad", "c50-ok", "c50-bad"] {
            let files = [porcupine.data(&format!("kv/{name}.txt"))];
            let ops = &logs::texts(&files[0]);
            let expected = verdict_of(name.ends_with("ok"));
            let keys = ops.iter().map(|op| op.key as usize + 1).max().unwrap_or_default();
            let asked = |kind, seconds_max| Some(Asked { kind, files: &files, seconds_max });
            let ours = |options| move || judged(&Text, ops, options, expected);
            if name.starts_with("c10") {
                let whole = whole(ops);
                let texts = Texts { keys };
                let name = format!("key-value {name}, unpartitioned");
                let asked = asked("kv-whole", 60);
                self.row(&format!("{name}, split by ourselves"), ops.len(), asked, ours(MINIMAL));
                self.row(&format!("{name}, as one object"), ops.len(), asked, || {
                    judged(&texts, &whole, VERDICT_ONLY, expected)
                });
            }
            let name = format!("key-value {name}, partitioned");
            self.row(
                &format!("{name}, verdict only"),
                ops.len(),
                asked("kv", 60),
                ours(VERDICT_ONLY),
            );
            if expected == "invalid" {
                let asked = asked("kv-explained", 20);
                self.row(&format!("{name}, explained"), ops.len(), asked, ours(MINIMAL));
            }
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
            ("cas 10k valid, 1 % crashed", shape(10_000, 100), false),
            ("cas 10k valid, 5 % crashed", shape(10_000, 20), false),
            ("cas 1k invalid, 1 % crashed", shape(1_000, 100), true),
            ("cas 10k invalid, 1 % crashed", shape(10_000, 100), true),
            ("cas 10k invalid, 5 % crashed", shape(10_000, 20), true),
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
                let files = [self.scratch.join("registers.log")];
                std::fs::write(&files[0], as_jepsen_text(&ops)).expect("a log");
                let asked = Asked { kind: "etcd", files: &files, seconds_max: 60 };
                // Of 100k operations Porcupine takes 10 GB and more.
                let asked = (shape.operations <= 10_000).then_some(asked);
                self.row(&name, ops.len(), asked, || {
                    judged(&REGISTER, &ops, MINIMAL, verdict_of(!spoilt))
                });
            }
        }
    }

    fn unique_writes(&self) {
        for (name, stale) in [("unique writes 1M valid", false), ("unique writes 1M invalid", true)]
        {
            if !self.wanted(name) {
                continue;
            }
            let shape =
                Shape { operations: 1_000_000, processes: 20, keys: 100, unknown_one_in: 500 };
            let mut ops = unique_writes(7, shape);
            if stale {
                add_stale_read(&mut ops);
            }
            for threads in [1, 2] {
                let options = Options { threads, ..MINIMAL };
                let name = format!("{name}, {threads} threads");
                self.row(&name, ops.len(), None, || {
                    judged(&REGISTER, &ops, options, verdict_of(!stale))
                });
            }
        }
    }

    /// By how much a deadline is overshot, wherever it strikes, and how long the processor works
    /// between two looks at the budget, which does not depend on what else it has to do.
    fn deadlines(&self) {
        if !self.wanted("deadlines") {
            return;
        }
        let shape = Shape { operations: 1_000_000, processes: 20, keys: 1, unknown_one_in: 500 };
        let one_key = unique_writes(7, shape);
        deadlines("1M unique writes on one key", &REGISTER, &one_key);
        let mut stale = one_key;
        add_stale_read(&mut stale);
        deadlines("the same and a stale read", &REGISTER, &stale);
        drop(stale);
        let many = unique_writes(7, Shape { keys: 1_000_000, ..shape });
        deadlines("1M unique writes on as many keys", &REGISTER, &many);
        drop(many);
        let register = cas_register(1, Shape { operations: 1_000_000, unknown_one_in: 3, ..shape });
        deadlines("1M cas on one key, a third of them crashed", &REGISTER, &register);
        deadlines("a queue of many concurrent operations", &Queue, &hard_queue());
    }
}

/// Two writes and a read that returns the first, after everything else.
fn add_stale_read(ops: &mut Vec<Operation<RegisterOp>>) {
    let last = ops.iter().filter_map(|op| op.ret).max().expect("a return");
    let (six, seven) = (Value::Int(-6), Value::Int(-7));
    let stale = [RegisterOp::Write(six.clone()), RegisterOp::Write(seven), RegisterOp::Read(six)];
    for (op, call) in stale.into_iter().zip((last + 1..).step_by(2)) {
        ops.push(Operation { process: 99, key: 0, call, ret: Some(call + 1), op });
    }
}

/// Queues of concurrent operations have very many orders, and the last operation fits none.
fn hard_queue() -> Vec<Operation<QueueOp>> {
    let mut ops = Vec::new();
    for (round, call) in (0..2000).zip((1..).step_by(100)) {
        for process in 0..10 {
            let value = Value::Int(i64::from(process) + 10 * round);
            let (call, ret) = (call + u64::from(process), Some(call + 50));
            ops.push(Operation { process, key: 0, call, ret, op: QueueOp::Enqueue(value) });
        }
    }
    let (call, ret) = (1_000_000, Some(1_000_001));
    let op = QueueOp::Dequeue(Value::Int(-1));
    ops.push(Operation { process: 0, key: 0, call, ret, op });
    ops
}

fn deadlines<M: Model>(name: &str, model: &M, ops: &[Operation<M::Op>]) {
    let looks = Looks::for_ns(20_000_000_000);
    let report = check(model, ops, MINIMAL, &looks);
    let (between, after) = looks.most_ns();
    let (mut worst, mut hit) = (0, 0);
    for ms in (0..400).step_by(10) {
        let deadline = Deadline::in_ns(ms * 1_000_000);
        check(model, ops, MINIMAL, &deadline);
        if deadline.overshot_ns() > 0 {
            hit += 1;
            worst = worst.max(deadline.overshot_ns());
        }
    }
    let verdict = match report.verdict {
        Verdict::Valid => "valid".to_owned(),
        Verdict::Invalid(found) => format!("invalid, {} operations", found.core.len()),
        Verdict::Unknown(unknown) => format!("unknown ({:?})", unknown.why),
    };
    say(&format!(
        "deadlines, {name}: {verdict}; {} of the processor between two looks at most, {} after the \
         last; of 40 deadlines {hit} were hit, and overshot by {} at most",
        time(between),
        time(after),
        time(worst)
    ));
}

fn judged<M: Model>(
    model: &M,
    ops: &[Operation<M::Op>],
    options: Options,
    expected: &str,
) -> Measured {
    let (mut measured, _) = measure(model, ops, options);
    if measured.verdict != expected {
        measured.note = format!("WRONG VERDICT; {}", measured.note);
    }
    measured
}

fn verdict_of(is_valid: bool) -> &'static str {
    if is_valid { "valid" } else { "invalid" }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn times(theirs: u64, ours: u64) -> String {
    format!("{:.1}", theirs as f64 / ours as f64)
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn time(ns: u64) -> String {
    format!("{:.3} ms", ns as f64 / 1e6)
}
