//! The search for an order: depth-first and breadth-first in competition.
//!
//! Both move from return to return and try, before an operation returns, the open operations that
//! may come before it (Wing & Gong 1993, with the memory of Lowe 2017, whose sets here hold no trace
//! of what is no longer open). Depth-first finds an order soon where there are many. Breadth-first
//! holds all configurations of one return at once, so that those which used more operations of
//! unknown outcome than need be drop out, and it forgets the past. Whichever ends first decides;
//! they take turns on one thread, so the price is at most twice that of the better one.

use super::{
    budget::Budget,
    config::{Config, Configs, Usages},
    model::{Machine, Model},
    operation::narrow,
    plan::{Level, Plan},
};

/// Steps between two turns, and between two looks at the budget.
const TURN_STEPS: usize = 512;
/// Comparisons that cost about as much as a step.
const STEP_COMPARISONS: usize = 8;
/// So many returns are passed in one step.
const STEP_RETURNS: usize = 32;

/// Which way to search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Both in competition.
    #[default]
    Both,
    DepthFirst,
    BreadthFirst,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Found,
    /// No order exists: none reaches the return at this level, and one reaches that at the other.
    Refuted {
        level: u32,
        verified: u32,
    },
    /// The budget was spent. Up to this level, an order exists.
    OutOfTime {
        level: u32,
    },
    OutOfMemory {
        level: u32,
    },
}

/// How often an operation of unknown outcome may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Supply {
    Once,
    Unlimited,
}

/// What the searches share.
struct Shared<'a, 'm, M: Model> {
    machine: &'a mut Machine<'m, M>,
    plan: &'a Plan,
    usages: &'a mut Usages,
    /// How many observations were looked at.
    observed: usize,
}

impl<M: Model> Shared<'_, '_, M> {
    /// Lets everything that only observes, and is right, take effect.
    fn observe<const W: usize>(&mut self, config: &mut Config<W>, level: &Level) {
        let observing = self.plan.observing(level);
        self.observed += observing.len();
        for open in observing {
            if !config.has(open.slot) && self.machine.step(config.state, open.class).is_some() {
                config.set(open.slot);
            }
        }
    }

    /// The configuration after one more open operation.
    fn after<const W: usize>(
        &mut self,
        config: &Config<W>,
        level: &Level,
        open: super::plan::Open,
    ) -> Option<Config<W>> {
        let mut next = *config;
        next.state = self.machine.step(config.state, open.class)?;
        next.set(open.slot);
        self.observe(&mut next, level);
        Some(next)
    }

    /// The configuration after one more operation of unknown outcome, if one is left and changes
    /// something.
    fn after_unknown<const W: usize>(
        &mut self,
        config: &Config<W>,
        depth: u32,
        level: &Level,
        group: u32,
        supply: Supply,
    ) -> Option<Config<W>> {
        let known = &self.plan.groups[group as usize];
        if supply == Supply::Unlimited {
            let state = self.machine.step(config.state, known.class)?;
            let mut next = Config { state, ..*config };
            self.observe(&mut next, level);
            return (state != config.state).then_some(next);
        }
        let used = self.usages.used(config.usage, group);
        if known.from(used)? > depth {
            return None;
        }
        let state = self.machine.step(config.state, known.class)?;
        if state == config.state {
            return None;
        }
        let usage = self.usages.plus(config.usage, group);
        let mut next = Config { state, usage, done: config.done };
        self.observe(&mut next, level);
        Some(next)
    }

    /// Steps that were taken beside those that a turn counts.
    fn beside(&self, sets_compared: usize) -> usize {
        (sets_compared + self.observed) / STEP_COMPARISONS + self.machine.worked
    }
}

/// A configuration whose alternatives are being tried.
#[derive(Debug)]
struct Frame<const W: usize> {
    config: Config<W>,
    level: u32,
    /// The next alternative.
    next: u32,
}

#[derive(Debug)]
struct DepthFirst<const W: usize> {
    frames: Vec<Frame<W>>,
    tried: Configs<W>,
    /// Initial configurations that were not tried.
    roots: Vec<Config<W>>,
    deepest: u32,
}

