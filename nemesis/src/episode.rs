//! The shapes in which random faults come, after those of failures in the field: one fault; a burst in
//! the election that a fault has brought about; a rolling restart; outages that relieve each other.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};
use usurper_history::{NodeId, frame::Kind};

use crate::{
    cue::Cue,
    fault::Fault,
    generator::{GeneratorOptions, of_any_scale, spread, whole_millis},
    link::MessageKind,
    mix::{Aim, Mix, MixKind, Strike},
    schedule::{Schedule, Step},
    target::{LinkTarget, Target},
};

/// What a leader says all the time.
pub(crate) const HEARTBEAT: MessageKind = MessageKind(Kind::Heartbeat);
/// How close to each other two faults of one episode come, at the closest.
const GAP_MIN: Duration = Duration::from_millis(5);

/// From when to when a fault lasts, or an episode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: Duration,
    pub(crate) end: Duration,
}

impl Span {
    fn length(self) -> Duration {
        self.end.saturating_sub(self.start)
    }

    /// The time after this part of it.
    fn at(self, share: f64) -> Duration {
        self.start + self.length().mul_f64(share)
    }
}

/// A schedule in the making.
pub(crate) struct Episodes<'a> {
    pub(crate) nodes: &'a [NodeId],
    pub(crate) options: &'a GeneratorOptions,
    /// Those of this seed.
    families: Vec<Mix>,
    /// Hit more often than the other nodes.
    favourite: NodeId,
    /// Of the kinds of messages, those that faults of this seed single out.
    pub(crate) kinds: Vec<MessageKind>,
    pub(crate) random: StdRng,
    strikes: u32,
    steps_max: usize,
    /// Steps that belong together. The first of each has a time.
    pub(crate) blocks: Vec<Vec<Step>>,
}

impl<'a> Episodes<'a> {
    pub(crate) fn new(
        nodes: &'a [NodeId],
        options: &'a GeneratorOptions,
        families: Vec<Mix>,
        steps_max: usize,
        mut random: StdRng,
    ) -> Self {
        let favourite = nodes[random.random_range(0..nodes.len())];
        let mut kinds = options.kinds.clone();
        let singled_out = random.random_range(1..5);
        while kinds.len() > singled_out {
            kinds.swap_remove(random.random_range(0..kinds.len()));
        }
        let (strikes, blocks) = (0, Vec::new());
        Self { nodes, options, families, favourite, kinds, random, strikes, steps_max, blocks }
    }

    /// All steps, a fault before what undoes it.
    pub(crate) fn into_schedule(mut self) -> Schedule {
        self.blocks.sort_by_key(|block| block[0].at);
        self.blocks.into_iter().flatten().collect()
    }

    /// A random episode.
    pub(crate) fn add(&mut self, span: Span) {
        match self.random.random_range(0..10) {
            0..3 => self.single(span),
            3..8 => self.burst(span),
            8 => self.rolling(span),
            _ => self.relay(span),
        }
    }

    /// Something is broken from the begin to the end, there is unrest under it, and then nothing more
    /// happens: what goes wrong for good has the time to show.
    /// In part of the draws there is quiet first, and no unrest: a leader that has led for long is hit out
    /// of the blue.
    pub(crate) fn lasting(&mut self, span: Span) {
        let quiet = self.random.random_bool(0.3);
        let start = if quiet { span.at(self.random.random_range(0.3..0.7)) } else { span.start };
        let span = Span { start, ..span };
        let name = self.next_name();
        let Strike { fault, undos } = match (self.random.random_bool(0.5), self.taker()) {
            (true, Some(mix)) => {
                let whom = match self.random.random_bool(0.6) {
                    true => Target::Leader,
                    false => Target::Node(self.favourite),
                };
                self.aimed(mix, name, whom)
            }
            _ => {
                let mix = Mix::draw(&self.families, &mut self.random);
                let whom = self.whom(mix);
                self.aimed(mix, name, whom)
            }
        };
        self.by_the_clock(fault, undos, span);
        if quiet {
            return;
        }
        let gap = of_any_scale(GAP_MIN * 4, span.length() / 8, &mut self.random);
        let unrest = Span { start: span.start + gap, end: span.at(0.4) };
        match self.random.random_range(0..10) {
            0..4 => self.rolling(unrest),
            4..6 => self.blackout(unrest),
            _ => self.burst(unrest),
        }
    }

