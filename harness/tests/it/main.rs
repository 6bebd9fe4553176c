//! The built program, end to end.

#[cfg(test)]
mod rates;
#[cfg(test)]
mod replay;