/// In place of the next alternative: the configuration is still passing returns.
const PASSING: u32 = u32::MAX;

enum Turn {
    Goes,
    Found,
    Refuted,
}

impl<const W: usize> DepthFirst<W> {
    fn new() -> Self {
        Self { frames: Vec::new(), tried: Configs::new(), roots: Vec::new(), deepest: 0 }
    }

    fn begin(&mut self, states: &[u32]) {
        self.frames.clear();
        self.tried.reset();
        self.roots.clear();
        self.roots.extend(states.iter().map(|state| Config::new(*state)));
        self.deepest = 0;
    }

    fn bytes(&self) -> usize {
        self.tried.bytes() + self.frames.capacity() * size_of::<Frame<W>>()
    }

    /// Goes over the returns that a configuration already allows. True at the end of the history.
    fn enter<M: Model>(
        &mut self,
        shared: &mut Shared<'_, '_, M>,
        mut config: Config<W>,
        mut depth: u32,
    ) -> bool {
        let plan = shared.plan;
        for _ in 0..STEP_RETURNS {
            let Some(level) = plan.levels.get(depth as usize) else { return true };
            shared.observe(&mut config, level);
            if !config.has(level.target.slot) {
                self.deepest = self.deepest.max(depth);
                if self.tried.insert(config, depth, shared.usages) {
                    self.frames.push(Frame { config, level: depth, next: 0 });
                }
                return false;
            }
            config.clear(level.target.slot);
            depth += 1;
        }
        self.frames.push(Frame { config, level: depth, next: PASSING });
        false
    }

    /// The alternatives of a configuration, best first: the operation that is about to return; what
    /// makes it right; anything else. Each time known outcomes come before unknown ones.
    fn turn<M: Model>(&mut self, shared: &mut Shared<'_, '_, M>) -> Turn {
        let plan = shared.plan;
        let mut steps = 0;
        let beside = shared.beside(self.tried.compared());
        while steps + shared.beside(self.tried.compared()) - beside < TURN_STEPS {
            steps += 1;
            let Some(frame) = self.frames.last_mut() else {
                let Some(root) = self.roots.pop() else { return Turn::Refuted };
                if self.enter(shared, root, 0) {
                    return Turn::Found;
                }
                continue;
            };
            let (config, depth, choice) = (frame.config, frame.level, frame.next);
            if choice == PASSING {
                self.frames.pop();
                if self.enter(shared, config, depth) {
                    return Turn::Found;
                }
                continue;
            }
            frame.next += 1;
            let level = &plan.levels[depth as usize];
            let (changing, groups) = (plan.changing(level), plan.groups_at(level));
            let known = narrow(changing.len());
            let all = known + narrow(groups.len());
            if choice > 2 * all {
                self.frames.pop();
                continue;
            }
            let child = if choice == 0 {
                // An observing target that is right has been observed on entering.
                if shared.machine.only_observes(level.target.class) {
                    None
                } else {
                    shared.after(&config, level, level.target)
                }
            } else {
                let (helps, at) = ((choice - 1) < all, (choice - 1) % all);
                let child = match changing.get(at as usize) {
                    Some(open) if *open == level.target || config.has(open.slot) => None,
                    Some(open) => shared.after(&config, level, *open),
                    None => {
                        let group = groups[(at - known) as usize];
                        shared.after_unknown(&config, depth, level, group, Supply::Once)
                    }
                };
                child.filter(|child| {
                    let right = child.has(level.target.slot)
                        || shared.machine.step(child.state, level.target.class).is_some();
                    right == helps
                })
            };
            if let Some(child) = child
                && self.enter(shared, child, depth)
            {
                return Turn::Found;
            }
        }
        Turn::Goes
    }
}

