//! `election-loop` (L2): elections come to an end.
//!
//! Rule: in a static topology with a connected majority neither
//!
//! 1. are `changes` leaders established within `window-ns`, not counting the first one since the
//!    last disturbance, nor
//! 2. does a whole window (of 20 T at least) pass in which elections run and no leader lasts for
//!    5 T,
//!
//! where T is the election timeout. A disturbance is any fault that was not skipped and any start,
//! readiness or end of a process. It sets the counts back, and for 3 T after it nothing counts.
//! Leaders that are established while a fault is between its begin and its end are set aside, and
//! count only if the fault turns out to be skipped. Elections while the machine stood still, and in the
//! grace after that (see [`crate::stalls`]), do not count either.
//!
//! What it cannot see: a loop slower than the window, a loop among prospective leaders that emit
//! neither role nor term changes, and one that each time a fault has caused.

use std::collections::{BTreeMap, VecDeque};

use usurper_history::{Body, Event, Header, NodeId, Record, Role};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, LINES_MAX, Outcome, lines, nodes},
    leaders::Tenure,
    phrase::{counted, duration, list, term_word, times},
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "election-loop",
    summary: "while nothing is broken, elections come to an end",
    source: "L2; verdict windows of the timing table; seed 000 bug B3, F-008, F-021",
    needs: &["leader-elected", "role-change"],
    options: &[
        ("window-ns", "the time in which changes are counted (default: 20 election timeouts)"),
        ("changes", "how many leaders beyond the first make a loop (default: 5)"),
    ],
    choices: &[],
    make,
};

/// How many elections must have run in a window without a stable leader.
const STARTS_MIN: u64 = 2;
/// How many leaders are set aside while a fault is pending.
const ASIDE_MAX: usize = 64;

#[derive(Debug)]
struct ElectionLoop {
    word: &'static str,
    tells_heartbeats: bool,
    timeout_ns: u64,
    window_ns: u64,
    /// The window of the second rule: no leader can last within one that is too narrow.
    restless_ns: u64,
    changes: usize,
    findings: Findings,
    /// The disturbance since which everything below counts.
    since: Mark,
    /// A leader was established since then.
    first_seen: bool,
    recent: VecDeque<Reign>,
    aside: Vec<Reign>,
    /// Since when no leader has lasted, and what elections ran since.
    restless: Mark,
    starts: u64,
    start_lines: Vec<u64>,
    episode: Option<Episode>,
}

/// One established leadership.
#[derive(Clone, Debug)]
struct Reign {
    node: NodeId,
    term: u64,
    at: Mark,
    heartbeats: u64,
}

/// A loop that lasts.
#[derive(Debug)]
struct Episode {
    what: Loop,
    /// Who could work all the time.
    majority: Vec<NodeId>,
    intact: bool,
}

#[derive(Debug)]
enum Loop {
    /// Leaders follow leaders. Those that are no longer in `recent` are folded in here.
    Changes(Tally),
    /// Elections run and no leader lasts.
    Restless { from: Mark },
}

/// Many leaderships in bounded memory.
#[derive(Clone, Debug)]
struct Tally {
    from: Mark,
    to: Mark,
    terms: (u64, u64),
    by_node: BTreeMap<NodeId, u64>,
    silent: u64,
    lines: Vec<u64>,
}

fn make(header: &Header, options: &Options) -> Box<dyn Check> {
    let timeout_ns = header.timing.election_timeout_ns;
    let changes = options.get("changes").unwrap_or(5);
    let window_ns = timeout_ns.saturating_mul(20);
    Box::new(ElectionLoop {
        word: term_word(&header.system),
        tells_heartbeats: header.events.iter().any(|event| event == "heartbeat"),
        timeout_ns,
        window_ns: options.get("window-ns").unwrap_or(window_ns),
        restless_ns: options.get("window-ns").unwrap_or(window_ns).max(window_ns),
        changes: usize::try_from(changes).unwrap_or(usize::MAX),
        findings: Findings::default(),
        since: Mark::default(),
        first_seen: false,
        recent: VecDeque::new(),
        aside: Vec::new(),
        restless: Mark::default(),
        starts: 0,
        start_lines: Vec::new(),
        episode: None,
    })
}

