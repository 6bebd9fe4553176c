use crate::transcript::{Transcript, check, check_raft, check_transcript};

#[track_caller]
fn raft(events: &str, expected: &str) {
    check_raft("persist-before-ack", &format!("0 boot\n 10 n1 elected 1\n{events}"), expected);
}

#[track_caller]
fn fle(events: &str, expected: &str) {
    check("persist-before-ack", &format!("0 boot\n 10 n1 elected 1\n{events}"), expected);
}

#[test]
fn a_vote_leaves_after_its_sync() {
    raft("20 n2 persist hard-state 2 for n1\n 30 n2 ack vote n1 2", "valid");
    raft("20 n2 persist vote 2 for n1\n 30 n2 sends vote-resp n1 2", "valid");
    let early = "invalid
        - n2 voted for n1 in term 2 before that was on its disk: it had term 0 there";
    raft("30 n2 ack vote n1 2\n 40 n2 persist hard-state 2 for n1", early);
    raft("20 n2 fails hard-state 2 for n1\n 30 n2 ack vote n1 2", early);
    // The reply tells the same vote again.
    raft("30 n2 ack vote n1 2\n 31 n2 sends vote-resp n1 2", early);
    // A vote that is only asked for in advance binds nobody.
    raft(
        "30 n2 sends prevote-resp n1 2",
        "unknown (nobody acknowledged anything, so nothing could be too early)",
    );
}

#[test]
fn the_vote_on_the_disk_is_for_that_candidate() {
    raft(
        "20 n2 persist hard-state 2 for n3\n 30 n2 ack vote n1 2",
        "invalid
         - n2 voted for n1 in term 2 before that was on its disk: it had term 2 of n3 there",
    );
    raft(
        "20 n2 persist hard-state 2\n 30 n2 ack vote n1 2",
        "invalid
         - n2 voted for n1 in term 2 before that was on its disk: it had term 2 there, and no vote",
    );
}

#[test]
fn a_candidate_counts_its_own_vote_only_from_its_disk() {
    raft("20 n2 persist hard-state 2 for n2\n 30 n2 elected 2 by n2 n3", "valid");
    raft(
        "20 n2 persist hard-state 2\n 30 n2 elected 2 by n2 n3",
        "invalid
         - n2 counted its own vote for term 2 before that was on its disk: it had term 2 there, and no vote",
    );
}

#[test]
fn what_a_start_found_covers_a_promise() {
    let killed = "15 n1 persist hard-state 1\n 20 exit n2 ok\n 30 spawn n2\n";
    raft(&format!("{killed} 30 n2 found term 2 vote n1\n 40 n2 ack vote n1 2"), "valid");
    raft(
        &format!("{killed} 30 n2 found term 2\n 40 n2 ack vote n1 2"),
        "invalid
         - n2 voted for n1 in term 2 before that was on its disk: it had term 2 there, and no vote",
    );
    raft(
        &format!(
            "15 n2 persist hard-state 2 for n1\n {killed} 30 n2 found last 0.0\n 40 n2 ack vote n1 2"
        ),
        "unknown (a promise is told, and never what is on the disk (line 18))",
    );
}

#[test]
fn an_epoch_is_acknowledged_after_its_sync() {
    fle("20 n2 persist accepted-epoch 2 for n1\n 30 n2 ack ackepoch n1 2", "valid");
    fle("20 n2 persist accepted-epoch 3 for n3\n 30 n2 ack ackepoch n1 2", "valid");
    let early = "invalid
        - n2 acknowledged epoch 2 of n1 before that was on its disk: it had epoch 0 there";
    fle("30 n2 ack ackepoch n1 2\n 40 n2 persist accepted-epoch 2 for n1", early);
    fle("20 n3 persist accepted-epoch 2 for n1\n 30 n2 ack ackepoch n1 2", early);
    fle("20 n2 persist current-epoch 2\n 30 n2 ack ackepoch n1 2", early);
    fle("30 n2 sends epoch-ack n1 2", early);
    fle(
        "20 n2 persist accepted-epoch 2 for n3\n 30 n2 ack ackepoch n1 2",
        "invalid
         - n2 acknowledged epoch 2 of n1 before that was on its disk: it had epoch 2 of n3 there",
    );
}

