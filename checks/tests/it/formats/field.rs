//! Logs of real servers: a leader killed, started again; the next paused, and continued; the one
//! after that ended. Who led when was written down as it was done.

use usurper_checks::{CheckVerdict, Judgement, Verdict};
use usurper_history::{Body, Event, NodeId};

use super::{data, texts, verdict};

pub(super) fn logs(system: &str) -> Vec<String> {
    let log = |node| String::from_utf8(data(&format!("{system}/n{node}.log"))).unwrap();
    (1..=3).map(log).collect()
}

pub(super) fn judge(logs: &[String]) -> Verdict {
    let bytes: Vec<&[u8]> = logs.iter().map(String::as_bytes).collect();
    verdict(texts(&bytes, None, false).unwrap())
}

/// What one check says.
#[track_caller]
pub(super) fn of<'a>(verdict: &'a Verdict, check: &str) -> &'a CheckVerdict {
    verdict.checks.iter().find(|it| it.check == check).unwrap()
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

/// etcd 3.5: the leader is killed and started again, the next one is paused and continued, and the
/// one after that is cut off from the others and healed.
const ETCD_3_5: &[(u8, u64, f64, f64)] =
    &[(1, 2, 0.351, 0.354), (3, 3, 4.783, 18.928), (2, 4, 13.517, 24.517), (1, 5, 24.036, 46.036)];
/// ZooKeeper, and the same.
const PARTITION: &[(u8, u64, f64, f64)] =
    &[(3, 1, 0.945, 0.976), (2, 2, 5.759, 24.397), (3, 3, 19.070, 35.183), (2, 4, 35.193, 48.305)];

#[test]
fn etcd_3_5_tells_of_a_leader_that_is_killed_paused_and_cut_off() {
    let verdict = check(&logs("etcd-3.5"), ETCD_3_5);
    for check in ["double-vote", "dual-leaders", "term-rollback"] {
        assert_eq!(of(&verdict, check).judgement, Judgement::Valid, "{check}");
    }
    assert_eq!(verdict.judgement, Judgement::Valid);
    let import = verdict.imported.as_ref().unwrap();
    let ends: Vec<&str> = import.leaders.iter().map(|leader| leader.end.as_str()).collect();
    let expected =
        ["its log stops", "n2 told it of term 4", "no majority answered it", "it was told to stop"];
    assert_eq!(ends, expected);
    // It was killed at 3.4 s, and wrote nothing of it.
    assert_eq!(import.leaders[0].followed_until_ns.map(|ns| ns / 10_000_000), Some(478));
    assert_eq!(import.leaders[3].votes, [NodeId(1), NodeId(3)]);
    assert_eq!((import.doubts.len(), import.suspicions.len()), (0, 0));
    let warnings = &of(&verdict, "dual-leaders").warnings;
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].sentence.contains("n2 (term 4) and n3 (term 3) both held the role"));
}

#[test]
fn zookeeper_tells_of_a_leader_that_is_killed_paused_and_cut_off() {
    let verdict = check(&logs("zookeeper-partition"), PARTITION);
    assert_eq!(verdict.judgement, Judgement::Valid);
    assert_eq!(of(&verdict, "term-rollback").judgement, Judgement::Valid);
    let import = verdict.imported.as_ref().unwrap();
    let cut_off = &import.leaders[2].end;
    assert!(cut_off.starts_with("it gave up: Not sufficient followers synced"), "{cut_off}");
    assert_eq!(import.leaders[0].followed_until_ns.map(|ns| ns / 10_000_000), Some(542));
    assert_eq!((import.doubts.len(), import.suspicions.len()), (0, 0));
    let lacking = verdict.not_applied.iter().find(|it| it.check == "double-vote").unwrap();
    assert!(lacking.needs[0].contains("which ZooKeeper does not log"), "{lacking:?}");
}

#[test]
fn an_epoch_that_a_server_of_zookeeper_has_lost_is_found() {
    let mut logs = logs("zookeeper-partition");
    // It led epoch 3, and proposes itself with the epoch before.
    let lost = "n.sid:3, n.state:LOOKING, n.leader:3, n.round:0x4, n.peerEpoch:0x3";
    assert!(logs[2].contains(lost));
    logs[2] = logs[2].replacen(lost, &lost.replace("Epoch:0x3", "Epoch:0x2"), 1);
    let verdict = judge(&logs);
    let check = of(&verdict, "term-rollback");
    assert_eq!(check.judgement, Judgement::Invalid);
    let sentence = &check.findings[0].sentence;
    assert_eq!(sentence, "n3 stored current epoch 2 although it had been at 3");
}

