//! Whatever can be wrong with a file is an error with its name and line; where reading is lenient,
//! it is counted, and nothing is valid.

use usurper_checks::{Judgement, formats::Format};

use super::{texts, verdict};

/// A sound history in each format of operations: the same two steps each.
const SOUND: &[(Format, [&str; 4])] = &[
    (
        Format::JepsenEdn,
        [
            "{:process 0, :type :invoke, :f :write, :value 1, :index 0}",
            "{:process 0, :type :ok, :f :write, :value 1, :index 1}",
            "{:process 1, :type :invoke, :f :read, :value nil, :index 2}",
            "{:process 1, :type :ok, :f :read, :value 1, :index 3}",
        ],
    ),
    (
        Format::JepsenText,
        [
            "INFO  jepsen.util - 0\t:invoke\t:write\t1",
            "INFO  jepsen.util - 0\t:ok\t:write\t1",
            "INFO  jepsen.util - 1\t:invoke\t:read\tnil",
            "INFO  jepsen.util - 1\t:ok\t:read\t1",
        ],
    ),
    (
        Format::PorcupineKv,
        [
            r#"{:process 0, :type :invoke, :f :put, :key "a", :value "1"}"#,
            r#"{:process 0, :type :ok, :f :put, :key "a", :value "1"}"#,
            r#"{:process 1, :type :invoke, :f :get, :key "a", :value nil}"#,
            r#"{:process 1, :type :ok, :f :get, :key "a", :value "1"}"#,
        ],
    ),
    (
        Format::Usurper,
        [
            r#"{"t":1,"record":"op","process":0,"type":"invoke","f":"write","value":1}"#,
            r#"{"t":2,"record":"op","process":0,"type":"ok","f":"write","value":1}"#,
            r#"{"t":3,"record":"op","process":1,"type":"invoke","f":"read"}"#,
            r#"{"t":4,"record":"op","process":1,"type":"ok","f":"read","value":1}"#,
        ],
    ),
];

const HEADER: &str = r#"{"usurper-history":1,"run":"a","system":"x","nodes":[],"seed":1,"origin-ns":0,"started":"2026-01-01T00:00:00Z","timing":{"heartbeat-ns":1,"election-timeout-ns":1,"leader-bound-ns":1},"events":["operations"],"checks":{"linearizable":{}}}
{"t":0,"record":"harness","event":"phase","phase":"end"}"#;

fn file(format: Format, lines: &[&[u8]]) -> Vec<u8> {
    let mut file = Vec::new();
    if format == Format::Usurper {
        file.extend_from_slice(HEADER.as_bytes());
        file.push(b'\n');
    }
    for line in lines {
        file.extend_from_slice(line);
        file.push(b'\n');
    }
    file
}

/// The error of a file, where lines count from the first operation; then its lenient verdict.
#[track_caller]
fn check(format: Format, bytes: &[u8], line: u64, problem: &str) {
    let line = line + 2 * u64::from(format == Format::Usurper);
    let error = texts(&[bytes], Some(format), false).expect_err(problem);
    let begin = format!("`f1` line {line}: ");
    assert!(error.starts_with(&begin) && error.contains(problem), "{format}: {error}");
    let verdict = verdict(texts(&[bytes], Some(format), true).unwrap());
    assert_eq!(verdict.judgement, Judgement::Unknown, "{format}, {problem}");
    assert!(verdict.imported.unwrap().skipped > 0);
}

#[test]
fn sound_histories_are_valid_and_told_apart_by_what_they_hold() {
    for (format, lines) in SOUND {
        let bytes = file(*format, &lines.map(str::as_bytes));
        let imported = texts(&[&bytes], None, false).unwrap();
        assert_eq!(imported.format, *format);
        assert_eq!(verdict(imported).judgement, Judgement::Valid, "{format}");
    }
}

