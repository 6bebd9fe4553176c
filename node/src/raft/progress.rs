//! What a leader knows of one follower's log.

use std::{collections::VecDeque, sync::Arc};

use super::snapshot::Snapshot;
use crate::protocol::Tick;

/// How many appends may be under way to one follower.
const INFLIGHT_MAX: usize = 16;

/// Where a follower is, and how to bring it further.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// The logs agree up to here, durably.
    pub(crate) matched: u64,
    /// What to send next.
    pub(crate) next: u64,
    /// It answered since the quorum was last checked.
    pub(crate) active: bool,
    /// When it answered last.
    pub(crate) heard: Tick,
    pub(crate) pace: Pace,
}

#[derive(Clone, Debug)]
pub(crate) enum Pace {
    /// Where the logs agree is being looked for, one append at a time.
    Probe { waiting: bool },
    /// It is known; appends follow each other without waiting. Holds the last index of each that
    /// was not answered.
    Replicate { inflight: VecDeque<u64> },
    /// The log does not reach back to what it needs: the snapshot is on its way, from this byte on.
    Snapshot { snapshot: Arc<Snapshot>, offset: usize, since: Tick },
}

impl Progress {
    pub(crate) fn new(next: u64) -> Self {
        Self {
            matched: 0,
            next,
            active: false,
            heard: Tick(0),
            pace: Pace::Probe { waiting: false },
        }
    }

    /// It answered, whatever it said.
    pub(crate) fn answered(&mut self, now: Tick) {
        self.active = true;
        self.heard = now;
    }

    /// Nothing may be sent until an answer comes.
    pub(crate) fn is_paused(&self) -> bool {
        match &self.pace {
            Pace::Probe { waiting } => *waiting,
            Pace::Replicate { inflight } => inflight.len() >= INFLIGHT_MAX,
            Pace::Snapshot { .. } => true,
        }
    }

    pub(crate) fn is_probing(&self) -> bool {
        matches!(self.pace, Pace::Probe { .. })
    }

    /// An append with entries up to `last` (none: `None`) goes out.
    pub(crate) fn sent(&mut self, last: Option<u64>) {
        match &mut self.pace {
            Pace::Probe { waiting } => *waiting = true,
            Pace::Replicate { inflight } => {
                if let Some(last) = last {
                    self.next = last + 1;
                    inflight.push_back(last);
                }
            }
            Pace::Snapshot { .. } => {}
        }
    }

    /// The follower has the log up to `index`. Whether that is news.
    pub(crate) fn accepted(&mut self, index: u64) -> bool {
        let news = index > self.matched;
        if news {
            self.matched = index;
            self.next = self.next.max(index + 1);
        }
        match &mut self.pace {
            Pace::Probe { .. } if index >= self.matched => {
                self.next = self.matched + 1;
                self.pace = Pace::Replicate { inflight: VecDeque::new() };
            }
            Pace::Snapshot { snapshot, .. } if index >= snapshot.last.index => {
                self.next = self.matched + 1;
                self.pace = Pace::Replicate { inflight: VecDeque::new() };
            }
            Pace::Probe { .. } | Pace::Snapshot { .. } => {}
            Pace::Replicate { inflight } => {
                while inflight.front().is_some_and(|last| *last <= index) {
                    inflight.pop_front();
                }
            }
        }
        news
    }

    /// The follower refused the append after `refused`, and may agree at `hint`. Whether that is
    /// news: an answer can be older than one that it has given since.
    pub(crate) fn refused(&mut self, refused: u64, hint: u64) -> bool {
        match &mut self.pace {
            Pace::Snapshot { .. } => return false,
            Pace::Replicate { .. } => {
                if refused <= self.matched {
                    return false;
                }
                self.probe();
            }
            Pace::Probe { waiting } => {
                if self.next != refused + 1 {
                    return false;
                }
                let next = refused.min(hint + 1).max(self.matched + 1);
                if next == self.next {
                    // It lost what it had acknowledged. Asking again at once would not end.
                    return false;
                }
                self.next = next;
                *waiting = false;
            }
        }
        true
    }

    /// What is under way may be lost: start again after what is known.
    pub(crate) fn probe(&mut self) {
        self.next = match self.pace {
            Pace::Probe { .. } => self.next.max(self.matched + 1),
            Pace::Replicate { .. } | Pace::Snapshot { .. } => self.matched + 1,
        };
        self.pace = Pace::Probe { waiting: false };
    }

    /// It is alive: an append that was lost must not stop everything.
    pub(crate) fn unblock(&mut self) {
        match &mut self.pace {
            Pace::Probe { waiting } => *waiting = false,
            Pace::Replicate { inflight } if inflight.len() >= INFLIGHT_MAX => {
                inflight.pop_front();
            }
            Pace::Replicate { .. } | Pace::Snapshot { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{INFLIGHT_MAX, Progress};

    #[test]
    fn a_probe_waits_for_its_answer() {
        let mut progress = Progress::new(5);
        progress.sent(Some(9));
        assert!(progress.is_paused());
        assert!(progress.refused(4, 2));
        assert_eq!((progress.next, progress.is_paused()), (3, false));
        assert!(progress.accepted(2));
        assert!(!progress.is_probing());
    }

    #[test]
    fn a_pipeline_is_bounded_and_frees_up_to_the_answer() {
        let mut progress = Progress::new(1);
        progress.accepted(0);
        for index in 1..=INFLIGHT_MAX as u64 {
            assert!(!progress.is_paused());
            progress.sent(Some(index));
        }
        assert!(progress.is_paused());
        assert!(progress.accepted(3));
        assert!(!progress.is_paused());
        assert_eq!((progress.matched, progress.next), (3, INFLIGHT_MAX as u64 + 1));
    }

    #[test]
    fn a_refusal_from_before_the_last_answer_changes_nothing() {
        let mut progress = Progress::new(1);
        progress.accepted(7);
        assert!(!progress.refused(6, 2));
        assert!(!progress.is_probing());
        assert!(progress.refused(9, 7));
        assert_eq!(progress.next, 8);
    }

    #[test]
    fn a_follower_that_lost_what_it_acknowledged_is_not_asked_at_once() {
        let mut progress = Progress::new(1);
        progress.accepted(7);
        assert!(progress.refused(9, 3));
        assert_eq!(progress.next, 8);
        progress.sent(None);
        assert!(!progress.refused(7, 3));
        assert!(progress.is_paused());
    }
}