    /// A node is taken away and comes back at once, at the very end: who meets it then?
    pub(crate) fn last_return(&mut self, span: Span) {
        let Some(mix) = self.taker() else { return };
        let (name, node) = (self.next_name(), self.any_node());
        let Strike { fault, undos } = self.aimed(mix, name, Target::Node(node));
        self.by_the_clock(fault, undos, span);
    }

    /// A client logs transactions at a random node.
    pub(crate) fn advance(&mut self, span: Span) {
        let at = span.at(self.random.random_range(0.1..0.9));
        let node = self.any_node();
        let by = Some(self.random.random_range(1..4));
        let step = Step::new(Fault::Advance, Some(Target::Node(node)));
        self.blocks.push(vec![Step { at: Some(whole_millis(at)), by, optional: true, ..step }]);
    }

    /// One fault of a random family; by the clock, or after something that the nodes say.
    pub(crate) fn strike(&mut self, span: Span, cued: bool) {
        let mix = Mix::draw(&self.families, &mut self.random);
        let name = self.next_name();
        let cue = if cued { self.cue(&name) } else { None };
        match cue {
            Some(cue) => self.after_cue(mix, &name, span, cue),
            None => {
                let whom = self.whom(mix);
                let Strike { fault, undos } = self.aimed(mix, name, whom);
                self.by_the_clock(fault, undos, span);
            }
        }
    }

    fn single(&mut self, span: Span) {
        let cued = self.random.random_bool(0.4);
        let families = self.families.clone();
        // What is written and promised in an election goes wrong only if there is one.
        if families.iter().all(|mix| mix.bites_in_elections()) {
            return self.burst(span);
        }
        self.strike(span, cued);
    }

    /// Somebody, mostly the leader, is taken away, and several faults hit the election that follows.
    fn burst(&mut self, span: Span) {
        let strikes = self.random.random_range(1..4);
        for _ in 0..strikes {
            let start = span.at(self.random.random_range(0.0..0.2));
            let end = span.at(self.random.random_range(0.5..1.0));
            let cued = self.random.random_bool(0.7);
            self.strike(Span { start, end }, cued);
        }
        if self.random.random_bool(0.4) {
            let end = span.at(self.random.random_range(0.4..1.0));
            self.disturbed(Span { end, ..span });
        }
        let start = span.at(self.random.random_range(0.0..0.15));
        let span = Span { start, end: span.end };
        if self.random.random_bool(0.25) {
            self.blackout(span);
        } else if let Some(mix) = self.taker() {
            let name = self.next_name();
            let Strike { fault, undos } = self.aimed(mix, name, Target::Leader);
            self.for_a_while(fault, undos, span);
        }
    }