#[derive(Debug)]
struct BreadthFirst<const W: usize> {
    supply: Supply,
    level: u32,
    /// Configurations to expand at this level, by how many operations of unknown outcome they used,
    /// so that those which dominate come first.
    todo: Vec<Vec<Config<W>>>,
    /// Before this place, nothing is left to do.
    first: usize,
    /// What is being expanded, and its next alternative.
    expanded: Option<(Config<W>, usize)>,
    /// Configurations at which this return has not happened yet.
    before: Configs<W>,
    after: Configs<W>,
    /// Those at which it has.
    next: Vec<Config<W>>,
    /// What the last return left; before the place, it is among those to expand.
    incoming: Vec<Config<W>>,
    incoming_at: usize,
}

impl<const W: usize> BreadthFirst<W> {
    fn new(supply: Supply) -> Self {
        Self {
            supply,
            level: 0,
            todo: Vec::new(),
            first: 0,
            expanded: None,
            before: Configs::new(),
            after: Configs::new(),
            next: Vec::new(),
            incoming: Vec::new(),
            incoming_at: 0,
        }
    }

    fn begin(&mut self, states: &[u32]) {
        (self.level, self.first, self.expanded, self.incoming_at) = (0, 0, None, 0);
        self.todo.iter_mut().for_each(Vec::clear);
        self.before.reset();
        self.after.reset();
        self.next.clear();
        self.incoming.clear();
        self.incoming.extend(states.iter().rev().map(|state| Config::new(*state)));
    }

    fn bytes(&self) -> usize {
        let todo: usize = self.todo.iter().map(Vec::capacity).sum();
        (todo + self.next.capacity() + self.incoming.capacity()) * size_of::<Config<W>>()
            + self.before.bytes()
            + self.after.bytes()
    }

    fn add<M: Model>(&mut self, shared: &Shared<'_, '_, M>, config: Config<W>) {
        if !self.before.insert(config, 0, shared.usages) {
            return;
        }
        let total = shared.usages.total(config.usage) as usize;
        if self.todo.len() <= total {
            self.todo.resize_with(total + 1, Vec::new);
        }
        self.first = self.first.min(total);
        self.todo[total].push(config);
    }

    fn turn<M: Model>(&mut self, shared: &mut Shared<'_, '_, M>) -> Turn {
        let plan = shared.plan;
        let mut steps = 0;
        let until = self.beside(shared) + TURN_STEPS;
        while steps + self.beside(shared) < until {
            steps += 1;
            let Some(level) = plan.levels.get(self.level as usize) else { return Turn::Found };
            if let Some((config, mut at)) = self.expanded.take() {
                let (changing, groups) = (plan.changing(level), plan.groups_at(level));
                while at < changing.len() + groups.len() {
                    if steps + self.beside(shared) >= until {
                        self.expanded = Some((config, at));
                        return Turn::Goes;
                    }
                    steps += 1;
                    let next = match changing.get(at) {
                        Some(open) if config.has(open.slot) => None,
                        Some(open) => shared.after(&config, level, *open),
                        None => {
                            let group = groups[at - changing.len()];
                            shared.after_unknown(&config, self.level, level, group, self.supply)
                        }
                    };
                    if let Some(next) = next {
                        self.add(shared, next);
                    }
                    at += 1;
                }
                continue;
            }
            if let Some(config) = self.incoming.get(self.incoming_at) {
                let mut config = *config;
                self.incoming_at += 1;
                shared.observe(&mut config, level);
                self.add(shared, config);
                continue;
            }
            while self.todo.get(self.first).is_some_and(Vec::is_empty) {
                self.first += 1;
            }
            let Some(config) = self.todo.get_mut(self.first).and_then(Vec::pop) else {
                if self.next.is_empty() {
                    return Turn::Refuted;
                }
                self.level += 1;
                self.first = self.todo.len();
                self.before.clear();
                self.after.clear();
                // Those that used least are taken first.
                std::mem::swap(&mut self.incoming, &mut self.next);
                self.next.clear();
                self.incoming_at = 0;
                continue;
            };
            if !config.has(level.target.slot) {
                self.expanded = Some((config, 0));
                continue;
            }
            let mut returned = config;
            returned.clear(level.target.slot);
            if self.after.insert(returned, 0, shared.usages) {
                self.next.push(returned);
            }
        }
        Turn::Goes
    }

