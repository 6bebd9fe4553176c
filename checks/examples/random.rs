//! Holds the linearizability checker against itself and the oracle on many random histories.
//!
//! ```sh
//! cargo run --release -p usurper-checks --example random -- shortcuts|oracle|late COUNT [SEED]
//! ```
//!
//! `shortcuts`: so many histories each of registers, lists and texts, in which values are mostly
//! unique, of 6 to 25 operations; shortcut against search. `oracle`: so many histories of each model,
//! of 8 to 11 operations; every way of deciding against all orders. `late`: the same of 8 to 12 operations
//! on one to four keys, with effects after the client is gone, equal positions and wrong results.

#![expect(clippy::print_stdout, reason = "it says what it has done")]

#[path = "../tests/linearizability/agree.rs"]
mod agree;
#[path = "../tests/linearizability/compare.rs"]
mod compare;
#[path = "../tests/linearizability/exhaustive.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod exhaustive;
#[path = "../tests/linearizability/kinds.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod kinds;
#[path = "../tests/linearizability/late.rs"]
mod late;
#[path = "../tests/linearizability/near.rs"]
mod near;
#[path = "../tests/linearizability/nearly.rs"]
mod nearly;
#[path = "../tests/linearizability/oracle.rs"]
mod oracle;
#[path = "../tests/linearizability/random.rs"]
mod random;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [what, count, rest @ ..] = words.as_slice() else {
        panic!("expected shortcuts|oracle|late COUNT [SEED]")
    };
    let count = count.parse().expect("a count");
    let seed = rest.first().map_or(1, |seed| seed.parse().expect("a seed"));
    match what.as_str() {
        "shortcuts" => {
            for (name, tally) in agree::shortcuts_agree(seed, count) {
                println!("{name}: {tally:?}, shortcut and search agree");
            }
        }
        "oracle" => {
            for (name, (valid, invalid)) in nearly::oracle_agrees(seed, count) {
                println!("{name}: {valid} valid and {invalid} invalid, all agree");
            }
        }
        "late" => {
            for (name, fallen) in late::late_effects_agree(seed, count) {
                println!("{name}: {fallen:?}, all agree");
            }
        }
        other => panic!("no check `{other}`"),
    }
}
