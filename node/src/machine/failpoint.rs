//! Named moments of a protocol at which a node can be made to crash or to stand still.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use usurper_history::control::FailpointAct;

use crate::params::nearest;

/// A failpoint that a system has.
#[derive(Clone, Copy, Debug)]
pub struct FailpointInfo {
    pub name: &'static str,
    pub summary: &'static str,
}

/// What is to happen at which failpoint.
#[derive(Debug)]
pub struct Failpoints {
    known: &'static [FailpointInfo],
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    armed: BTreeMap<String, (FailpointAct, Duration)>,
    /// Where the node stands still.
    held: Option<String>,
    hits: u64,
}

impl Failpoints {
    pub(super) fn new(known: &'static [FailpointInfo]) -> Self {
        Self { known, state: Mutex::default(), released: Condvar::new() }
    }

    pub(super) fn arm(
        &self,
        point: &str,
        act: FailpointAct,
        delay: Duration,
    ) -> Result<(), String> {
        let names = || self.known.iter().map(|known| known.name);
        if !names().any(|name| name == point) {
            let near = nearest(point, names())
                .map(|near| format!(", did you mean `{near}`?"))
                .unwrap_or_default();
            let known: Vec<_> = names().map(|name| format!("`{name}`")).collect();
            return Err(format!(
                "unknown failpoint `{point}`{near} (there are {})",
                known.join(", ")
            ));
        }
        self.lock().armed.insert(point.to_owned(), (act, delay));
        Ok(())
    }

    pub(super) fn release(&self) {
        let mut state = self.lock();
        state.armed.clear();
        state.held = None;
        self.released.notify_all();
    }

    /// The node is at this point. What is to happen, once: a point that was hit is armed no more.
    pub(crate) fn hit(&self, point: &str) -> Option<(FailpointAct, Duration)> {
        let mut state = self.lock();
        let (act, delay) = state.armed.remove(point)?;
        state.hits += 1;
        if act != FailpointAct::Crash {
            // Already here, so that a release that comes before the wait is not lost.
            state.held = Some(point.to_owned());
        }
        Some((act, delay))
    }

    /// Stands still until it is released or, given a time, until that is over.
    pub(crate) fn hold(&self, time: Option<Duration>) {
        let held = |state: &mut State| state.held.is_some();
        let mut state = match time {
            None => {
                self.released.wait_while(self.lock(), held).unwrap_or_else(PoisonError::into_inner)
            }
            Some(time) => {
                let waited = self.released.wait_timeout_while(self.lock(), time, held);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.held = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Failpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let armed = state.armed.iter().map(|(point, (act, _))| format!("{act} at `{point}`"));
        let held = state.held.iter().map(|point| format!("stands still at `{point}`"));
        let parts: Vec<_> = armed.chain(held).collect();
        let text = if parts.is_empty() { "none armed".to_owned() } else { parts.join(", ") };
        write!(f, "failpoints: {text} ({} hit)", state.hits)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread, time::Duration};

    use usurper_history::control::FailpointAct::{Crash, Delay, Pause};

    use super::{FailpointInfo, Failpoints};

    const KNOWN: &[FailpointInfo] = &[
        FailpointInfo { name: "lead.first", summary: "" },
        FailpointInfo { name: "vote.second", summary: "" },
    ];

    #[test]
    fn a_point_is_hit_once_and_only_where_it_was_armed() {
        let points = Failpoints::new(KNOWN);
        assert_eq!(points.hit("lead.first"), None);
        points.arm("lead.first", Crash, Duration::ZERO).unwrap();
        assert_eq!(points.hit("vote.second"), None);
        assert_eq!(points.hit("lead.first"), Some((Crash, Duration::ZERO)));
        assert_eq!(points.hit("lead.first"), None);
    }

    #[test]
    fn an_unknown_point_is_refused_with_those_that_exist() {
        let points = Failpoints::new(KNOWN);
        let error = points.arm("lead.frist", Crash, Duration::ZERO).unwrap_err();
        assert_eq!(
            error,
            "unknown failpoint `lead.frist`, did you mean `lead.first`? (there are `lead.first`, `vote.second`)"
        );
    }

    #[test]
    fn a_pause_lasts_until_it_is_released() {
        let points = Arc::new(Failpoints::new(KNOWN));
        points.arm("lead.first", Pause, Duration::ZERO).unwrap();
        points.hit("lead.first").unwrap();
        let held = thread::spawn({
            let points = Arc::clone(&points);
            move || points.hold(None)
        });
        assert!(points.to_string().contains("stands still at `lead.first`"));
        assert!(!held.is_finished());
        points.release();
        held.join().unwrap();
        assert_eq!(points.to_string(), "failpoints: none armed (1 hit)");
    }

    #[test]
    fn a_release_between_the_hit_and_the_wait_counts() {
        let points = Failpoints::new(KNOWN);
        points.arm("lead.first", Pause, Duration::ZERO).unwrap();
        points.hit("lead.first").unwrap();
        points.release();
        points.hold(None);
    }

    #[test]
    fn a_delay_ends_by_itself() {
        let points = Failpoints::new(KNOWN);
        points.arm("lead.first", Delay, Duration::from_millis(1)).unwrap();
        let (_, delay) = points.hit("lead.first").unwrap();
        points.hold(Some(delay));
        assert!(points.to_string().contains("none armed"));
    }
}
