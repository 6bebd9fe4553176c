//! The fewest steps that still fail: delta debugging over a schedule. Pure: whether a smaller
//! schedule still fails is somebody else's to say.
//!
//! After A. Zeller and R. Hildebrandt, "Simplifying and isolating failure-inducing input" (2002),
//! with three differences that come from what a run costs. A fault and its undo go together first,
//! because one without the other is rarely what failed; where a fault is undone by the clock, they are one
//! step. Each question names many candidates at once, the smallest first, so that they can be tried side by
//! side. And before groups of all sizes are left out,
//! guesses are made, each of which costs a single run if it is wrong: nothing at all, one fault alone, only
//! the last faults, parts by chance, everything in less time. What is wrong because of many faults is
//! rare, and of few a part by chance has all rather often, while a half in order has them rarely.
//!
//! Replay is not exact, so an answer may be wrong; the search only ever moves to a candidate that
//! was said to fail, and ends where none of its smaller neighbours was.

mod join;
mod parts;

use std::{collections::BTreeSet, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use usurper_history::NodeId;

use self::{
    join::{joins, said_shortly},
    parts::{Waits, lesser, name_of, part, time_of, units, with_node, without},
};
use crate::{
    fault::Fault,
    pattern::Pattern,
    schedule::{Schedule, Step},
    target::Target,
    time_span::TimeSpan,
};

/// So many of the last faults alone are a guess, at most.
const LAST_MAX: usize = 5;
/// So few units are not sampled: trying each is as quick.
const SAMPLED_MIN: usize = 4;
/// Random parts are about so large, of many units and of few; of each share, so many are tried.
const SHARES: [[f64; 4]; 2] = [[0.3, 0.5, 0.7, 0.85], [0.5, 0.65, 0.8, 0.9]];
const MANY: usize = 12;
const SAMPLES: usize = 6;
/// And all but a half, a third and a quarter, in order: what matters may be close together.
const SLICES: [usize; 3] = [2, 3, 4];
/// How long an event may take to come.
const EVENT_TIME: Duration = Duration::from_secs(3);
/// A wait that is not worth a try to halve it.
const WAIT_SHORT: Duration = Duration::from_millis(100);
/// How long a cluster is watched after what failed before it was healed.
pub const SETTLE_CUT: TimeSpan = TimeSpan::millis(500);
/// The shortest time to watch the healed cluster.
const SETTLE_MIN: TimeSpan = TimeSpan::millis(200);

/// How long to wait instead of for an event that only a defect shows.
const DEFECT_WAITS: [TimeSpan; 3] =
    [TimeSpan::millis(0), TimeSpan::millis(300), TimeSpan::millis(1_000)];

/// What can be made smaller: the steps, and how long the healed cluster is watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Candidate {
    pub settle: TimeSpan,
    #[serde(default)]
    pub steps: Schedule,
}

impl Candidate {
    /// The same steps with so many quarters of every wait between them; with more than four, it waits longer.
    pub fn hurried(&self, quarters: u32) -> Self {
        let mut hurried = self.clone();
        for step in &mut hurried.steps {
            step.after = part(step.after, quarters);
            // Without it, it would never be undone.
            step.lasts = step.lasts.map(|lasts| part(Some(lasts), quarters).unwrap_or_default());
            step.every = step.every.map(|every| {
                part(Some(every), quarters).filter(|part| !part.0.is_zero()).unwrap_or(every)
            });
            // A time of day stays one: without it, the step would wait for those before it.
            step.at = step.at.map(|at| part(Some(at), quarters).unwrap_or_default());
        }
        hurried
    }

    /// Without what had not begun when it failed: those runs were the same without. None if that is
    /// nothing.
    pub fn until(&self, done: &Done, nodes: &[NodeId]) -> Option<Self> {
        if !done.settled.0.is_zero() {
            // All steps had been waited for before it was healed.
            let settle = part(Some(done.settled), 5).unwrap_or_default();
            return (settle < self.settle).then(|| Self { settle, ..self.clone() });
        }
        let steps = &self.steps;
        let later = |index: &usize| {
            let same = |other: &usize| steps[*other].track == steps[*index].track;
            !(*index..steps.len()).filter(same).any(|other| done.begun.contains(&other))
        };
        let removed: BTreeSet<_> = (0..steps.len()).filter(later).collect();
        let mut left = without(steps, removed, Waits::Kept, nodes);
        if done.rest.0 >= WAIT_SHORT && left.len() < steps.len() {
            // Nothing may be healed before that.
            let mut wait = Step::new(Fault::Wait, None);
            wait.after = Some(done.rest);
            left.push(wait);
        }
        let until = Self { settle: self.settle.min(SETTLE_CUT), steps: left };
        let fits = until != *self && Step::validate_all(&until.steps, nodes).is_ok();
        fits.then_some(until)
    }