impl Check for ElectionLoop {
    fn advance(&mut self, now: u64, timeline: &Timeline) {
        if timeline.is_disturbance_pending() || !timeline.is_judged() {
            return;
        }
        if timeline.connected_majority().is_empty() {
            // A change of voters can take the majority away without any fault.
            self.unrest_since(Mark { t: now.max(self.restless.t), line: timeline.last().line });
            return;
        }
        let reign = timeline.leader().and_then(|node| timeline.leaders.tenure(node));
        // A leader that is still young may turn out to last: then it ended the unrest when it came.
        let until = reign.map_or(now, |it| it.since.t);
        let lasts = |it: &Tenure| timeline.stalls.lasted(it.since.t, now) >= self.stable_ns();
        if reign.is_some_and(lasts) {
            let since = reign.map_or(timeline.last(), |it| it.since);
            self.settle(since);
            self.restless = Mark { t: now, line: timeline.last().line };
        } else if self.episode.is_none()
            && self.starts >= STARTS_MIN
            && timeline.stalls.lasted(self.restless.t, until) >= self.restless_ns
        {
            self.open(Loop::Restless { from: self.restless }, timeline);
        }
    }

    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let now = Mark { t: record.t, line };
        if timeline.disturbed() != self.since {
            self.reset(timeline.disturbed(), now);
        } else if !timeline.is_judged() && self.episode.is_some() {
            self.close(now);
        }
        if !timeline.is_judged() {
            return;
        }
        if let Some(tenure) = timeline.leaders.opened() {
            let reign = Reign { node: tenure.node, term: tenure.term, at: now, heartbeats: 0 };
            if timeline.is_disturbance_pending() {
                self.aside.truncate(ASIDE_MAX);
                self.aside.push(reign);
            } else {
                self.take(reign, timeline);
            }
        }
        if !timeline.is_disturbance_pending() {
            for reign in std::mem::take(&mut self.aside) {
                self.take(reign, timeline);
            }
            self.judge_changes(timeline);
        }
        if let Body::Node(node) = &record.body {
            let counts = self.counts(now.t, timeline);
            self.node_event(now, node.node, &node.event, counts);
        }
    }

    fn found(&self) -> bool {
        self.episode.is_some() || !self.findings.is_empty()
    }

    fn finish(mut self: Box<Self>, now: u64, timeline: &Timeline) -> Outcome {
        self.advance(now, timeline);
        self.close(timeline.last());
        Outcome { findings: self.findings, ..Outcome::default() }
    }
}

impl ElectionLoop {
    fn grace_end(&self) -> u64 {
        self.since.t.saturating_add(self.timeout_ns.saturating_mul(3))
    }

    /// Whether an election of that time is not explained by what happened before.
    fn counts(&self, at: u64, timeline: &Timeline) -> bool {
        at >= self.grace_end() && !timeline.stalls.is_resting(at)
    }

    /// How long a leader lasts that ends an election.
    fn stable_ns(&self) -> u64 {
        self.timeout_ns.saturating_mul(5)
    }

    fn node_event(&mut self, now: Mark, node: NodeId, event: &Event, counts: bool) {
        match event {
            Event::Heartbeat { dir, leader, msg_term, .. } if dir == "sent" && *leader == node => {
                let reigns = self.recent.iter_mut().chain(&mut self.aside);
                let mut own = reigns.filter(|it| it.node == node && it.term == *msg_term);
                if let Some(reign) = own.next_back() {
                    reign.heartbeats += 1;
                }
            }
            Event::RoleChange {
                to: Role::Looking | Role::PreCandidate | Role::Candidate, ..
            }
            | Event::LeaderElected { .. }
            | Event::TermChange { .. }
                if counts =>
            {
                self.starts += 1;
                if self.start_lines.len() < LINES_MAX {
                    self.start_lines.push(now.line);
                }
            }
            _ => {}
        }
    }

    fn take(&mut self, reign: Reign, timeline: &Timeline) {
        if !self.counts(reign.at.t, timeline) || !self.first_seen {
            self.first_seen = true;
            return;
        }
        self.recent.push_back(reign);
        let changes = matches!(&self.episode, Some(Episode { what: Loop::Changes(_), .. }));
        if changes {
            while self.recent.len() > self.changes.max(1) {
                self.fold_oldest();
            }
            return;
        }
        let last = self.recent.back().map_or(0, |last| last.at.t);
        let too_old = |first: &Reign| timeline.stalls.lasted(first.at.t, last) > self.window_ns;
        while self.recent.front().is_some_and(too_old) {
            self.recent.pop_front();
        }
    }

