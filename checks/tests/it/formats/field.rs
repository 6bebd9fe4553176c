//! Logs of real servers: a leader killed, started again; the next paused, and continued; the one
//! after that ended. Who led when was written down as it was done.

use usurper_checks::{Judgement, Verdict};
use usurper_history::{Body, Event, NodeId};

use super::{data, texts, verdict};

fn logs(system: &str) -> Vec<String> {
    let log = |node| String::from_utf8(data(&format!("{system}/n{node}.log"))).unwrap();
    (1..=3).map(log).collect()
}

fn judge(logs: &[String]) -> Verdict {
    let bytes: Vec<&[u8]> = logs.iter().map(String::as_bytes).collect();
    verdict(texts(&bytes, None, false).unwrap())
}

/// Node, term, and the seconds from which and until which it led.
#[track_caller]
fn check(logs: &[String], leaders: &[(u8, u64, f64, f64)]) -> Verdict {
    let verdict = judge(logs);
    let import = verdict.imported.as_ref().unwrap();
    assert_eq!(import.leaders.len(), leaders.len(), "{:#?}", import.leaders);
    for (told, (node, term, from, to)) in import.leaders.iter().zip(leaders) {
        #[expect(clippy::cast_precision_loss, reason = "seconds are compared roughly")]
        let near = |ns: u64, seconds: f64| (ns as f64 / 1e9 - seconds).abs() < 0.01;
        assert_eq!((told.node, told.term), (NodeId(*node), *term));
        assert!(near(told.from_ns, *from) && near(told.to_ns, *to), "{told:?}");
    }
    verdict
}

const JSON: &[(u8, u64, f64, f64)] =
    &[(3, 2, 1.609, 1.612), (1, 3, 8.404, 29.082), (2, 5, 24.208, 34.099), (3, 6, 34.099, 45.029)];
const ZOOKEEPER: &[(u8, u64, f64, f64)] = &[
    (3, 1, 0.842, 109.407),
    (2, 2, 109.801, 139.782),
    (3, 3, 129.676, 139.790),
    (2, 4, 150.087, 157.801),
];

#[test]
fn etcd_logs_in_json_tell_who_led() {
    let verdict = check(&logs("etcd-json"), JSON);
    assert_eq!(verdict.judgement, Judgement::Valid);
    let import = verdict.imported.unwrap();
    assert!(import.notes.contains(&"what different nodes did is ordered to within 2.9 ms".into()));
    assert_eq!(import.leaders[1].place, "n1:63");
    assert_eq!(import.leaders[1].end, "f0477746d567e798 became follower at term 5");
    // The leader that was paused did not know better when it woke up: a warning, no more.
    let warnings = &verdict.checks[0].warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].sentence.contains("n1 (term 3) and n2 (term 5) both held the role"));
}

#[test]
fn etcd_logs_in_plain_text_tell_who_led_to_the_second() {
    let leaders = [
        (3, 2, 1.991, 2.416),
        (2, 3, 6.991, 29.034),
        (3, 4, 21.991, 34.046),
        (1, 5, 33.991, 41.057),
    ];
    let verdict = check(&logs("etcd-plain"), &leaders);
    assert_eq!(verdict.judgement, Judgement::Valid);
    // Lines of raft have whole seconds here: two that overlap by less are not said to.
    let warnings = &verdict.checks[0].warnings;
    assert!(warnings[0].sentence.ends_with("by clocks that are at most 1.9 s apart"));
    assert!(warnings[1].sentence.ends_with("may be 1.9 s apart: perhaps not at once"));
}

#[test]
fn zookeeper_logs_tell_who_led() {
    let verdict = check(&logs("zookeeper"), ZOOKEEPER);
    assert_eq!(verdict.judgement, Judgement::Valid);
    let needs: Vec<_> = verdict.not_applied.iter().map(|it| it.check.as_str()).collect();
    assert!(needs.contains(&"no-leader") && needs.contains(&"term-rollback"), "{needs:?}");
}

#[test]
fn followers_name_the_leader_and_its_epoch_after_it_was_elected() {
    for system in ["zookeeper", "etcd-json", "etcd-plain"] {
        let logs = logs(system);
        let bytes: Vec<&[u8]> = logs.iter().map(String::as_bytes).collect();
        let imported = texts(&bytes, None, false).unwrap();
        let mut elected = Vec::new();
        let mut followed = 0;
        for (_, record) in &imported.records {
            let Body::Node(node) = &record.body else { continue };
            match &node.event {
                Event::LeaderElected { in_term, .. } => elected.push((node.node, *in_term)),
                Event::LeaderKnown { leader: Some(leader), in_term } => {
                    assert!(elected.contains(&(*leader, *in_term)), "{system}: {record:?}");
                    followed += usize::from(*leader != node.node);
                }
                _ => {}
            }
        }
        assert!(followed >= 6, "{system}: {followed}");
    }
}