#[test]
fn what_another_incarnation_synced_covers_nothing_that_was_not_found() {
    let killed = "15 n2 persist accepted-epoch 2 for n1\n 20 exit n2 ok\n 30 spawn n2\n";
    fle(&format!("{killed} 30 n2 found accepted 2 leader n1\n 40 n2 ack ackepoch n1 2"), "valid");
    fle(
        &format!("{killed} 30 n2 found accepted 1 leader n1\n 40 n2 ack ackepoch n1 2"),
        "invalid
         - n2 acknowledged epoch 2 of n1 before that was on its disk: it had epoch 1 there",
    );
}

#[test]
fn an_entry_is_acknowledged_after_its_sync() {
    let appended = "15 n2 persist hard-state 1
        20 n2 append 1.1:a 1.2:b\n";
    raft(&format!("{appended} 30 n2 persist log 1.2\n 40 n2 ack append n1 1 1.2"), "valid");
    raft(&format!("{appended} 30 n2 persist log 1.1\n 40 n2 ack append n1 1 1.1"), "valid");
    let early = "invalid
        - n2 acknowledged (1, 2) before that was on its disk: its log ended at (1, 1) there";
    raft(&format!("{appended} 30 n2 persist log 1.1\n 40 n2 ack append n1 1 1.2"), early);
    raft(
        &format!("{appended} 30 n2 fails log 1.2\n 40 n2 ack append n1 1 1.2"),
        "invalid
         - n2 acknowledged (1, 2) before that was on its disk: its log ended at (0, 0) there",
    );
    raft(
        "20 n2 append 1.1:a\n 30 n2 persist log 1.1\n 40 n2 ack append n1 1 1.1",
        "invalid
         - n2 answered in term 1 before that was on its disk: it had term 0 there",
    );
}

#[test]
fn a_late_sync_covers_the_entry_that_it_wrote() {
    let rewritten = "15 n2 persist hard-state 2
        20 n2 append 1.1:a
        30 n2 truncate 1.1 1.1
        40 n2 append 2.1:b\n";
    raft(&format!("{rewritten} 50 n2 persist log 2.1\n 60 n2 ack append n1 2 2.1"), "valid");
    raft(
        &format!("{rewritten} 50 n2 persist log 1.1\n 60 n2 ack append n1 2 2.1"),
        "invalid
         - n2 acknowledged (2, 1) before that was on its disk: it had (1, 1) there",
    );
}

#[test]
fn a_leader_counts_itself_only_from_its_disk() {
    let appended = "20 n1 append 1.1:a\n";
    raft(&format!("{appended} 30 n1 persist log 1.1\n 40 n1 commit 1.1 by n1 n2"), "valid");
    raft(
        &format!("{appended} 40 n1 commit 1.1 by n1 n2"),
        "invalid
         - n1 acknowledged (1, 1) before that was on its disk: its log ended at (0, 0) there",
    );
    // It may commit what others have while its own disk is slow.
    raft(
        &format!(
            "{appended} 30 n1 commit 1.1 by n2 n3\n 40 n1 persist log 1.1\n 50 n1 ack append n2 1 1.1"
        ),
        "invalid
         - n1 answered in term 1 before that was on its disk: it had term 0 there",
    );
}

#[test]
fn an_acknowledged_entry_is_found_again() {
    let acked = "15 n2 persist hard-state 1
        20 n2 append 1.1:a 1.2:b
        30 n2 persist log 1.2
        40 n2 ack append n1 1 1.2\n";
    let killed = "50 exit n2 ok\n 60 spawn n2\n";
    raft(&format!("{acked} {killed} 60 n2 found term 1 last 1.2"), "valid");
    raft(
        &format!("{acked} {killed} 60 n2 found term 1 last 1.1"),
        "invalid
         - n2 acknowledged (1, 2), and found its log to end at (1, 1) when it started again",
    );
    // Removed for another leader, or with the whole disk.
    raft(
        &format!("{acked} 45 n2 truncate 1.2 1.2\n {killed} 60 n2 found term 1 last 1.1"),
        "valid",
    );
    raft(&format!("{acked} {killed} 60 n2 found fresh"), "valid");
}

