//! From what a run did to a schedule that does it again. Pure.
//!
//! Whatever the first schedule did by the clock is hung on the events of the run, because an
//! election takes its own time each time: a step follows the leader that was established last
//! before it, as many milliseconds later as it did; if no leader comes within about twice the time,
//! it runs all the same. Where no leader was established since the step before, it follows that step
//! by the clock. Steps that waited for events wait for the same
//! ones again, and a target that was named by its part (`leader`) is not frozen to the node that
//! played it.
//!
//! What of this carries a failure over to the next run differs from failure to failure, so there are other
//! forms of the same schedule, too: see [`Form`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use usurper_history::{
    Body, Event, FaultRecord, HarnessEvent, NodeId, Outcome, Phase, Record, Trigger,
};

use crate::{
    fault::Fault,
    pattern::Pattern,
    schedule::{Schedule, Step},
    schedule_check::shape_of,
    target::{LinkTarget, Target},
    time_span::TimeSpan,
};

/// More leaders than this between two steps are a storm, in which one more or less means nothing.
const LEADERS_COUNTED_MAX: u32 = 3;
/// A wait at the end that is shorter than this is only the harness' own work.
const LAST_WAIT_MIN: Duration = Duration::from_millis(20);
/// How much longer than until something was found a run that is cut short goes on: in the next one it may come later.
const FOUND_GRACE: Duration = Duration::from_millis(500);
/// How long a step waits for its leader at least before it runs all the same.
const WITHIN_MIN: Duration = Duration::from_secs(1);

/// How a schedule says again when something was done, and to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// After the events that it followed, and to whom the first schedule named.
    #[default]
    AsPlanned,
    /// After the events, and to the nodes that it hit.
    Nodes,
    /// After the events, and to whoever plays the part of the node that it hit: the leader, or the leader
    /// before it.
    Parts,
    /// By the clock alone, and to the nodes that it hit.
    Clock,
}

impl Form {
    pub const ALL: [Self; 4] = [Self::AsPlanned, Self::Nodes, Self::Parts, Self::Clock];

    /// For a person: what it keeps of the run.
    pub fn name(self) -> &'static str {
        match self {
            Self::AsPlanned => "as planned",
            Self::Nodes => "the same nodes",
            Self::Parts => "the same parts",
            Self::Clock => "by the clock",
        }
    }

    /// Whether whoever was hit is named by his own name.
    fn freezes(self) -> bool {
        matches!(self, Self::Nodes | Self::Clock)
    }
}

/// A step that was done.
struct Done<'a> {
    begun_ns: u64,
    ended_ns: u64,
    /// How long it lasted, where it had a time to last, and that was over.
    lasted_ns: Option<u64>,
    record: &'a FaultRecord,
    planned: Option<&'a Step>,
    /// Who led when it began, and who before him.
    led: (Option<NodeId>, Option<NodeId>),
}

/// The schedule of what was really done, from a run's records in the order of time.
///
/// `planned` is the schedule of that run, as far as it is known; what steps waited for is taken from
/// it. Steps that were skipped are left out, with what would have undone them, and so is the healing at the end. A wait at the end
/// stands for the time that the run phase went on after its last step.
pub fn what_was_done(records: &[Record], planned: &[Step]) -> Schedule {
    what_was_done_as(records, planned, Form::AsPlanned)
}