#[test]
fn two_leaders_of_one_term_are_found_and_of_two_terms_are_not() {
    // What n2 won is told as if it had been the term in which n1 led.
    let mut forged = logs("etcd-json");
    forged[1] = forged[1].replace("became leader at term 5", "became leader at term 3");
    let verdict = judge(&forged);
    assert_eq!(verdict.judgement, Judgement::Invalid);
    let finding = &verdict.checks[0].findings[0];
    assert_eq!(finding.sentence, "n1 and n2 were both established as leader of term 3");
    let places: Vec<_> = verdict.imported.unwrap().places.into_values().collect();
    assert!(places.contains(&"n1:63".to_owned()) && places.contains(&"n2:90".to_owned()));

    let mut forged = logs("zookeeper");
    forged[1] =
        forged[1].replace("last processed zxid: 0x400000000", "last processed zxid: 0x300000000");
    let verdict = judge(&forged);
    assert_eq!(verdict.judgement, Judgement::Invalid);
    let sentence = &verdict.checks[0].findings[0].sentence;
    assert_eq!(sentence, "n3 and n2 were both established as leader of epoch 3");
}

/// A log whose host's clock is a year ahead.
fn ahead(log: &str) -> String {
    log.replace("2026-11-2", "2027-11-2").replace("2026/11/2", "2027/11/2")
}

#[test]
fn a_clock_that_is_wrong_is_brought_back() {
    for (system, leaders) in [("etcd-json", JSON), ("zookeeper", ZOOKEEPER)] {
        let mut logs = logs(system);
        logs[1] = ahead(&logs[1]);
        let verdict = check(&logs, leaders);
        assert_eq!(verdict.judgement, Judgement::Valid);
        let notes = verdict.imported.unwrap().notes;
        assert!(
            notes.iter().any(|note| note.contains("the clock of `f2` is set back")),
            "{notes:?}"
        );
    }
}

#[test]
fn a_clock_that_was_set_makes_the_order_unknown_and_nothing_invalid() {
    let mut logs = logs("etcd-json");
    // In the middle, back by an hour.
    let middle = "became candidate at term 4";
    let (before, after) = logs[1].split_once(middle).unwrap();
    logs[1] = format!("{before}{middle}{}", after.replace("T23:", "T22:"));
    let bytes: Vec<&[u8]> = logs.iter().map(String::as_bytes).collect();
    let error = texts(&bytes, None, false).unwrap_err();
    assert!(error.contains("out of order: time"), "{error}");
    let verdict = verdict(texts(&bytes, None, true).unwrap());
    assert_eq!(verdict.judgement, Judgement::Unknown);
    let import = verdict.imported.unwrap();
    let contradicts = |note: &String| note.contains("contradict each other's clocks");
    assert!(import.notes.iter().any(contradicts), "{:?}", import.notes);
    assert_eq!(import.skipped, 1);
}

#[test]
fn a_log_that_is_missing_makes_nothing_valid() {
    for system in ["etcd-json", "etcd-plain", "zookeeper"] {
        let verdict = judge(&logs(system)[..2]);
        assert_eq!(verdict.judgement, Judgement::Unknown, "{system}");
        let reason = verdict.checks[0].reason.clone().unwrap();
        assert!(reason.contains("the log of n3, server "), "{reason}");
    }
}

#[test]
fn a_log_that_begins_in_the_middle_is_read_from_there() {
    let mut logs = logs("etcd-json");
    let middle = logs[0].lines().position(|line| line.contains("became candidate")).unwrap();
    logs[0] = logs[0].split_inclusive('\n').skip(middle).collect();
    let verdict = judge(&logs);
    assert_eq!(verdict.imported.unwrap().leaders[1].term, 3);
}

#[test]
fn the_logs_of_one_server_are_not_those_of_a_cluster() {
    let logs = logs("zookeeper");
    let bytes = [logs[0].as_bytes(), logs[0].as_bytes()];
    let error = texts(&bytes, None, false).unwrap_err();
    assert_eq!(error, "`f1` and `f2` are both of server 1");
}

#[test]
fn a_cluster_that_was_made_anew_is_another_one() {
    for system in ["etcd-json", "zookeeper"] {
        let logs = logs(system);
        // A year later, the same servers begin with empty disks.
        let again: Vec<String> = logs.iter().map(|log| format!("{log}{}", ahead(log))).collect();
        let bytes: Vec<&[u8]> = again.iter().map(String::as_bytes).collect();
        let error = texts(&bytes, None, false).unwrap_err();
        assert!(error.starts_with("these are logs of two clusters"), "{error}");
    }
}
