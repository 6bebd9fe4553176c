//! Random steps that follow each other in one track: each a while after the one before, or after
//! something that the nodes say.

use std::time::Duration;

use rand::RngExt;
use usurper_history::NodeId;

use crate::{
    cue::Cue,
    episode::{Episodes, Span},
    fault::Fault,
    generator::{of_any_scale, whole_millis},
    mix::{Mix, MixKind, Strike},
    pattern::Pattern,
    schedule::Step,
    target::{LinkTarget, Target},
};

/// A step, and what comes before it.
pub(crate) struct Then {
    step: Step,
    on: Option<Pattern>,
    /// How long to wait for that.
    within: Duration,
    after: Duration,
}

impl Then {
    pub(crate) fn at_once(step: Step) -> Self {
        Self::after(Duration::ZERO, step)
    }

    pub(crate) fn after(after: Duration, step: Step) -> Self {
        Self { step, on: None, within: Duration::ZERO, after }
    }

    /// Once something was said; of a system that does not tell, after part of the time.
    pub(crate) fn on(cue: Option<Pattern>, within: Duration, after: Duration, step: Step) -> Self {
        match cue {
            Some(on) => Self { step, on: Some(on), within, after },
            None => Self::after(within / 3 + after, step),
        }
    }
}

impl Episodes<'_> {
    /// Steps in one track, and at the end of the time what undoes the rest of them. Times that are too
    /// long for that are made shorter, those of waiting for something first.
    pub(crate) fn in_turn(&mut self, span: Span, steps: Vec<Then>, finally: Vec<Step>) {
        let room = span.end.saturating_sub(span.start);
        let after: Duration = steps.iter().map(|then| then.after).sum();
        let within: Duration = steps.iter().map(|then| then.within).sum();
        // What is waited for mostly comes at once; some of the time is left for that.
        let after_share = share(room.saturating_sub((room / 5).min(within)), after);
        let within_share = share(room.saturating_sub(after.mul_f64(after_share)), within);
        let scaled = |time: Duration, share: f64| {
            let time = whole_millis(time.mul_f64(share));
            (time.0 > Duration::ZERO).then_some(time)
        };
        // Too little time for what is to be heard in it.
        let waits = steps.iter().filter(|then| then.on.is_some());
        if waits.into_iter().any(|then| scaled(then.within, within_share).is_none()) {
            return;
        }
        let track = self.next_name();
        let at = Some(whole_millis(span.start));
        let start = Step { at, ..Step::new(Fault::Wait, None) };
        let mut block = vec![Step { track: Some(track.clone()), ..start }];
        for Then { step, on, within, after } in steps {
            let within = if on.is_some() { scaled(within, within_share) } else { None };
            let (track, after) = (Some(track.clone()), scaled(after, after_share));
            let anyway = on.is_some();
            block.push(Step { track, on, within, after, anyway, optional: true, ..step });
        }
        self.blocks.push(block);
        let at = Some(whole_millis(span.end));
        let last = |step: Step| vec![Step { at, optional: true, ..step }];
        self.blocks.extend(finally.into_iter().map(last));
    }

    /// Waits for the leader to speak, and says how to name it from then on.
    pub(crate) fn the_leader(&mut self, steps: &mut Vec<Then>) -> Target {
        let name = self.next_name();
        match Cue::leader_speaks(&self.options.events, &name) {
            Some(cue) => {
                let wait = Step::new(Fault::Wait, None);
                steps.push(Then::on(
                    Some(cue.pattern),
                    self.timeouts(2.0, 2.0),
                    Duration::ZERO,
                    wait,
                ));
                cue.whom
            }
            None => Target::Leader,
        }
    }

    /// Waits until somebody follows the leader, and says how to name that one from then on.
    pub(crate) fn a_follower(&mut self, steps: &mut Vec<Then>) -> Target {
        let name = self.next_name();
        match self.hears(&name) {
            Some(pattern) => {
                let (wait, within) = (Step::new(Fault::Wait, None), self.timeouts(2.0, 2.0));
                steps.push(Then::on(Some(pattern), within, Duration::ZERO, wait));
                Target::Captured(name)
            }
            None => Target::Node(self.any_node()),
        }
    }

    /// So many election timeouts.
    pub(crate) fn timeouts(&mut self, min: f64, max: f64) -> Duration {
        let timeout = Duration::from_nanos(self.options.timing.election_timeout_ns);
        if min < max {
            timeout.mul_f64(self.random.random_range(min..max))
        } else {
            timeout.mul_f64(max)
        }
    }

    /// At once as often as after a while of up to so many election timeouts.
    pub(crate) fn soon(&mut self, most: f64) -> Duration {
        let most = self.timeouts(most, most);
        match self.random.random_bool(0.5) {
            true => Duration::ZERO,
            false => of_any_scale(Duration::from_millis(5), most, &mut self.random),
        }
    }

    /// What a family does to somebody, in a scene of its own: links are between these two.
    pub(crate) fn between(&mut self, mix: Mix, from: Target, to: Target, both: bool) -> Strike {
        let name = self.next_name();
        let mut strike = self.plain(mix, name, from.clone());
        let links = vec![LinkTarget { from, to, both }];
        for undo in &mut strike.undos {
            undo.links.clone_from(&links);
        }
        strike.fault.links = links;
        strike
    }

    /// A family that was asked for, of these.
    pub(crate) fn one_of(&mut self, mixes: &[Mix]) -> Option<Mix> {
        let asked: Vec<_> = mixes.iter().filter(|mix| self.asked(**mix)).copied().collect();
        match asked.len() {
            0 => None,
            count => Some(asked[self.random.random_range(0..count)]),
        }
    }

    /// A family that ends a process, of those that were asked for.
    pub(crate) fn stopper(&mut self) -> Option<Mix> {
        self.one_of(&[Mix::Kill, Mix::Terminate, Mix::Power])
    }

    /// A family of messages that was asked for.
    pub(crate) fn messenger(&mut self) -> Option<Mix> {
        let asked = &self.options.mix;
        let of_it = |mix: &&Mix| mix.kind() == MixKind::Message;
        let asked: Vec<_> = asked.iter().filter(of_it).copied().collect();
        match asked.len() {
            0 => None,
            count => Some(asked[self.random.random_range(0..count)]),
        }
    }

    pub(crate) fn asked(&self, mix: Mix) -> bool {
        self.options.mix.contains(&mix)
    }

    /// A cut of links, for which partitions were asked for, or cuts.
    pub(crate) fn cut(&mut self, from: Target, to: Target, both: bool) -> (Step, Step) {
        let links = vec![LinkTarget { from, to, both }];
        let name = Some(self.next_name());
        let cut = Step { name, links: links.clone(), ..Step::new(Fault::Cut, None) };
        (cut, Step { links, ..Step::new(Fault::Heal, None) })
    }

    /// Somebody is established as a leader; captured under a name, if one is given.
    pub(crate) fn elected(&self, captured: Option<&str>) -> Option<Pattern> {
        let told = self.options.events.iter().any(|event| event == "leader-elected");
        let mut fields = vec![("established", true.into())];
        fields.extend(captured.map(|name| ("node", format!("${name}").into())));
        told.then(|| Pattern::event("leader-elected", fields))
    }

    /// Some nodes, and the others.
    pub(crate) fn sides(&mut self, count: usize) -> (Target, Target) {
        let order = self.shuffled();
        let (some, rest) = order.split_at(count.min(order.len()));
        (together(some), together(rest))
    }
}

/// How much of what is needed there is room for.
fn share(room: Duration, needed: Duration) -> f64 {
    if needed > room { room.as_secs_f64() / needed.as_secs_f64() } else { 1.0 }
}

fn together(nodes: &[NodeId]) -> Target {
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    match nodes.as_slice() {
        [one] => Target::Node(*one),
        many => Target::Several(many.iter().copied().map(Target::Node).collect()),
    }
}