    /// What one node tells another is late, lost or damaged: messages of some kinds, of the leader as often
    /// as of the others. Which family it is does not depend on the seed's own, because it is what most
    /// often makes an election go another way.
    fn disturbed(&mut self, span: Span) {
        let message = |mix: &&Mix| mix.kind() == MixKind::Message;
        let asked: Vec<_> = self.options.mix.iter().filter(message).copied().collect();
        if asked.is_empty() || self.nodes.len() < 2 {
            return;
        }
        let mix = match asked.contains(&Mix::Hold) && self.random.random_bool(0.5) {
            true => Mix::Hold,
            false => Mix::draw(&asked, &mut self.random),
        };
        let name = self.next_name();
        let spoken = self.random.random_bool(0.4);
        let cue = if spoken { Cue::leader_speaks(&self.options.events, &name) } else { None };
        let from = match &cue {
            Some(cue) => cue.whom.clone(),
            None if self.random.random_bool(0.4) => Target::Node(self.favourite),
            None => Target::Node(self.any_node()),
        };
        let others: Vec<_> =
            self.nodes.iter().filter(|node| Target::Node(**node) != from).copied().collect();
        let to = Target::Node(others[self.random.random_range(0..others.len())]);
        let Strike { mut fault, mut undos } = self.aimed(mix, name.clone(), from.clone());
        fault.links = vec![LinkTarget { from, to, both: self.random.random_bool(0.2) }];
        if fault.kinds.is_empty() {
            fault.kinds = match (spoken, self.options.kinds.contains(&HEARTBEAT)) {
                (true, true) => vec![HEARTBEAT],
                _ => self.kinds.clone(),
            };
        }
        for undo in &mut undos {
            undo.links.clone_from(&fault.links);
        }
        let Some(cue) = cue else { return self.by_the_clock(fault, undos, span) };
        let at = Some(whole_millis(span.start));
        let mut block = vec![Step { at, ..Step::new(Fault::Wait, None) }, fault];
        block.extend(undos);
        self.wait_for(&mut block, &name, cue, span.length());
    }

    /// Everybody is taken away at once, and comes back one by one.
    fn blackout(&mut self, span: Span) {
        let Some(mix) = self.taker().filter(|mix| mix.kind() != MixKind::Partition) else { return };
        for node in self.nodes {
            let name = self.next_name();
            let Strike { fault, undos } = self.aimed(mix, name, Target::Node(*node));
            self.for_a_while(fault, undos, span);
        }
    }

    /// Some nodes are taken away and come back, in turn; the leader first, in part of the draws, and it
    /// stays away.
    fn rolling(&mut self, span: Span) {
        let Some(mix) = self.taker() else { return self.single(span) };
        let mut start = span.start;
        if self.random.random_bool(0.5) {
            let name = self.next_name();
            let Strike { fault, undos } = self.aimed(mix, name, Target::Leader);
            self.by_the_clock(fault, undos, span);
            start += of_any_scale(GAP_MIN, span.length() / 8, &mut self.random);
        }
        let mut order = self.shuffled();
        order.truncate(self.random.random_range(1..=order.len()));
        let share = span.end.saturating_sub(start) / u32::try_from(order.len()).unwrap_or(1);
        let share = of_any_scale(share / 16, share, &mut self.random);
        let away = share.mul_f64(self.random.random_range(0.05..0.9));
        for node in order {
            let name = self.next_name();
            let Strike { fault, undos } = self.aimed(mix, name, Target::Node(node));
            self.by_the_clock(fault, undos, Span { start, end: start + away });
            start += share;
        }
    }

    /// One after another is away, each until about the time at which the next one goes: whoever leads
    /// then, or a node of the seed's choice. The last one stays away longest.
    fn relay(&mut self, span: Span) {
        let Some(mix) = self.taker() else { return self.single(span) };
        let leaders = self.random.random_bool(0.5);
        let order = self.shuffled();
        let count = self.random.random_range(2..5);
        let share = span.length().mul_f64(self.random.random_range(0.1..0.3));
        for (place, node) in (0..count).zip(order.into_iter().cycle()) {
            let start = span.start + share * place;
            let over = share.mul_f64(self.random.random_range(0.8..1.2));
            let end = if place + 1 == count { span.end } else { (start + over).min(span.end) };
            if start < end {
                let name = self.next_name();
                let whom = if leaders { Target::Leader } else { Target::Node(node) };
                let Strike { fault, undos } = self.aimed(mix, name, whom);
                self.by_the_clock(fault, undos, Span { start, end });
            }
        }
    }