    fn judge_changes(&mut self, timeline: &Timeline) {
        let known = matches!(&self.episode, Some(Episode { what: Loop::Changes(_), .. }));
        if known || self.recent.len() < self.changes || timeline.connected_majority().is_empty() {
            return;
        }
        if let Some(tally) = self.recent.front().map(Tally::starting_at) {
            self.open(Loop::Changes(tally), timeline);
        }
    }

    fn fold_oldest(&mut self) {
        if let Some(reign) = self.recent.pop_front()
            && let Some(Episode { what: Loop::Changes(tally), .. }) = &mut self.episode
        {
            tally.add(&reign);
        }
    }

    fn open(&mut self, what: Loop, timeline: &Timeline) {
        let majority = timeline.connected_majority().iter().copied().collect();
        self.episode = Some(Episode { what, majority, intact: timeline.is_intact() });
    }

    /// What ran until now has come to its end.
    fn settle(&mut self, now: Mark) {
        self.close(now);
        self.unrest_since(now);
    }

    fn unrest_since(&mut self, since: Mark) {
        self.restless = since;
        self.starts = 0;
        self.start_lines.clear();
    }

    /// The cluster was disturbed: all counts begin anew.
    fn reset(&mut self, since: Mark, now: Mark) {
        self.settle(now);
        self.recent.clear();
        self.since = since;
        self.first_seen = false;
        self.aside.clear();
        self.restless = Mark { t: self.grace_end(), line: since.line };
    }

    fn close(&mut self, now: Mark) {
        let Some(episode) = self.episode.take() else { return };
        let although = if episode.intact {
            "although nothing was broken".to_owned()
        } else {
            format!("although {} were up and connected all the time", list(&episode.majority))
        };
        let finding = match episode.what {
            Loop::Changes(mut tally) => {
                self.recent.drain(..).for_each(|reign| tally.add(&reign));
                self.of_changes(&tally, &although)
            }
            Loop::Restless { from } => Finding {
                sentence: format!(
                    "for {} no leader lasted {} {although}, while nodes kept running for leader \
                     ({})",
                    duration(now.t.saturating_sub(from.t)),
                    duration(self.stable_ns()),
                    counted(self.starts, "event")
                ),
                nodes: episode.majority,
                from_ns: from.t,
                to_ns: now.t.max(from.t),
                lines: lines(self.start_lines.iter().copied().chain([from.line, now.line])),
            },
        };
        self.findings.push(finding);
    }

    fn of_changes(&self, tally: &Tally, although: &str) -> Finding {
        let total: u64 = tally.by_node.values().sum();
        let who = match tally.by_node.first_key_value() {
            Some((node, count)) if *count == total => {
                format!("{node} was elected {}", times(total))
            }
            _ => {
                let each =
                    tally.by_node.iter().map(|(node, count)| format!("{node} {}", times(*count)));
                format!("leaders were elected {} ({})", times(total), list(each))
            }
        };
        let silence = match tally.silent {
            _ if !self.tells_heartbeats => String::new(),
            0 => String::new(),
            silent if silent == total => ", and no heartbeat was sent by any of them".to_owned(),
            silent => format!(", and in {silent} of these terms no heartbeat was sent"),
        };
        Finding {
            sentence: format!(
                "{who} in {} ({}s {} to {}) {although}{silence}",
                duration(tally.to.t - tally.from.t),
                self.word,
                tally.terms.0,
                tally.terms.1
            ),
            nodes: nodes(tally.by_node.keys().copied()),
            from_ns: tally.from.t,
            to_ns: tally.to.t,
            lines: lines(tally.lines.iter().copied()),
        }
    }
}

impl Tally {
    /// Empty: what a leadership achieved is known only once it is over.
    fn starting_at(first: &Reign) -> Self {
        Self {
            from: first.at,
            to: first.at,
            terms: (first.term, first.term),
            by_node: BTreeMap::new(),
            silent: 0,
            lines: Vec::new(),
        }
    }

    fn add(&mut self, reign: &Reign) {
        self.to = self.to.later(reign.at);
        self.terms = (self.terms.0.min(reign.term), self.terms.1.max(reign.term));
        *self.by_node.entry(reign.node).or_default() += 1;
        self.silent += u64::from(reign.heartbeats == 0);
        if self.lines.len() < LINES_MAX {
            self.lines.push(reign.at.line);
        }
    }
}