    /// How long its steps may take: their waits twice, and some time for each event. A run ends with its
    /// last step, whatever time it is given.
    pub fn time(&self) -> TimeSpan {
        let waits: Duration = self.steps.iter().map(time_of).sum();
        let at = self.steps.iter().filter_map(|step| step.at).max().unwrap_or_default().0;
        let events = self.steps.iter().filter(|step| step.on.is_some()).count();
        let events = u32::try_from(events).unwrap_or(u32::MAX).saturating_add(2);
        TimeSpan::millis(1_000 * (((waits + at) * 2 + EVENT_TIME * events).as_secs() + 1))
    }
}

/// A candidate, and how it differs from what is known to fail.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    pub what: String,
    pub candidate: Candidate,
}

/// Whoever answers wants no more questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// What an answer may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// What does not fail at once is given up: there are many proposals, and more will be asked about.
    Guess,
    /// As many runs as it takes to be sure.
    Sure,
}

/// A proposal that still fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Failing {
    /// Its place among those that were asked about.
    pub index: usize,
    /// What had been done by then each time that it failed, if it failed before all was done.
    pub done: Option<Done>,
}

/// How far a schedule had come when it was known to have failed. What comes later cannot matter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Done {
    /// The places of the steps that had begun.
    pub begun: BTreeSet<usize>,
    /// How long ago the last step without a track had begun, or the schedule, where none had.
    pub rest: TimeSpan,
    /// How long the healed cluster had been watched; not at all, where it failed before it was healed.
    pub settled: TimeSpan,
}

impl Done {
    /// What had been done in one of two runs.
    pub fn or(mut self, other: &Self) -> Self {
        self.begun.extend(&other.begun);
        self.rest = self.rest.max(other.rest);
        self.settled = self.settled.max(other.settled);
        self
    }
}

/// Says which of some proposals still fails; of several the one named first, if it can.
pub type Oracle<'a> = dyn FnMut(&[Proposal], Effort) -> Result<Option<Failing>, Stopped> + 'a;

/// What a search came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What was found to fail, each smaller than the one before it; the first is the start.
    pub trail: Vec<Proposal>,
    /// No smaller neighbour of the last one fails; otherwise the search was stopped.
    pub complete: bool,
}

impl Shrunk {
    /// The smallest that fails.
    pub fn smallest(&self) -> &Candidate {
        &self.trail.last().expect("the trail begins with the start").candidate
    }
}

/// How often a candidate failed, and how often it must to count as failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Trial {
    /// Failures that are needed.
    pub need: u32,
    /// Of so many runs.
    pub of: u32,
    pub failed: u32,
    pub passed: u32,
}

impl Trial {
    /// A trial that needs `need` failures of `of` runs.
    pub fn new(need: u32, of: u32) -> Self {
        Self { need: need.min(of), of, failed: 0, passed: 0 }
    }

    /// Whether it still fails, as soon as the runs left cannot change that.
    pub fn answer(&self) -> Option<bool> {
        if self.failed >= self.need {
            Some(true)
        } else if self.passed > self.of - self.need {
            Some(false)
        } else {
            None
        }
    }
}

/// Makes a failing schedule smaller, as long as the oracle says that it still fails.
///
/// Every candidate that the oracle is asked about can run on these nodes.
pub fn shrink(start: Candidate, nodes: &[NodeId], oracle: &mut Oracle<'_>) -> Shrunk {
    let mut start = Proposal { what: "as it was".to_owned(), candidate: start };
    let mut search = Search { nodes, oracle, trail: Vec::new() };
    search.say_shortly(&mut start.candidate);
    search.trail.push(start);
    let complete = search.run().is_ok();
    Shrunk { trail: search.trail, complete }
}

struct Search<'a, 'b> {
    nodes: &'a [NodeId],
    oracle: &'a mut Oracle<'b>,
    trail: Vec<Proposal>,
}