    /// A family that takes a node away for a while, from all that were asked for.
    pub(crate) fn taker(&mut self) -> Option<Mix> {
        let takers = self.takers();
        (!takers.is_empty()).then(|| Mix::draw(&takers, &mut self.random))
    }

    pub(crate) fn takers(&self) -> Vec<Mix> {
        let asked = &self.options.mix;
        let gentle = |mix: &Mix| mix.takes_away() && mix.beyond().is_none();
        let mut takers: Vec<_> = asked.iter().copied().filter(gentle).collect();
        // What bites in elections needs them, whether or not it was asked for.
        if takers.is_empty() && asked.iter().any(|mix| mix.bites_in_elections()) {
            takers.push(Mix::Kill);
        }
        takers
    }

    /// Adds something, unless that were too many steps.
    pub(crate) fn if_room(&mut self, add: impl FnOnce(&mut Self)) {
        let before = self.blocks.len();
        add(self);
        if self.blocks.iter().map(Vec::len).sum::<usize>() > self.steps_max {
            self.blocks.truncate(before);
        }
    }

    /// A fault and its undos at times of their own.
    fn by_the_clock(&mut self, fault: Step, undos: Vec<Step>, span: Span) {
        let at = Some(whole_millis(span.start));
        let undos = spread(span.start, span.end, undos);
        self.blocks.push(vec![Step { at, ..fault }]);
        self.blocks.extend(undos.into_iter().map(|undo| vec![undo]));
    }

    /// A fault now, and its undos when something was said, or after a while.
    fn for_a_while(&mut self, fault: Step, undos: Vec<Step>, span: Span) {
        let name = format!("{}-back", fault.name.as_deref().unwrap_or("f"));
        let length = self.a_while(span.length());
        let end = span.start + length;
        let cue = if self.random.random_bool(0.5) { self.cue(&name) } else { None };
        let Some(cue) = cue else {
            return self.by_the_clock(fault, undos, Span { end, ..span });
        };
        let at = Some(whole_millis(span.start));
        self.blocks.push(vec![Step { at, ..fault }]);
        let mut block = vec![Step { at, ..Step::new(Fault::Wait, None) }];
        block.extend(undos);
        self.wait_for(&mut block, &name, cue, span.length());
    }

    /// A fault when something was said, and its undos a while later.
    fn after_cue(&mut self, mix: Mix, name: &str, span: Span, cue: Cue) {
        // A link is healed by its name, so it must mean the same then.
        let whom = match self.random.random_range(0..10) {
            0..5 => cue.whom.clone(),
            _ => self.whom(mix),
        };
        let Strike { fault, undos } = self.aimed(mix, name.to_owned(), whom);
        let at = Some(whole_millis(span.start));
        let mut block = vec![Step { at, ..Step::new(Fault::Wait, None) }, fault];
        block.extend(undos);
        self.wait_for(&mut block, name, cue, span.length());
    }

    /// Hangs the second step of a block on a cue and lets the others follow, within a time.
    fn wait_for(&mut self, block: &mut Vec<Step>, track: &str, cue: Cue, time: Duration) {
        let random = &mut self.random;
        let within = time.mul_f64(random.random_range(0.2..0.6));
        let mut rest = time.saturating_sub(within);
        for (place, step) in block.iter_mut().enumerate() {
            step.track = Some(track.to_owned());
            if place == 0 {
                continue;
            }
            // A step that was late is late itself; at the end of the run everything is undone anyway.
            step.optional = true;
            // At once, as often as after a while.
            let longest = if place == 1 { rest / 4 } else { rest };
            let after = match (random.random_bool(0.5), place) {
                (true, 1) => Duration::ZERO,
                (true, _) => longest,
                (false, _) => of_any_scale(GAP_MIN, longest, random),
            };
            rest = rest.saturating_sub(after);
            step.after = (after >= GAP_MIN).then(|| whole_millis(after));
        }
        if let Some(step) = block.get_mut(1) {
            step.on = Some(cue.pattern);
            step.within = Some(whole_millis(within));
            step.anyway = true;
        }
        self.blocks.push(std::mem::take(block));
    }

