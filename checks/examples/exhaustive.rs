//! Holds the linearizability checker against the oracle for every history of a register up to a
//! number of operations, which takes from seconds (4) to hours (6 and more).
//!
//! `cargo run --release -p usurper-checks --example exhaustive -- 5 [few]`
//!
//! With `few`, operations are a read of nothing and of two values, a write and a compare-and-set;
//! otherwise eight kinds.

use usurper_checks::models::{FailedCas, Register, RegisterOp};

#[path = "../tests/linearizability/compare.rs"]
mod compare;
#[path = "../tests/linearizability/exhaustive.rs"]
mod exhaustive;
#[path = "../tests/linearizability/oracle.rs"]
mod oracle;
#[path = "../tests/linearizability/register_kinds.rs"]
mod register_kinds;

fn main() {
    let mut words = std::env::args().skip(1);
    let count: usize = words.next().and_then(|word| word.parse().ok()).unwrap_or(4);
    let mut kinds: Vec<RegisterOp> = register_kinds::kinds();
    if words.next().as_deref() == Some("few") {
        kinds.truncate(register_kinds::FEW);
    }
    let failed_cas = FailedCas::SawAnother;
    for count in 0..=count {
        let (mut valid, mut invalid) = (0_u64, 0_u64);
        exhaustive::every_history(&kinds, count, 3, &mut |ops| {
            let register = Register { initial: register_kinds::value(0), failed_cas };
            match compare::compare(&register, ops, &register_kinds::start(failed_cas)) {
                true => valid += 1,
                false => invalid += 1,
            }
        });
        say(&format!("{count} operations: {valid} valid and {invalid} invalid, all agree"));
    }
}

#[expect(clippy::print_stdout, reason = "it says how far it is")]
fn say(line: &str) {
    println!("{line}");
}
