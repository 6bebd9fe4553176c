//! The linearizability checker against an oracle that tries every order.

mod agree;
mod compare;
mod exhaustive;
mod kinds;
mod late;
mod limits;
mod near;
mod nearly;
mod objects;
mod oracle;
mod parts;
mod random;
mod registers;
mod scatter;
mod small;

/// How many times more than usual to try: `USURPER_ORACLE_FACTOR`.
fn factor() -> usize {
    std::env::var("USURPER_ORACLE_FACTOR").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}
