//! The operations that small histories of a register are made of.

use usurper_checks::models::{FailedCas, Register, RegisterOp, Value};

/// How many of the first kinds are enough for most mistakes.
pub(crate) const FEW: usize = 5;

/// A value by number; 0 is none.
pub(crate) fn value(at: usize) -> Value {
    match at {
        0 => Value::Nil,
        at => Value::Int(i64::try_from(at).expect("small")),
    }
}

pub(crate) fn kinds() -> Vec<RegisterOp> {
    let cas = |from, to| RegisterOp::Cas { from: value(from), to: value(to) };
    vec![
        RegisterOp::Read(value(0)),
        RegisterOp::Read(value(1)),
        RegisterOp::Read(value(2)),
        RegisterOp::Write(value(1)),
        cas(1, 2),
        RegisterOp::Write(value(2)),
        cas(2, 1),
        RegisterOp::CasFailed { from: value(1) },
    ]
}

/// The register in every state that a test uses.
pub(crate) fn start(failed_cas: FailedCas) -> impl Fn(usize) -> Option<Register> {
    move |at| (at <= 12).then_some(Register { initial: value(at), failed_cas })
}
