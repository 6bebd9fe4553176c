//! The built program, end to end.

#[cfg(test)]
mod replay;
