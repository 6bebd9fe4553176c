//! A history that real processes of `fle` wrote (its events of durability, of a rolling restart):
//! valid as it is, and wrong once any sync on which a promise rests is missing, late or failed.

use serde_json::Value;
use usurper_checks::Judgement;

use crate::transcript::judge_text;

const RECORDED: &str = include_str!("../data/fle-rolling-restart.jsonl");

fn records() -> Vec<Value> {
    RECORDED.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Judges records whose order was changed: they get rising times and gapless numbers again.
fn judge(mut records: Vec<Value>) -> Judgement {
    let mut seqs = std::collections::BTreeMap::new();
    let mut now = 0;
    for record in records.iter_mut().skip(1) {
        now = record["t"].as_u64().unwrap().max(now);
        record["t"] = now.into();
        if record["record"] == "node" {
            let of = (record["node"].to_string(), record["inc"].to_string());
            let seq: &mut u64 = seqs.entry(of).or_default();
            *seq += 1;
            record["seq"] = (*seq).into();
        }
    }
    let text: Vec<_> = records.iter().map(Value::to_string).collect();
    judge_text(&(text.join("\n") + "\n")).unwrap().judgement
}

#[test]
fn a_recorded_history_is_valid_until_a_sync_is_missing_late_or_failed() {
    assert_eq!(judge(records()), Judgement::Valid);
    let records = records();
    let mut judged = 0;
    for (place, sync) in records.iter().enumerate() {
        if sync["event"] != "persist" || sync["what"] != "accepted-epoch" {
            continue;
        }
        let rests = |it: &Value| {
            it["event"] == "ack"
                && it["in-term"] == sync["value"]
                && it["node"] == sync["node"]
                && it["inc"] == sync["inc"]
        };
        let Some(ack) = records.iter().position(rests).filter(|ack| *ack > place) else { continue };
        judged += 1;
        let mut missing = records.clone();
        missing.remove(place);
        let mut late = records.clone();
        let moved = late.remove(place);
        late.insert(ack, moved);
        let mut failed = records.clone();
        failed[place]["ok"] = false.into();
        for wrong in [missing, late, failed] {
            assert_eq!(judge(wrong), Judgement::Invalid, "line {}", place + 1);
        }
    }
    assert!(judged >= 6, "only {judged} promises rest on a sync");
}
