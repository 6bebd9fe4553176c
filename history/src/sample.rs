//! Any record at all, for the property tests: each value from a seed.

use serde_json::{Map, Value, json};

use crate::{
    Body, Effect, EntryId, Event, FORMAT_VERSION, FaultRecord, HarnessEvent, Header, Link, NodeId,
    NodeRecord, OpRecord, OpType, Outcome, Persisted, Phase, Record, Role, Timing, Trigger, Zxid,
};

/// Numbers from a seed (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// A value of a type, from a seed.
pub(crate) trait Sample {
    fn sample(random: &mut Random) -> Self;
}

macro_rules! samples {
    ($($type:ty: |$random:ident| $make:expr;)*) => {
        $(impl Sample for $type {
            fn sample($random: &mut Random) -> Self { $make }
        })*
    };
}

samples! {
    bool: |random| random.next().is_multiple_of(2);
    // Small numbers and the extremes alike.
    u64: |random| { let shift = random.below(64); random.next() >> shift };
    u32: |random| u32::try_from(random.next() >> 32).expect("32 bits");
    i32: |random| u32::sample(random).cast_signed();
    String: |random| random.pick(&["", "a", "raft", "\"\\ \n\u{0}", "läuft", "选举", "{\"t\":1}"]).to_owned();
    NodeId: |random| NodeId(u8::try_from(random.below(255)).expect("below 255") + 1);
    Link: |random| Link { from: Sample::sample(random), to: Sample::sample(random) };
    Zxid: |random| Zxid { epoch: Sample::sample(random), counter: Sample::sample(random) };
    EntryId: |random| EntryId { term: Sample::sample(random), index: Sample::sample(random) };
    Role: |random| random.pick(&[
        Role::Looking, Role::Follower, Role::PreCandidate, Role::Candidate, Role::Leader,
        Role::Learner, Role::Observer,
    ]);
    OpType: |random| random.pick(&[OpType::Invoke, OpType::Ok, OpType::Fail, OpType::Info]);
    Phase: |random| random.pick(&[Phase::Begin, Phase::End]);
    Outcome: |random| random.pick(&[Outcome::Installed, Outcome::Skipped, Outcome::Indeterminate]);
    Effect: |random| random.pick(&[
        Effect::Down, Effect::Up, Effect::Frozen, Effect::Thawed, Effect::Cut, Effect::Healed,
        Effect::Degraded, Effect::Restored, Effect::None,
    ]);
    Value: |random| random.pick(&[json!(1), json!("x"), json!([1, null]), json!({"a": {"b": -1.5}})]);
    Map<String, Value>: |random| match random.below(2) {
        0 => Map::new(),
        _ => Map::from_iter([("option".to_owned(), Sample::sample(random))]),
    };
    Persisted: |random| Persisted {
        term: Sample::sample(random),
        vote: Sample::sample(random),
        accepted_epoch: Sample::sample(random),
        zxid: Sample::sample(random),
        config: Sample::sample(random),
        extra: Sample::sample(random),
        ..Persisted::default()
    };
    Trigger: |random| match random.below(4) {
        0 => Trigger::At(Sample::sample(random)),
        1 => Trigger::Step(Sample::sample(random)),
        2 => Trigger::Heal,
        _ => Trigger::Event {
            node: Sample::sample(random),
            inc: Sample::sample(random),
            seq: Sample::sample(random),
            event: Sample::sample(random),
            t: Sample::sample(random),
        },
    };
    NodeRecord: |random| NodeRecord {
        node: Sample::sample(random),
        inc: Sample::sample(random),
        seq: Sample::sample(random),
        proto: Sample::sample(random),
        term: Sample::sample(random),
        role: Sample::sample(random),
        event: Event::sample(random),
    };
    OpRecord: |random| OpRecord {
        process: Sample::sample(random),
        op_type: Sample::sample(random),
        f: Sample::sample(random),
        key: Sample::sample(random),
        value: Sample::sample(random),
        server: Sample::sample(random),
        session: Sample::sample(random),
        serial: Sample::sample(random),
        error: Sample::sample(random),
    };
    FaultRecord: |random| FaultRecord {
        id: Sample::sample(random),
        phase: Sample::sample(random),
        fault: Sample::sample(random),
        effect: Sample::sample(random),
        aspect: Sample::sample(random),
        nodes: Sample::sample(random),
        links: Sample::sample(random),
        args: Sample::sample(random),
        trigger: Sample::sample(random),
        outcome: Sample::sample(random),
        acted: Sample::sample(random),
        proof: Sample::sample(random),
        reason: Sample::sample(random),
    };
    Record: |random| {
        let body = match random.below(4) {
            0 => Body::Node(Sample::sample(random)),
            1 => Body::Op(Sample::sample(random)),
            2 => Body::Fault(Sample::sample(random)),
            _ => Body::Harness(HarnessEvent::sample(random)),
        };
        let unknown = random.below(4) == 0;
        let extra = if unknown { [("newer".to_owned(), Value::sample(random))].into_iter().collect() } else { Map::new() };
        Record { t: Sample::sample(random), body, extra }
    };
    Header: |random| Header {
        version: FORMAT_VERSION,
        run: Sample::sample(random),
        system: Sample::sample(random),
        scenario: Sample::sample(random),
        nodes: Sample::sample(random),
        seed: Sample::sample(random),
        origin_ns: Sample::sample(random),
        started: Sample::sample(random),
        timing: Timing {
            heartbeat_ns: Sample::sample(random),
            election_timeout_ns: Sample::sample(random),
            leader_bound_ns: Sample::sample(random),
        },
        defects: Sample::sample(random),
        events: Sample::sample(random),
        checks: Sample::sample(random),
        extra: Sample::sample(random),
    };
}

impl<T: Sample> Sample for Option<T> {
    fn sample(random: &mut Random) -> Self {
        (random.below(2) == 0).then(|| T::sample(random))
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(random: &mut Random) -> Self {
        (0..random.below(4)).map(|_| T::sample(random)).collect()
    }
}
