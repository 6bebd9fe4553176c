//! A lock with fencing tokens.

use crate::linearizability::Model;

/// A lock, free at first. Each acquisition that returns a token returns a larger one than any
/// before, so that a resource can turn away a holder that was superseded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lock;

/// An operation on a lock, with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockOp {
    /// The lock was given; the token is absent if the lock has none, or the outcome is unknown.
    Acquire { owner: u32, token: Option<u64> },
    /// Somebody else holds it.
    Refused { owner: u32 },
    /// Somebody holds it, the one who asked or another.
    Taken,
    /// The holder gave it back.
    Release { owner: u32 },
    /// It was given back by whoever holds it with this token.
    ReleaseToken { token: u64 },
    /// Nobody holds it with this token.
    NotHeld { token: u64 },
    /// The lock expired, or was broken by force.
    Expire,
}

/// Who holds a lock and with which token, and the last token that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LockState {
    pub owner: Option<u32>,
    pub held_with: Option<u64>,
    pub token: Option<u64>,
}

impl LockState {
    fn freed(self) -> Self {
        Self { owner: None, held_with: None, ..self }
    }
}

impl Model for Lock {
    type Op = LockOp;
    type State = LockState;
    type Arena = ();

    fn initial(&self, _: &mut ()) -> LockState {
        LockState::default()
    }

    fn step(&self, _: &mut (), state: &LockState, op: &LockOp) -> Option<LockState> {
        match *op {
            LockOp::Acquire { owner, token } => {
                let grows = token.is_none() || token > state.token;
                let next = LockState {
                    owner: Some(owner),
                    held_with: token,
                    token: token.or(state.token),
                };
                (state.owner.is_none() && grows).then_some(next)
            }
            LockOp::Refused { owner } => {
                state.owner.is_some_and(|holder| holder != owner).then_some(*state)
            }
            LockOp::Taken => state.owner.is_some().then_some(*state),
            LockOp::Release { owner } => (state.owner == Some(owner)).then_some(state.freed()),
            LockOp::ReleaseToken { token } => {
                (state.held_with == Some(token)).then_some(state.freed())
            }
            LockOp::NotHeld { token } => (state.held_with != Some(token)).then_some(*state),
            LockOp::Expire => Some(state.freed()),
        }
    }

    fn only_observes(&self, op: &LockOp) -> bool {
        matches!(op, LockOp::Refused { .. } | LockOp::Taken | LockOp::NotHeld { .. })
    }

    fn describe(&self, op: &LockOp) -> String {
        match op {
            LockOp::Acquire { owner, token: Some(token) } => {
                format!("acquire by {owner} with token {token}")
            }
            LockOp::Acquire { owner, token: None } => format!("acquire by {owner}"),
            LockOp::Refused { owner } => format!("refusal to {owner}"),
            LockOp::Taken => "refusal of a lock that somebody holds".to_owned(),
            LockOp::Release { owner } => format!("release by {owner}"),
            LockOp::ReleaseToken { token } => format!("release with token {token}"),
            LockOp::NotHeld { token } => format!("refusal to release with token {token}"),
            LockOp::Expire => "expiry".to_owned(),
        }
    }
}