/// As [`what_was_done`], in another form.
pub fn what_was_done_as(records: &[Record], planned: &[Step], form: Form) -> Schedule {
    let done = steps_done(records, planned);
    let leaders: Vec<u64> = records.iter().filter(|r| is_leader_event(r)).map(|r| r.t).collect();
    let names = names_kept(&done);
    let mut steps = Schedule::new();
    let mut captured = BTreeSet::new();
    for (index, this) in done.iter().enumerate() {
        let track = this.planned.and_then(|planned| planned.track.as_deref());
        let before = done[..index]
            .iter()
            .rev()
            .find(|other| other.planned.and_then(|planned| planned.track.as_deref()) == track);
        let mut step = what(this, &names, form);
        step.at = None;
        step.every = None;
        step.times = None;
        step.in_turn = false;
        step.lasts = this.lasted_ns.map(whole_millis).or(step.lasts);
        match this.planned.and_then(|planned| planned.on.as_ref()) {
            Some(on) if form != Form::Clock && waits_for_what_is_kept(on, &names, &captured) => {
                captured.extend(on.captures().into_keys());
            }
            _ if form == Form::Clock => when(&mut step, this, before, &[], run_began(records)),
            _ => when(&mut step, this, before, &leaders, run_began(records)),
        }
        steps.push(step);
    }
    leave_out_what_undoes_nothing(&mut steps);
    let heal = phase_began(records, "heal").or(records.last().map(|record| record.t));
    let from = done.iter().map(|done| done.ended_ns).max().or(run_began(records));
    if let (Some(heal), Some(from)) = (heal, from) {
        let rest = whole_millis(heal.saturating_sub(from));
        if rest.0 >= LAST_WAIT_MIN {
            let after = Some(rest);
            steps.push(Step { after, ..Step::new(Fault::Wait, None) });
        }
    }
    steps
}

/// What a run did until something was found in it, and for a little longer: what came after cannot have
/// brought it about. The records are in the order of time.
pub fn cut_short(records: &[Record], found_ns: u64) -> Vec<Record> {
    let end_ns = found_ns.saturating_add(whole_nanos(FOUND_GRACE));
    let begins =
        |record: &Record| matches!(&record.body, Body::Fault(fault) if fault.phase == Phase::Begin);
    let mut cut: Vec<_> = records
        .iter()
        .filter(|record| record.t <= found_ns || (record.t <= end_ns && !begins(record)))
        .cloned()
        .collect();
    if phase_began(&cut, "heal").is_none() {
        let phase = HarnessEvent::Phase { phase: "heal".to_owned() };
        cut.push(Record::new(end_ns, Body::Harness(phase)));
    }
    cut
}

/// Makes a wait of each step that cannot be done: an undo of what was skipped undoes nothing. It stays
/// for the sake of the steps after it.
pub fn leave_out_what_undoes_nothing(steps: &mut Schedule) {
    let nodes: Vec<_> = NodeId::all(u8::MAX).collect();
    while let Err(error) = Step::validate_all(steps, &nodes) {
        let step = &mut steps[error.number - 1];
        if step.fault == Fault::Wait {
            // Whatever is wrong with it is for the reader of the schedule to say.
            return;
        }
        *step = Step {
            name: step.name.clone(),
            track: step.track.clone(),
            after: step.after,
            within: step.within,
            anyway: step.anyway,
            optional: step.optional,
            on: step.on.clone(),
            ..Step::new(Fault::Wait, None)
        };
    }
}

fn steps_done<'a>(records: &'a [Record], planned: &'a [Step]) -> Vec<Done<'a>> {
    let faults = || {
        records.iter().filter_map(|record| match &record.body {
            Body::Fault(fault) => Some((record.t, fault)),
            _ => None,
        })
    };
    let ends: BTreeMap<u64, (u64, Option<Outcome>)> = faults()
        .filter(|(_, fault)| fault.phase == Phase::End)
        .map(|(t, fault)| (fault.id, (t, fault.outcome)))
        .collect();
    let mut left: Vec<Option<&Step>> = planned.iter().map(Some).collect();
    let mut done = Vec::new();
    let mut led = (None, None);
    for told in records {
        if let Body::Node(node) = &told.body
            && is_leader_event(told)
            && led.0 != Some(node.node)
        {
            led = (Some(node.node), led.0);
        }
        let Body::Fault(record) = &told.body else { continue };
        let begun_ns = told.t;
        if record.phase != Phase::Begin || record.trigger == Some(Trigger::Heal) {
            continue;
        }
        if let Some(undone) = done.iter_mut().find(|done| ends_after_its_time(record, done)) {
            undone.lasted_ns = Some(begun_ns.saturating_sub(undone.ended_ns));
            undone.ended_ns = ends.get(&record.id).map_or(begun_ns, |(t, _)| *t);
            continue;
        }
        let planned = left.iter_mut().find(|step| step.is_some_and(|step| is_of(record, step)));
        // One that repeats is done more than once.
        let planned = planned.and_then(|step| match step.map_or(1, |s| s.times.unwrap_or(1)) {
            1 => step.take(),
            _ => *step,
        });
        let (ended_ns, outcome) = ends.get(&record.id).copied().unwrap_or((begun_ns, None));
        if outcome != Some(Outcome::Skipped) {
            done.push(Done { begun_ns, ended_ns, lasted_ns: None, record, planned, led });
        }
    }
    done
}