#[test]
fn a_snapshot_covers_what_it_holds_once_it_is_synced() {
    let installed = "15 n2 persist hard-state 1\n 20 n2 snapshot install 1.5\n";
    raft(&format!("{installed} 30 n2 persist snapshot 1.5\n 40 n2 ack append n1 1 1.5"), "valid");
    raft(
        &format!("{installed} 40 n2 ack append n1 1 1.5"),
        "invalid
         - n2 acknowledged (1, 5) before that was on its disk: its log ended at (0, 0) there",
    );
}

#[test]
fn ballots_and_slots_are_promised_after_their_sync() {
    let paxos = |events: &str, expected: &str| {
        let text = format!("0 boot\n 10 n1 elected 1\n{events}");
        check_transcript("persist-before-ack", Transcript::of("multipaxos", 3, &text), expected);
    };
    paxos("20 n2 persist promise 2\n 30 n2 ack promise n1 2", "valid");
    paxos(
        "30 n2 ack promise n1 2",
        "invalid
         - n2 promised ballot 2 before that was on its disk: it had ballot 0 there",
    );
    paxos("20 n2 persist accept 2.7\n 30 n2 ack accepted n1 2 2.7", "valid");
    paxos(
        "20 n2 persist accept 2.6\n 30 n2 ack accepted n1 2 2.7",
        "invalid
         - n2 accepted (2, 7) for ballot 2 before that was on its disk: it had nothing in that slot",
    );
    paxos(
        "20 n2 persist accept 1.7\n 30 n2 ack accepted n1 2 2.7",
        "invalid
         - n2 accepted (2, 7) for ballot 2 before that was on its disk: it had ballot 1 in that slot",
    );
}

#[test]
fn a_new_leader_is_acknowledged_with_its_epoch_and_its_history_on_the_disk() {
    let zab = |events: &str, expected: &str| {
        let text = format!("0 boot\n 10 n1 elected 1\n{events}");
        check_transcript("persist-before-ack", Transcript::of("zab", 3, &text), expected);
    };
    let (history, epoch) = ("20 n2 persist log 1.4\n", "20 n2 persist current-epoch 2\n");
    zab(&format!("{history}{epoch} 30 n2 ack newleader n1 2 1.4"), "valid");
    zab(
        &format!("{epoch} 30 n2 ack newleader n1 2 1.4"),
        "invalid
         - n2 acknowledged (1, 4) before that was on its disk: its log ended at (0, 0) there",
    );
    zab(
        &format!("{history} 30 n2 ack newleader n1 2 1.4"),
        "invalid
         - n2 acknowledged the leader of epoch 2 before that was on its disk: it had epoch 0 there",
    );
}

#[test]
fn an_ack_of_an_unknown_kind_is_not_silently_right() {
    raft(
        "30 n2 ack gossip n1 2",
        "unknown (n2 does not say what its ack of kind `gossip` promises (line 13))",
    );
    raft(
        "30 n2 ack append n1 2",
        "unknown (n2 does not say what its ack of kind `append` promises (line 13))",
    );
}

#[test]
fn what_was_acknowledged_before_a_removed_entry_is_still_found() {
    let restarted = |last: &str| {
        format!(
            "20 n2 append 1.1:a 1.2:b 1.3:c
             25 n2 persist log 1.3
             30 n2 ack append n1 0 1.3
             40 n2 truncate 1.3 1.3
             50 exit n2 ok
             60 spawn n2
             60 n2 found last {last}"
        )
    };
    raft(&restarted("1.2"), "valid");
    raft(&restarted("1.3"), "valid");
    raft(
        &restarted("1.1"),
        "invalid
         - n2 acknowledged (1, 2), and found its log to end at (1, 1) when it started again",
    );
}