    fn beside<M: Model>(&self, shared: &Shared<'_, '_, M>) -> usize {
        shared.beside(self.before.compared() + self.after.compared())
    }
}

/// What a search remembers, kept for the next one.
#[derive(Debug)]
pub(crate) struct Memory<const W: usize> {
    usages: Usages,
    depth: DepthFirst<W>,
    exact: BreadthFirst<W>,
    relaxed: BreadthFirst<W>,
}

impl<const W: usize> Memory<W> {
    pub(crate) fn new() -> Self {
        Self {
            usages: Usages::new(),
            depth: DepthFirst::new(),
            exact: BreadthFirst::new(Supply::Once),
            relaxed: BreadthFirst::new(Supply::Unlimited),
        }
    }
}

/// Which searches are still in the race; those that took too much memory are out of it.
struct Race {
    depth: bool,
    exact: bool,
    relaxed: bool,
}

/// What a search may take.
#[derive(Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub(crate) budget: &'a dyn Budget,
    /// Rounds of the race.
    pub(crate) rounds_max: u32,
    /// The sets and the numbered states and usages together stay below about so many bytes.
    pub(crate) bytes_max: usize,
}

/// Searches an order of what `plan` holds, from any of the initial states, and counts the rounds it
/// took.
pub(crate) fn search<const W: usize, M: Model>(
    machine: &mut Machine<'_, M>,
    plan: &Plan,
    initial: &[u32],
    memory: &mut Memory<W>,
    strategy: Strategy,
    limits: Limits<'_>,
) -> (Ending, u32) {
    let Memory { usages, depth, exact, relaxed } = memory;
    usages.reset();
    let mut shared = Shared { machine, plan, usages, observed: 0 };
    let mut race = Race { depth: strategy != Strategy::BreadthFirst, exact: false, relaxed: false };
    if race.depth {
        depth.begin(initial);
    }
    let (mut verified, mut rounds) = (0, 0);
    let ending = loop {
        if race.depth {
            let turn = depth.turn(&mut shared);
            verified = verified.max(depth.deepest);
            match turn {
                Turn::Found => break Ending::Found,
                Turn::Refuted => break Ending::Refuted { level: depth.deepest, verified },
                Turn::Goes => {}
            }
            // A set doubles when it grows: leave room for the old and the new one.
            if depth.bytes() * 3 > limits.bytes_max {
                race.depth = false;
                *depth = DepthFirst::new();
            }
        }
        // Most histories are decided in the first turn, so the others enter late.
        if rounds == 0 && strategy != Strategy::DepthFirst {
            race.exact = true;
            exact.begin(initial);
            race.relaxed = strategy == Strategy::Both && !plan.groups.is_empty();
            if race.relaxed {
                relaxed.begin(initial);
            }
        }
        rounds += 1;
        if race.exact {
            let turn = exact.turn(&mut shared);
            verified = verified.max(exact.level);
            match turn {
                Turn::Found => break Ending::Found,
                Turn::Refuted => break Ending::Refuted { level: exact.level, verified },
                Turn::Goes => {}
            }
            if exact.bytes() * 3 > limits.bytes_max {
                race.exact = false;
                *exact = BreadthFirst::new(Supply::Once);
            }
        }
        if race.relaxed {
            match relaxed.turn(&mut shared) {
                Turn::Refuted => break Ending::Refuted { level: relaxed.level, verified },
                Turn::Goes if relaxed.bytes() * 3 <= limits.bytes_max => {}
                Turn::Goes | Turn::Found => {
                    race.relaxed = false;
                    *relaxed = BreadthFirst::new(Supply::Unlimited);
                }
            }
        }
        let common = shared.usages.bytes() + shared.machine.bytes();
        let nobody = !race.depth && !race.exact && !race.relaxed;
        if nobody || common > limits.bytes_max / 2 {
            break Ending::OutOfMemory { level: verified };
        }
        if rounds >= limits.rounds_max || limits.budget.is_spent() {
            break Ending::OutOfTime { level: verified };
        }
    };
    (ending, rounds)
}