/// Whether a record is of the end of a step that lasts for a time.
fn ends_after_its_time(record: &FaultRecord, done: &Done<'_>) -> bool {
    record.trigger == Some(Trigger::Step(done.record.id))
        && step_of(done.record).undo().is_some_and(|undo| undo.fault.name() == record.fault)
}

/// Whether a record is of this planned step.
fn is_of(record: &FaultRecord, step: &Step) -> bool {
    let text = |value: Option<String>| value.map(Value::String);
    record.fault == step.fault.name()
        && record.args.get("name").cloned() == text(step.name.clone())
        && record.args.get("target").cloned() == text(step.target.as_ref().map(ToString::to_string))
        && record.args.get("links").and_then(Value::as_array).map_or(0, Vec::len)
            == step.links.len()
        && record.args.get("by").and_then(Value::as_u64) == step.by
}

/// The names under which exactly one step was done, with whether it hit nodes.
fn names_kept(done: &[Done<'_>]) -> BTreeMap<String, bool> {
    let mut names = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for this in done {
        let Some(name) = this.record.args.get("name").and_then(Value::as_str) else { continue };
        if taken.insert(name.to_owned()) {
            names.insert(name.to_owned(), !becomes_links(this.record));
        } else {
            names.remove(name);
        }
    }
    names
}

/// Whether a partition was shaped by the seed, so that only its links say what it was.
fn becomes_links(record: &FaultRecord) -> bool {
    let Ok(fault) = record.fault.parse::<Fault>() else { return false };
    let sided = ["isolate", "halves", "majority-minority", "minority-third", "one-way", "hub"];
    let shaped = shape_of(fault).is_some() && record.fault != "primaries";
    shaped && (record.nodes.is_empty() || !sided.contains(&record.fault.as_str()))
}

/// The step that a record is of, where the schedule is not known: a record holds all but when.
fn step_of(record: &FaultRecord) -> Step {
    let mut fields = record.args.clone();
    let when = ["track", "every", "times", "within", "anyway"];
    fields.retain(|key, _| !when.contains(&key.as_str()));
    fields.insert("do".to_owned(), record.fault.clone().into());
    let step = serde_json::from_value(Value::Object(fields));
    step.unwrap_or_else(|_| Step::new(record.fault.parse().unwrap_or(Fault::Wait), None))
}

/// What was done, and to whom.
fn what(done: &Done<'_>, names: &BTreeMap<String, bool>, form: Form) -> Step {
    let record = done.record;
    let mut step = match done.planned {
        Some(planned) => planned.clone(),
        None => step_of(record),
    };
    step.name = step.name.filter(|name| names.contains_key(name));
    if becomes_links(record) {
        step.fault = Fault::Cut;
        step.target = None;
        step.links = concrete_links(record);
        return step;
    }
    let relative = step.target.as_ref().filter(|_| !step.in_turn).is_some_and(|target| {
        target.parts().iter().all(|part| match part {
            Target::Step(name) => names.get(name) == Some(&true),
            Target::Primaries | Target::Node(_) => true,
            _ if form.freezes() => false,
            Target::Leader
            | Target::OldLeader
            | Target::Follower
            | Target::Followers
            | Target::All
            | Target::MinorityWithLeader
            | Target::MajorityWithLeader => true,
            // Whom an event names is known only together with the event.
            Target::Trigger | Target::Captured(_) => done.planned.is_some(),
            _ => false,
        })
    });
    let named = step.target.is_some();
    if relative {
        if let (Form::Parts, Some(Target::Node(node))) = (form, &step.target) {
            step.target = Some(part_of(*node, done.led));
        }
        return step;
    }
    let shaped = shape_of(step.fault).is_some();
    if named && step.fault == Fault::Heal {
        step.target = None;
        step.links = concrete_links(record);
    } else if named || shaped {
        let mut nodes: Vec<_> = record.nodes.iter().copied().map(Target::Node).collect();
        step.target = match nodes.len() {
            0 => step.target,
            1 => Some(nodes.remove(0)),
            _ => Some(Target::Several(nodes)),
        };
    }
    step
}

/// The part that a node played when `led` did: the leader, or the leader before it.
fn part_of(node: NodeId, (leader, old_leader): (Option<NodeId>, Option<NodeId>)) -> Target {
    match Some(node) {
        one if one == leader => Target::Leader,
        one if one == old_leader => Target::OldLeader,
        _ => Target::Node(node),
    }
}

fn concrete_links(record: &FaultRecord) -> Vec<LinkTarget> {
    let link = |link: &usurper_history::Link| {
        let (from, to) = (Target::Node(link.from), Target::Node(link.to));
        LinkTarget { from, to, both: false }
    };
    record.links.iter().map(link).collect()
}

/// Whether everything that a pattern refers to is part of the new schedule, too.
fn waits_for_what_is_kept(
    on: &Pattern,
    names: &BTreeMap<String, bool>,
    captured: &BTreeSet<String>,
) -> bool {
    let own = on.captures();
    on.steps().iter().all(|name| names.contains_key(*name))
        && on.mentions().iter().all(|name| captured.contains(*name) || own.contains_key(*name))
}

/// Hangs a step on the event that it followed, or on the step before it.
fn when(
    step: &mut Step,
    this: &Done<'_>,
    before: Option<&Done<'_>>,
    leaders: &[u64],
    run_began: Option<u64>,
) {
    let armed_ns = before.map_or(0, |before| before.begun_ns);
    let since: Vec<_> =
        leaders.iter().copied().filter(|t| (armed_ns..=this.begun_ns).contains(t)).collect();
    let count = u32::try_from(since.len()).unwrap_or(u32::MAX);
    (step.on, step.within, step.anyway) = (None, None, false);
    match since.last() {
        Some(leader) if count <= LEADERS_COUNTED_MAX => {
            let waited = Duration::from_nanos(leader.saturating_sub(armed_ns));
            let within = (waited * 2 + WITHIN_MIN / 2).max(WITHIN_MIN);
            step.within = Some(TimeSpan::millis(millis(within)));
            step.anyway = true;
            step.after = Some(whole_millis(this.begun_ns - leader));
            step.on = Some(
                Pattern::event("leader-elected", [("established", true.into())]).counted(count),
            );
        }
        _ => {
            let from = before.map(|before| before.ended_ns).or(run_began).unwrap_or(0);
            step.after = Some(whole_millis(this.begun_ns.saturating_sub(from)));
        }
    }
    // A trigger's node is known from an event only; what is left of it is concrete.
    step.after = step.after.filter(|after| !after.0.is_zero());
    if step.target == Some(Target::Trigger) {
        step.target = this.record.nodes.first().copied().map(Target::Node);
    }
}

/// Whether [`what_was_done`] looks at a record; of all others it needs the last one alone.
pub fn tells_what_was_done(record: &Record) -> bool {
    matches!(record.body, Body::Fault(_) | Body::Harness(_)) || is_leader_event(record)
}

fn is_leader_event(record: &Record) -> bool {
    matches!(&record.body, Body::Node(node)
        if matches!(node.event, Event::LeaderElected { established: true, .. }))
}

fn run_began(records: &[Record]) -> Option<u64> {
    phase_began(records, "run")
}

fn phase_began(records: &[Record], name: &str) -> Option<u64> {
    let phases = records.iter().filter(|record| {
        matches!(&record.body, Body::Harness(HarnessEvent::Phase { phase }) if phase == name)
    });
    phases.map(|record| record.t).next()
}

fn whole_nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn whole_millis(nanos: u64) -> TimeSpan {
    TimeSpan::millis(nanos / 1_000_000)
}