#[test]
fn a_line_twice_is_told() {
    for (format, [one, two, three, four]) in SOUND {
        let of = |lines: &[&str]| {
            file(*format, &lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>())
        };
        let (twice, again) = match format {
            Format::JepsenEdn => ("duplicated: index 0", "duplicated: index 1"),
            _ => ("process 0 invokes an operation while that of line", "that it completed in line"),
        };
        check(*format, &of(&[one, one, two, three, four]), 2, twice);
        check(*format, &of(&[one, two, two, three, four]), 3, again);
    }
}

#[test]
fn steps_without_the_steps_before_them_are_told() {
    for (format, [one, two, three, four]) in SOUND {
        let of = |lines: &[&str]| {
            file(*format, &lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>())
        };
        check(*format, &of(&[two, three, four]), 1, "completes an operation that it never invoked");
        // The end of another operation than was begun.
        let other = two.replace("write", "read").replace(":put", ":get");
        check(*format, &of(&[one, &other, three, four]), 2, "process 0 completes the `");
        let other = two.replace('1', "2").replace(":index 2", ":index 1");
        check(*format, &of(&[one, &other]), 2, "process 0 completes the `");
        // Our own histories are brought into the order of time.
        if *format != Format::Usurper {
            let problem = match format {
                Format::JepsenEdn => "out of order: index 0 comes after index 1",
                _ => "never invoked",
            };
            let line = if *format == Format::JepsenEdn { 2 } else { 1 };
            check(*format, &of(&[two, one, three, four]), line, problem);
        }
    }
}

#[test]
fn a_line_that_is_torn_is_told() {
    for (format, lines) in SOUND {
        let whole = file(*format, &lines.map(str::as_bytes));
        // The last line ends early, or is whole but for its end, which only closing marks show.
        for cut in 2..12 {
            let torn = &whole[..whole.len() - cut];
            let closed = *format != Format::JepsenText && cut == 1;
            if !closed {
                check(*format, torn, 4, "truncated: the file ends within the");
            }
        }
        if *format == Format::JepsenText {
            check(*format, &whole[..whole.len() - 1], 4, "truncated");
        }
        // In the middle, the next line continues it.
        let mut mixed = lines.map(|line| line.as_bytes().to_vec());
        mixed[1].truncate(mixed[1].len() - 9);
        let mixed: Vec<&[u8]> = mixed.iter().map(Vec::as_slice).collect();
        let problem = match format {
            Format::JepsenEdn | Format::PorcupineKv => "interleaved",
            Format::Usurper => "not JSON",
            _ => "expected",
        };
        check(*format, &file(*format, &mixed), 2, problem);
    }
}

#[test]
fn lines_within_lines_and_bytes_that_are_no_text_are_told() {
    for (format, [one, two, three, four]) in SOUND {
        let mixed = format!("{}{two}", &two[..two.len() / 2]);
        let lines = [one.as_bytes(), mixed.as_bytes(), three.as_bytes(), four.as_bytes()];
        check(*format, &file(*format, &lines), 2, "");
        let mut garbled = two.as_bytes().to_vec();
        let place = garbled.len() - 3;
        garbled[place] = 0xff;
        let lines = [one.as_bytes(), &garbled, three.as_bytes(), four.as_bytes()];
        check(*format, &file(*format, &lines), 2, "UTF-8");
    }
}

#[test]
fn a_line_that_is_too_long_is_told_and_not_kept() {
    let long = vec![b' '; 17 << 20];
    for (format, [one, two, ..]) in SOUND {
        let lines = [one.as_bytes(), &long, two.as_bytes()];
        check(*format, &file(*format, &lines), 2, "longer than 16777216 bytes");
    }
}

#[test]
fn what_was_skipped_could_have_been_the_reason() {
    // A read of a value that nobody wrote, unless the line that cannot be read wrote it.
    let log = b"0 :invoke :wrote 7\n1 :invoke :read nil\n1 :ok :read 7\n";
    check(Format::JepsenText, log, 1, "`0 :invoke :wrote 7`, expected");
    let verdict = verdict(texts(&[log], None, true).unwrap());
    assert_eq!(verdict.checks[0].judgement, Judgement::Unknown);
    assert_eq!((verdict.checks[0].findings.len(), verdict.checks[0].warnings.len()), (0, 1));
}

