//! What a search may spend.

/// Says when to stop. The checks read no clock, so the caller brings one.
///
/// It is asked every few hundred steps of a search, well under a millisecond apart.
pub trait Budget: Sync {
    /// Whether the time is up.
    fn is_spent(&self) -> bool;
}

impl<F: Fn() -> bool + Sync> Budget for F {
    fn is_spent(&self) -> bool {
        self()
    }
}

/// A budget that never ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl Budget for Unlimited {
    fn is_spent(&self) -> bool {
        false
    }
}