impl Search<'_, '_> {
    fn run(&mut self) -> Result<(), Stopped> {
        loop {
            let before = self.current().clone();
            // A good guess makes the next ones quicker to answer.
            while self.guess()? {}
            // Every run to come is the shorter for it.
            self.shorten_all()?;
            self.drop_some()?;
            if self.current().steps.len() < before.steps.len() {
                // Fewer steps are worth more than less of each.
                continue;
            }
            self.lessen()?;
            self.shorten()?;
            if *self.current() == before {
                return Ok(());
            }
        }
    }

    fn current(&self) -> &Candidate {
        &self.trail.last().expect("the trail begins with the start").candidate
    }

    fn try_all(&mut self, proposals: Vec<Proposal>) -> Result<bool, Stopped> {
        self.ask(proposals, Effort::Sure)
    }

    /// Says the same with fewer steps.
    fn say_shortly(&self, candidate: &mut Candidate) {
        let steps = said_shortly(&candidate.steps);
        // A step that is named by another one stays.
        if Step::validate_all(&steps, self.nodes).is_ok() {
            candidate.steps = steps;
        }
    }

    /// Asks about some proposals, and moves to the one that still fails.
    fn ask(&mut self, proposals: Vec<Proposal>, effort: Effort) -> Result<bool, Stopped> {
        let mut asked: Vec<Proposal> = Vec::new();
        for mut proposal in proposals {
            self.say_shortly(&mut proposal.candidate);
            let fits = proposal.candidate != *self.current()
                && Step::validate_all(&proposal.candidate.steps, self.nodes).is_ok();
            if fits && !asked.iter().any(|other| other.candidate == proposal.candidate) {
                asked.push(proposal);
            }
        }
        if asked.is_empty() {
            return Ok(false);
        }
        match (self.oracle)(&asked, effort)? {
            Some(Failing { index, done }) => {
                let failing = asked.swap_remove(index);
                let cut = done.and_then(|done| failing.candidate.until(&done, self.nodes));
                self.trail.push(failing);
                if let Some(candidate) = cut {
                    self.trail.push(Proposal { what: "until it failed".to_owned(), candidate });
                }
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Guesses, each of which costs a single run if it is wrong: nothing, one unit alone, the last units
    /// alone, parts by chance, all of it in less time.
    fn guess(&mut self) -> Result<bool, Stopped> {
        let steps = &self.current().steps;
        let units = units(steps);
        let mut guesses = vec![("nothing but the start".to_owned(), self.all_but(&[]))];
        for unit in units.iter().filter(|unit| steps[unit[0]].fault.info().undo.is_some()) {
            let what = format!("only {}", name_of(steps, unit));
            guesses.push((what, self.all_but(&[unit])));
        }
        for count in 2..units.len().min(LAST_MAX + 1) {
            let last: Vec<_> = units[units.len() - count..].iter().collect();
            let what = format!("only the last {count} of {}", units.len());
            guesses.push((what, self.all_but(&last)));
        }
        let proposals = [self.both_ways(guesses), self.parts(), self.shorter_everywhere()].concat();
        self.ask(proposals, Effort::Guess)
    }

    /// The places of all steps but those of some units.
    fn all_but(&self, kept: &[&Vec<usize>]) -> BTreeSet<usize> {
        let kept: BTreeSet<_> = kept.iter().copied().flatten().copied().collect();
        (0..self.current().steps.len()).filter(|index| !kept.contains(index)).collect()
    }

    /// Without some steps: all of it without the waits of what goes first, then with those between.
    fn both_ways(&self, guesses: Vec<(String, BTreeSet<usize>)>) -> Vec<Proposal> {
        let ways = [Waits::Gone, Waits::Between].into_iter();
        let each = ways.flat_map(|waits| guesses.iter().map(move |guess| (guess, waits)));
        each.map(|((what, removed), waits)| self.without(what.clone(), removed, waits)).collect()
    }

    /// Random parts of the units, the smallest first.
    ///
    /// Of few faults that matter among many, a half by chance has all rather often, however far they are
    /// apart; and where several are tried side by side, one of them nearly always.
    fn parts(&self) -> Vec<Proposal> {
        let units = units(&self.current().steps);
        if units.len() <= SAMPLED_MIN {
            return Vec::new();
        }
        let mut random = StdRng::seed_from_u64(self.trail.len() as u64);
        let mut parts = BTreeSet::new();
        let all: Vec<usize> = (0..units.len()).collect();
        for slices in SLICES {
            for slice in all.chunks(units.len().div_ceil(slices)) {
                let kept = all.iter().copied().filter(|place| !slice.contains(place));
                let kept: Vec<usize> = kept.collect();
                parts.insert((kept.len(), kept));
            }
        }
        for share in SHARES[usize::from(units.len() <= MANY)] {
            for _ in 0..SAMPLES {
                let kept: Vec<usize> = (0..units.len())
                    // What happened last is the likeliest to matter.
                    .filter(|place| {
                        let late = (*place as f64 + 0.5) / units.len() as f64;
                        random.random::<f64>() < share * (0.5 + late)
                    })
                    .collect();
                parts.insert((kept.len(), kept));
            }
        }
        let parts = parts.into_iter().filter(|(count, _)| *count < units.len());
        let proposal = |(count, kept): (usize, Vec<usize>)| {
            let kept: Vec<_> = kept.into_iter().map(|place| &units[place]).collect();
            let what = format!("only some {count} of {}", units.len());
            self.without(what, &self.all_but(&kept), Waits::Between)
        };
        parts.map(proposal).collect()
    }

    /// Deletes as much as still fails without: faults together with what undoes them, in groups of all
    /// sizes, and single steps (an undo that the end of the run does anyway, a wait); and joins steps. All are
    /// one question, because one that fails answers for those that are larger.
    fn drop_some(&mut self) -> Result<(), Stopped> {
        loop {
            let steps = &self.current().steps;
            let units = units(steps);
            let mut sets = BTreeSet::new();
            let mut groups = 2;
            while groups / 2 < units.len() {
                let size = units.len().div_ceil(groups);
                sets.extend(
                    units
                        .chunks(size)
                        .map(|chunk| chunk.iter().flatten().copied().collect::<BTreeSet<usize>>()),
                );
                groups *= 2;
            }
            sets.extend((0..steps.len()).map(|index| BTreeSet::from([index])));
            let mut proposals = Vec::new();
            for waits in [Waits::Gone, Waits::Between, Waits::Kept] {
                // What happened last is the likeliest to have come after the failure.
                for removed in sets.iter().rev() {
                    let list: Vec<_> = removed.iter().copied().collect();
                    let what = format!("without {}", name_of(steps, &list));
                    proposals.push(self.without(what, removed, waits));
                }
            }
            let settle = self.current().settle;
            proposals.extend(self.named());
            proposals.extend(joins(steps).into_iter().map(|(what, steps)| {
                let candidate = Candidate { settle, steps };
                Proposal { what, candidate }
            }));
            proposals.sort_by_key(|proposal| proposal.candidate.steps.len());
            if !self.try_all(proposals)? {
                return Ok(());
            }
        }
    }

    /// Aims at fewer nodes and links, does less often, and waits for less: earlier events, and none that only a defect shows.
    fn lessen(&mut self) -> Result<(), Stopped> {
        loop {
            let mut proposals = self.narrower();
            for (index, step) in self.current().steps.iter().enumerate() {
                let fault = step.fault;
                if step.on.as_ref().is_some_and(Pattern::waits_for_defect) {
                    for wait in DEFECT_WAITS {
                        let what = format!("{fault} after {wait} rather than on a defect");
                        let step = Step {
                            on: None,
                            within: None,
                            anyway: false,
                            after: Some(TimeSpan(step.after.unwrap_or_default().0 + wait.0)),
                            ..step.clone()
                        };
                        proposals.push(self.changed(index, what, |changed| *changed = step));
                    }
                }
                if step.lasts.is_some() {
                    let what = format!("{fault} for good");
                    proposals.push(self.changed(index, what, |step| step.lasts = None));
                }
                for (what, lesser) in lesser(step) {
                    let what = format!("{fault} {what}");
                    proposals.push(self.changed(index, what, |changed| *changed = lesser));
                }
            }
            if !self.try_all(proposals)? {
                return Ok(());
            }
        }
    }

    /// Without an event that only says whom later steps hit: then they name each node in turn.
    fn named(&self) -> Vec<Proposal> {
        let current = self.current();
        let mut proposals = Vec::new();
        for (index, step) in current.steps.iter().enumerate() {
            let Some(on) = step.on.as_ref().filter(|_| step.fault == Fault::Wait) else { continue };
            for name in on.captures().into_keys() {
                for node in self.nodes {
                    let mut steps = current.steps.clone();
                    steps.remove(index);
                    let Some(steps) = with_node(&steps, &name, *node) else { continue };
                    let what = format!("without wait, {node} for ${name}");
                    let candidate = Candidate { steps, ..current.clone() };
                    proposals.push(Proposal { what, candidate });
                }
            }
        }
        proposals
    }

    fn narrower(&self) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        for (index, step) in self.current().steps.iter().enumerate() {
            let fault = step.fault;
            if let Some(Target::Several(targets)) = &step.target {
                for target in targets {
                    let what = format!("{fault} only {target}");
                    let target = Some(target.clone());
                    proposals.push(self.changed(index, what, |step| step.target = target));
                }
            }
            if step.links.len() > 1 {
                for chunk in step.links.chunks(step.links.len().div_ceil(2)) {
                    let what = format!("{fault} fewer links");
                    let links = chunk.to_vec();
                    proposals.push(self.changed(index, what, |step| step.links = links));
                }
                for left_out in &step.links {
                    let what = format!("{fault} without {left_out}");
                    let rest = step.links.iter().filter(|link| *link != left_out);
                    let links = rest.cloned().collect();
                    proposals.push(self.changed(index, what, |step| step.links = links));
                }
            }
        }
        proposals
    }

    /// Waits less everywhere at once.
    fn shorten_all(&mut self) -> Result<(), Stopped> {
        while self.try_all(self.shorter_everywhere())? {}
        Ok(())
    }

    fn shorter_everywhere(&self) -> Vec<Proposal> {
        let current = self.current();
        let mut proposals = Vec::new();
        for (what, share) in
            [("no wait", 0), ("a quarter of every wait", 1), ("half of every wait", 2)]
        {
            for settles in [true, false] {
                let mut candidate = current.hurried(share);
                if settles {
                    let settle = part(Some(current.settle), share).unwrap_or_default();
                    candidate.settle = settle.max(SETTLE_MIN).min(current.settle);
                }
                proposals.push(Proposal { what: what.to_owned(), candidate });
            }
        }
        proposals
    }

    /// Waits less: everywhere at once first, then step by step.
    fn shorten(&mut self) -> Result<(), Stopped> {
        loop {
            let mut proposals = self.shorter_everywhere();
            let current = self.current();
            for share in [0, 2] {
                for (index, step) in current.steps.iter().enumerate() {
                    if step.after.is_some() {
                        let after = part(step.after, share);
                        let what = match after {
                            None => format!("{} at once", step.fault),
                            Some(after) => format!("{} after {after}", step.fault),
                        };
                        proposals.push(self.changed(index, what, |step| step.after = after));
                    }
                }
                for (index, step) in current.steps.iter().enumerate() {
                    if let Some(lasts) = step.lasts {
                        let lasts = part(Some(lasts), share).unwrap_or_default();
                        let what = format!("{} for {lasts}", step.fault);
                        let change = |step: &mut Step| step.lasts = Some(lasts);
                        proposals.push(self.changed(index, what, change));
                    }
                    if let Some(at) = step.at.filter(|at| *at > TimeSpan::default()) {
                        let at = part(Some(at), share).unwrap_or_default();
                        let what = format!("{} at {at}", step.fault);
                        proposals.push(self.changed(index, what, |step| step.at = Some(at)));
                    }
                }
                let settle = part(Some(current.settle), share).unwrap_or_default().max(SETTLE_MIN);
                let candidate = Candidate { settle, ..current.clone() };
                proposals.push(Proposal { what: format!("settle {settle}"), candidate });
            }
            proposals.retain(|proposal| proposal.candidate.settle <= self.current().settle);
            if !self.try_all(proposals)? {
                return Ok(());
            }
        }
    }

    fn changed(&self, index: usize, what: String, change: impl FnOnce(&mut Step)) -> Proposal {
        let mut candidate = self.current().clone();
        change(&mut candidate.steps[index]);
        Proposal { what, candidate }
    }

    fn without(&self, what: String, removed: &BTreeSet<usize>, waits: Waits) -> Proposal {
        let steps = without(&self.current().steps, removed.clone(), waits, self.nodes);
        Proposal { what, candidate: Candidate { settle: self.current().settle, steps } }
    }
}