#[test]
fn lines_of_servers_logs_that_are_garbled_are_told() {
    let json =
        r#"{"level":"info","ts":"2026-11-21T23:56:57.077Z","msg":"aa became leader at term 2"}"#;
    let plain = "raft2026/11/21 23:56:15 INFO: aa became leader at term 2";
    let zk = "2026-11-21 23:54:25,042 [myid:1] - INFO  [main:FastLeaderElection@946] - New election. My id = 1, proposed zxid=0x0";
    let zookeeper = Format::Zookeeper;
    for (format, line) in [(Format::Etcd, json), (Format::Etcd, plain), (zookeeper, zk)] {
        let of = |lines: &[&str]| lines.concat().into_bytes();
        let sound = format!("{line}\n");
        assert_eq!(texts(&[&of(&[&sound])], None, false).unwrap().format, format);
        // A term that is cut off is another term.
        check(format, &of(&[&sound, line]), 2, "truncated: the file ends within the line");
        let mixed = format!("{}{line}\n", &line[..line.len() - 20]);
        check(format, &of(&[&sound, &mixed]), 2, "expected one whole line of a log");
        let earlier = sound.replace("2026", "2025");
        check(format, &of(&[&sound, &earlier]), 2, "out of order: time");
        check(format, &[sound.as_bytes(), b"\xff\n"].concat(), 2, "UTF-8");
        check(format, &[sound.as_bytes(), &vec![b'x'; 17 << 20]].concat(), 2, "longer than");
    }
    let error = texts(&[b"2026-11-21T23:56:57.077Z hello\n"], Some(Format::Etcd), false);
    assert!(error.unwrap_err().contains("holds nothing that is etcd"));
}

#[test]
fn lines_about_elections_that_end_early_are_told() {
    let etcd = |message: &str| format!("raft2026/11/21 23:56:15 INFO: {message}\n");
    let zookeeper = |message: &str| {
        format!("2026-11-21 23:54:25,042 [myid:1] - INFO  [main:X@9] - {message}\n")
    };
    let sound = [
        etcd("aa became leader at term 2"),
        zookeeper("New election. My id = 1, proposed zxid=0x0"),
    ];
    for message in [
        "aa became leader at te",
        "aa became lead",
        "aa became follower at term x",
        "aa received MsgVoteResp from bb at",
        "raft.node: aa elected leader bb at term ",
        "newRaft aa [peers: [], term: 2, com",
    ] {
        let text = format!("{}{}", sound[0], etcd(message));
        check(Format::Etcd, text.as_bytes(), 2, "expected a line that names its term");
    }
    for message in [
        "Notification: my state:LOOKING; n.sid:1, n.state:LOOKING, n.leader:3, n.rou",
        "Have quorum of supporters, sids: [[1, 3]]; starting up",
    ] {
        let text = format!("{}{}", sound[1], zookeeper(message));
        check(Format::Zookeeper, text.as_bytes(), 2, "expected a line that names its term");
    }
    for message in ["aa became famous", "aa became", "aa is starting a new election at term 2"] {
        let text = format!("{}{}", sound[0], etcd(message));
        assert!(texts(&[text.as_bytes()], Some(Format::Etcd), false).is_ok(), "{message}");
    }
}

#[test]
fn what_is_no_history_is_said_to_be_none() {
    for text in ["", "\n\n", "hello\n", "{}", "[1 2 3]", "\u{0}"] {
        let error = texts(&[text.as_bytes()], None, false).unwrap_err();
        assert!(error.starts_with("`f1` is in no format that is known"), "{error}");
    }
    let nothing = texts(&[b"{:process :nemesis, :type :info}"], None, false).unwrap_err();
    assert_eq!(nothing, "`f1` holds nothing that is jepsen-edn: no operation");
    let two = texts(&[b"0 :invoke :read nil\n", b""], None, false).unwrap_err();
    assert_eq!(two, "a history in the format jepsen-text is one file, and there are 2");
}
