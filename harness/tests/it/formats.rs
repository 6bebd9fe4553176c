//! Histories that others wrote, through the command line.

use std::fs;

use crate::support::Place;

/// Copies the recorded logs of a cluster.
fn logs(place: &Place, system: &str) {
    for node in 1..=3 {
        let recorded =
            format!("{}/../checks/tests/data/{system}/n{node}.log", env!("CARGO_MANIFEST_DIR"));
        place.file(&format!("n{node}.log"), &fs::read_to_string(recorded).unwrap());
    }
}

#[test]
fn the_logs_of_a_cluster_tell_who_led() {
    let place = Place::new();
    logs(&place, "zookeeper");
    place.usurper("check n1.log n2.log n3.log").expect(
        0,
        &[
            "format     zookeeper: n1.log, n2.log, n3.log",
            "n3   epoch 1    from 0.842 s to 109.407 s: its log stops, and it was followed until 109.",
            "(n3:78, elected with n1)",
            "valid    dual-leaders",
            "n2 (epoch 2) and n3 (epoch 3) both held the role of leader for 10 s",
            "lines n3:202 n2:189",
            "leaderless at most ",
            "valid    term-rollback",
            "double-vote (needs: the epochs that followers accept, which ZooKeeper does not log)",
            "no-leader (needs: the faults, which only a run tells; suspicions, if any, are listed)",
            "crash, zombie-leader (needs: the faults and timeouts, which only a run tells)",
            "verdict    valid",
        ],
    );
    // A directory stands for the logs in it.
    place.usurper("check .").expect(0, &["format     zookeeper: ", "verdict    valid"]);
    place
        .usurper("check --check no-leader .")
        .expect(3, &["unknown  no-leader (needs: the faults"]);
    place.usurper("check n1.log n2.log").expect(3, &["the log of n3, server 3, is not among"]);
    place.usurper("check --format etcd n1.log").expect(2, &["`n1.log` holds nothing that is etcd"]);

    // As a history of ours it is judged the same, can be drawn, and what it lacks stays known.
    place.usurper("export n1.log n2.log n3.log --format usurper --file all.jsonl").expect(0, &[]);
    place.usurper("check all.jsonl").expect(0, &["4 leaders established", "verdict    valid"]);
    place.usurper("report all.jsonl").expect(0, &[]);
    place.usurper("export n1.log n2.log --format usurper --file two.jsonl").expect(0, &[]);
    place.usurper("check two.jsonl").expect(3, &["the log of n3, server 3, is not among"]);
}

#[test]
fn operations_go_to_jepsen_and_back() {
    let place = Place::new();
    let text = "0 :invoke :write 1\n0 :ok :write 1\n1 :invoke :cas [1 2]\n1 :fail :cas [1 2]\n";
    place.file("log", text);
    let found = ["invalid  linearizable", "lines 1 2 3 4", "verdict    invalid"];
    place.usurper("check log").expect(1, &found);
    place.usurper("export log --format jepsen-edn --file history.edn").expect(0, &[]);
    let edn = fs::read_to_string(place.path().join("history.edn")).unwrap();
    assert_eq!(edn.lines().count(), 4);
    assert!(edn.starts_with("{:process 0, :type :invoke, :f :write, :value 1, :time 0, :index 0}"));
    place.usurper("check history.edn").expect(1, &["format     jepsen-edn", found[0], found[1]]);
    // A directory of Jepsen's has the file under this name.
    place.usurper("check .").expect(1, &["format     jepsen-edn"]);
    let json = place.usurper("check log --output json");
    json.expect(1, &["\"format\": \"jepsen-text\"", "\"skipped\": 0"]);
}

#[test]
fn the_operations_of_a_run_go_to_jepsen_and_come_back_as_they_were() {
    let place = Place::new();
    for (workload, store) in [("register", "a"), ("list", "b")] {
        let run = format!(
            "run --system raft --workload {workload} --time 2s --settle 1s --store {store}"
        );
        place.usurper(&format!("{run} --faults none")).expect(0, &["valid    linearizable"]);
        let edn = format!("export {store}/latest --format jepsen-edn --file {store}.edn");
        place.usurper(&edn).expect(0, &[]);
        place.usurper(&format!("check {store}.edn")).expect(0, &["valid    linearizable"]);
        let back = place.usurper(&format!("export {store}.edn --format usurper"));
        let history = place.path().join(store).join("latest/history.jsonl");
        let history = fs::read_to_string(history).unwrap();
        let is_op = |line: &&str| line.contains(r#""record":"op""#);
        let ran: Vec<&str> = history.lines().filter(is_op).collect();
        let read: Vec<&str> = back.stdout.lines().filter(is_op).collect();
        assert!(ran.len() > 20, "{}", ran.len());
        // That a value is null and that there is none is the same.
        let ran: Vec<String> =
            ran.iter().map(|line| line.replace(r#""value":null,"#, "")).collect();
        assert_eq!(ran, read);
    }
}

#[test]
fn what_is_damaged_is_refused_or_skipped_and_then_never_valid() {
    let place = Place::new();
    place.file(
        "log",
        "0 :invoke :write 1\n0 :ok :write 1\n0 :ok :write 1\n1 :invoke :read nil\n1 :ok :read 1\n",
    );
    let twice = "`log` line 3: process 0 completes an operation that it completed in line 2";
    place.usurper("check log").expect(2, &[twice]);
    let skipped = [
        "skipped    1 lines",
        twice,
        "unknown  linearizable (1 line skipped",
        "verdict    unknown",
    ];
    place.usurper("check log --lenient").expect(3, &skipped);
    place.usurper("export log --format jepsen-edn").expect(2, &[twice]);
    place.usurper("export log --lenient --format jepsen-edn").expect(2, &["would look whole"]);
    place.file("unknown", "what is this\n");
    place
        .usurper("check unknown")
        .expect(2, &["`unknown` is in no format that is known", "--format"]);
}
