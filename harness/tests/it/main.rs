//! The built program, from a scenario to what it leaves behind.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests, too")]

mod machine;
mod run;