    /// All of a time, or any part of it.
    fn a_while(&mut self, time: Duration) -> Duration {
        match self.random.random_bool(0.4) {
            true => time,
            false => of_any_scale(GAP_MIN * 4, time, &mut self.random),
        }
    }

    /// What a family does to somebody; a partition has many shapes.
    fn aimed(&mut self, mix: Mix, name: String, victim: Target) -> Strike {
        let mut strike = self.plain(mix, name, victim);
        if mix == Mix::Partition && self.nodes.len() > 2 && self.random.random_bool(0.5) {
            self.reshape(&mut strike);
        }
        strike
    }

    /// What a family does to somebody; a partition cuts them off.
    pub(crate) fn plain(&mut self, mix: Mix, name: String, victim: Target) -> Strike {
        let (nodes, points, kinds) = (self.nodes, &self.options.points, &self.kinds);
        Aim { name, victim, nodes, points, kinds }.strike(mix, &mut self.random)
    }

    /// Another shape than one node that is cut off.
    fn reshape(&mut self, Strike { fault, undos }: &mut Strike) {
        // Halves twice, because each side may elect.
        const SHAPES: [Fault; 7] = [
            Fault::Halves,
            Fault::Halves,
            Fault::MajorityMinority,
            Fault::Bridge,
            Fault::Chain,
            Fault::Hub,
            Fault::MajoritiesRing,
        ];
        let heal = Step::new(Fault::Heal, None);
        match self.random.random_range(0..10) {
            0..5 => {
                (fault.fault, fault.target) =
                    (SHAPES[self.random.random_range(0..SHAPES.len())], None);
                *undos = vec![heal];
            }
            5 => fault.fault = Fault::OneWay,
            _ => {
                let links = self.around_a_majority();
                (fault.fault, fault.target) = (Fault::Cut, None);
                *undos = vec![Step { links: links.clone(), ..heal }];
                fault.links = links;
            }
        }
    }

    /// Links to cut so that a majority stays a full mesh, and most of the others lose each other: where
    /// a leader is due, and where hearsay travels further than connections do.
    fn around_a_majority(&mut self) -> Vec<LinkTarget> {
        let order = self.shuffled();
        let majority = order.len() / 2 + 1;
        let mut links = Vec::new();
        for (place, one) in order.iter().enumerate().skip(majority) {
            for other in &order[..place] {
                if links.is_empty() || self.random.random_bool(0.7) {
                    let (from, to) = (Target::Node(*other), Target::Node(*one));
                    links.push(LinkTarget { from, to, both: true });
                }
            }
        }
        links
    }

    fn whom(&mut self, mix: Mix) -> Target {
        match self.random.random_range(0..10) {
            0..4 => Target::Node(self.favourite),
            // Who leads may change until a link is healed, so a link is named by its nodes.
            4..6 if !mix.hits_links() => Target::Leader,
            6..7 if mix.bites_in_elections() => Target::Followers,
            _ => Target::Node(self.any_node()),
        }
    }

    fn cue(&mut self, name: &str) -> Option<Cue> {
        Cue::draw(&self.options.events, name, self.favourite, &mut self.random)
    }

    pub(crate) fn any_node(&mut self) -> NodeId {
        self.nodes[self.random.random_range(0..self.nodes.len())]
    }

    pub(crate) fn shuffled(&mut self) -> Vec<NodeId> {
        let mut rest = self.nodes.to_vec();
        let mut order = Vec::new();
        while !rest.is_empty() {
            order.push(rest.swap_remove(self.random.random_range(0..rest.len())));
        }
        order
    }

    pub(crate) fn next_name(&mut self) -> String {
        self.strikes += 1;
        format!("f{}", self.strikes)
    }
}