#[test]
fn what_logs_cannot_decide_is_unknown_when_it_is_asked_for() {
    for (system, check, needs) in [
        ("etcd-3.5", "no-leader", "needs: the faults, which only a run tells"),
        ("zookeeper", "double-vote", "needs: the epochs that followers accept"),
        ("zookeeper", "best-candidate", "needs: the faults and timeouts"),
        ("etcd-3.5", "agreement", "needs: append, ack, commit"),
    ] {
        let logs = logs(system);
        let bytes: Vec<&[u8]> = logs.iter().map(String::as_bytes).collect();
        let mut imported = texts(&bytes, None, false).unwrap();
        imported.ask_for(&[check.to_owned()]);
        let verdict = verdict(imported);
        assert_eq!(verdict.judgement, Judgement::Unknown, "{check}");
        let reason = verdict.checks[0].reason.clone().unwrap();
        assert!(reason.starts_with(needs), "{reason}");
    }
}

#[test]
fn a_line_that_is_not_there_makes_nothing_invalid() {
    for system in ["etcd-3.5", "etcd-plain", "zookeeper-partition"] {
        let logs = logs(system);
        for file in 0..logs.len() {
            let lines: Vec<&str> = logs[file].split_inclusive('\n').collect();
            let leads =
                |line: &str| line.contains(" became leader ") || line.contains("Have quorum of ");
            // All take minutes.
            let few = (0..lines.len()).filter(|place| place % 5 == 0 || leads(lines[*place]));
            for place in few {
                let mut fewer = logs.clone();
                fewer[file] = [&lines[..place], &lines[place + 1..]].concat().concat();
                let bytes: Vec<&[u8]> = fewer.iter().map(String::as_bytes).collect();
                let verdict = verdict(texts(&bytes, None, false).unwrap());
                let gone = lines[place];
                assert_ne!(verdict.judgement, Judgement::Invalid, "{gone}{:#?}", verdict.checks);
                assert!(!leads(gone) || verdict.judgement == Judgement::Unknown, "{gone}");
            }
        }
    }
}

#[test]
fn a_clock_that_is_wrong_makes_nothing_invalid() {
    for system in ["etcd-3.5", "etcd-json", "zookeeper-partition"] {
        for file in 0..3 {
            for (from, to) in [("03:0", "02:0"), ("03:0", "04:0"), ("T23:5", "T22:5")] {
                let mut logs = logs(system);
                logs[file] = logs[file].replace(from, to);
                assert_eq!(judge(&logs).judgement, Judgement::Valid, "{system} {file} {to}");
            }
        }
    }
}

#[test]
fn etcd_logs_in_json_tell_who_led() {
    let verdict = check(&logs("etcd-json"), JSON);
    assert_eq!(verdict.judgement, Judgement::Valid);
    let import = verdict.imported.as_ref().unwrap();
    assert!(import.notes.contains(&"what different nodes did is ordered to within 2.9 ms".into()));
    assert_eq!(import.leaders[1].place, "n1:63");
    assert_eq!(import.leaders[1].end, "n3 told it of term 5");
    // The leader that was paused did not know better when it woke up: a warning, no more.
    let warnings = &of(&verdict, "dual-leaders").warnings;
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
    let warnings = &of(&verdict, "dual-leaders").warnings;
    assert!(warnings[0].sentence.ends_with("by clocks that are at most 1.9 s apart"));
    assert!(warnings[1].sentence.ends_with("may be 1.9 s apart: perhaps not at once"));
}

#[test]
fn zookeeper_logs_tell_who_led() {
    let verdict = check(&logs("zookeeper"), ZOOKEEPER);
    assert_eq!(verdict.judgement, Judgement::Valid);
    let needs: Vec<_> = verdict.not_applied.iter().map(|it| it.check.as_str()).collect();
    assert!(needs.contains(&"no-leader") && needs.contains(&"double-vote"), "{needs:?}");
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
    let finding = &of(&verdict, "dual-leaders").findings[0];
    assert_eq!(finding.sentence, "n1 and n2 were both established as leader of term 3");
    let places: Vec<_> = verdict.imported.unwrap().places.into_values().collect();
    assert!(places.contains(&"n1:63".to_owned()) && places.contains(&"n2:90".to_owned()));

    let mut forged = logs("zookeeper");
    forged[1] =
        forged[1].replace("last processed zxid: 0x400000000", "last processed zxid: 0x300000000");
    let verdict = judge(&forged);
    assert_eq!(verdict.judgement, Judgement::Invalid);
    let sentence = &of(&verdict, "dual-leaders").findings[0].sentence;
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
