use crate::transcript::{Transcript, check, check_transcript};

#[test]
fn two_established_leaders_of_one_term_are_rejected() {
    check(
        "dual-leaders",
        "0 boot
         100 n1 elected 1
         150 n1 role follower
         300 n2 elected 1
         900 phase end",
        "invalid
         - n1 and n2 were both established as leader of epoch 1",
    );
}

#[test]
fn a_restart_does_not_make_a_second_leader_of_the_term_legal() {
    check(
        "dual-leaders",
        "0 boot
         100 n1 elected 1
         150 exit n1 ok
         200 spawn n1
         210 n1 start 0
         220 ready n1
         300 n2 elected 1
         900 phase end",
        "invalid
         - n1 and n2 were both established as leader of epoch 1",
    );
}

#[test]
fn two_prospective_winners_of_one_round_are_legal() {
    check(
        "dual-leaders",
        "0 boot
         100 n2 prospective 1
         120 n3 prospective 1
         200 n2 role looking
         300 n3 elected 1
         900 phase end",
        "valid",
    );
}

#[test]
fn one_counter_of_two_proposers_is_two_ballots() {
    let text = "0 boot
         100 n1 elected 5
         200 n1 role follower
         300 n2 elected 5
         900 phase end";
    check_transcript("dual-leaders", Transcript::of("multipaxos", 3, text), "valid");
    check_transcript(
        "dual-leaders",
        Transcript::of("raft", 3, text),
        "invalid
         - n1 and n2 were both established as leader of term 5",
    );
}

#[test]
fn an_old_leader_that_regains_a_quorum_is_rejected() {
    // The restarted old leader sends heartbeats because its configuration says so, and one node
    // that had accepted the new epoch follows it.
    check(
        "dual-leaders",
        "0 boot
         100 n1 elected 1
         200 n2 accepted n1 1
         300 exit n1 ok
         800 n3 elected 2
         850 n2 accepted n3 2
         900 spawn n1
         910 n1 start 1
         920 ready n1
         930 n1 sent n1 1
         940 n2 accepted n1 1
         999 phase end",
        "invalid
         - n1 went on leading epoch 1, followed by n2, after n3 had been established as leader of epoch 2: each had a quorum",
    );
}

#[test]
fn a_silent_old_leader_with_a_role_and_one_follower_is_rejected() {
    check(
        "dual-leaders",
        "0 boot
         100 n1 elected 1
         800 n3 elected 2
         940 n2 accepted n1 1
         999 phase end",
        "invalid
         - n1 went on leading epoch 1, followed by n2, after n3 had been established as leader of epoch 2: each had a quorum
         ~ n1 (epoch 1) and n3 (epoch 2) both held the role of leader for 199 ms; legal as long as the older one achieves nothing",
    );
}

#[test]
fn a_minority_may_go_on_following_its_old_leader() {
    // n1 and n2 are cut off from the majority and do not know it yet.
    let cut_off = "0 boot
         100 n1 elected 1
         700 n4 elected 2
         710 n5 accepted n4 2
         720 n1 sent n1 1
         730 n2 accepted n1 1
         800 n2 accepted n1 1
         850 n1 role looking";
    let warning = "~ n1 (epoch 1) and n4 (epoch 2) both held the role of leader for 150 ms; legal as long as the older one achieves nothing";
    check_transcript(
        "dual-leaders",
        Transcript::of("fle", 5, &format!("{cut_off}\n900 phase end")),
        &format!("valid\n{warning}"),
    );
    // A third one is a quorum: it must have accepted the new epoch, or the new leader has none.
    check_transcript(
        "dual-leaders",
        Transcript::of("fle", 5, &format!("{cut_off}\n860 n3 accepted n1 1\n900 phase end")),
        &format!(
            "invalid
             - n1 went on leading epoch 1, followed by n2 and n3, after n4 had been established as leader of epoch 2: each had a quorum
             {warning}"
        ),
    );
}

#[test]
fn a_paused_follower_may_accept_its_own_old_leader() {
    check(
        "dual-leaders",
        "0 boot
         100 n1 elected 1
         200 begin 1 pause frozen n2
         201 end 1 pause frozen n2
         300 exit n1 ok
         800 n3 elected 2
         900 begin 2 resume thawed n2
         901 end 2 resume thawed n2
         902 n2 accepted n1 1
         999 phase end",
        "valid",
    );
}

#[test]
fn late_heartbeats_that_are_rejected_are_normal() {
    check(
        "dual-leaders",
        "0 boot
         100 n1 elected 1
         300 n1 role follower
         800 n3 elected 2
         810 n2 rejected n1 1
         820 n1 rejected n1 1
         999 phase end",
        "valid",
    );
}

#[test]
fn heartbeats_accepted_before_the_new_leader_was_established_are_normal() {
    check(
        "dual-leaders",
        "0 boot
         100 n1 elected 1
         200 n1 sent n1 1
         210 n2 accepted n1 1
         220 n3 accepted n1 1
         300 n1 role follower
         800 n3 elected 2
         999 phase end",
        "valid",
    );
}

#[test]
fn an_overlap_of_roles_is_a_warning_only() {
    check(
        "dual-leaders",
        "0 boot
         100 n1 elected 1
         800 n3 elected 2
         1000 n1 role follower
         1999 phase end",
        "valid
         ~ n1 (epoch 1) and n3 (epoch 2) both held the role of leader for 200 ms; legal as long as the older one achieves nothing",
    );
}

#[test]
fn a_leader_without_a_quorum_of_the_configuration_in_force_is_rejected() {
    check(
        "dual-leaders",
        "0 boot
         100 n1 elected 1
         200 n1 config n1 n2
         800 n3 elected 2
         940 n2 accepted n1 1
         999 n1 role follower
         999 phase end",
        "invalid
         - n1 went on leading epoch 1, followed by n2, after n3 had been established as leader of epoch 2: each had a quorum
         ~ n1 (epoch 1) and n3 (epoch 2) both held the role of leader for 199 ms; legal as long as the older one achieves nothing",
    );
}

#[test]
fn without_heartbeats_the_verdict_says_what_was_judged() {
    let transcript = Transcript::new("0 boot\n100 n1 elected 1\n900 phase end");
    check_transcript(
        "dual-leaders",
        transcript.without("heartbeat"),
        "valid (judged by elections only: this system tells of no heartbeats)",
    );
}

#[test]
fn a_second_leader_of_one_term_needs_no_election_to_be_seen() {
    let text = "0 boot
         100 n1 elected 1
         200 n3 sent n3 1";
    check("dual-leaders", &format!("{text}\n900 phase end"), "valid");
    check(
        "dual-leaders",
        &format!("{text}\n300 n2 accepted n3 1\n900 phase end"),
        "invalid
         - n3 led epoch 1, followed by n2, although n1 had been established as its leader: each had a quorum",
    );
    // With ballots a higher proposer of the same counter is a later leader.
    let ballots = Transcript::of("multipaxos", 3, &format!("{text}\n300 n2 accepted n3 1"));
    check_transcript("dual-leaders", ballots, "valid");
}

#[test]
fn a_killed_leader_does_not_overlap_with_the_next() {
    check(
        "dual-leaders",
        "0 boot
         100 n1 elected 1
         300 begin 1 kill down n1
         301 end 1 kill down n1
         800 n3 elected 2
         900 phase end",
        "valid",
    );
}

#[test]
fn without_role_changes_the_envelope_tells_who_leads() {
    let text = "0 boot
         100 n1 wins 1
         110 n1 seems leader
         120 n1 votes n1 1
         200 n1 seems follower
         210 n1 votes n3 2
         800 n3 elected 2
         900 phase end";
    check_transcript("dual-leaders", Transcript::new(text).without("role-change"), "valid");
    let blind = text.replace("seems follower", "seems leader");
    check_transcript(
        "dual-leaders",
        Transcript::new(&blind).without("role-change"),
        "valid
         ~ n1 (epoch 1) and n3 (epoch 2) both held the role of leader for 100 ms; legal as long as the older one achieves nothing",
    );
}

/// n1 led by three voters and goes on after n3 was elected by others.
#[track_caller]
fn reconfigured(old: &str, new: &str, accepting: &[&str], expected: &str) {
    let accepts: String =
        accepting.iter().map(|node| format!("910 {node} accepted n1 1\n")).collect();
    let text = format!(
        "0 boot
         100 n1 elected 1
         110 n1 config append 1.1 n1 n2 n3
         120 n1 config append 1.2 {old}
         130 n3 config append 1.2 {new}
         700 n1 role follower
         800 n3 elected 2
         900 n1 sent n1 1
         {accepts}
         999 phase end"
    );
    check_transcript("dual-leaders", Transcript::of("raft", 5, &text), expected);
}

#[test]
fn after_a_change_of_the_voters_the_configurations_of_both_leaders_count() {
    let five = "n1 n2 n3 n4 n5";
    let wrong = |followers: &str| {
        format!(
            "invalid
             - n1 went on leading term 1, followed by {followers}, after n3 had been established as \
             leader of term 2: each had a quorum"
        )
    };
    // Two of five are none, and three are.
    reconfigured(five, five, &["n2"], "valid");
    reconfigured(five, five, &["n2", "n4"], &wrong("n2 and n4"));
    // The old leader takes two of three for a quorum, because two changes were made at once.
    reconfigured("n1 n2 n3", five, &["n2"], &wrong("n2"));
    reconfigured("n1 n2 n3", five, &[], "valid");
    // Two who were removed and have not heard of it.
    reconfigured(five, "n3 n4 n5", &["n2"], "valid");
    reconfigured(five, "n3 n4 n5", &["n4", "n5"], &wrong("n4 and n5"));
    // Learners do not count.
    reconfigured("n1 n3 n4 learn n2 n5", "n1 n3 n4 learn n2 n5", &["n2", "n5"], "valid");
}

#[test]
fn of_a_joint_configuration_both_majorities_count() {
    let joint = "n1 n4 n5 out n1 n2 n3";
    let wrong = "invalid
        - n1 went on leading term 1, followed by n2 and n4, after n3 had been established as leader of \
        term 2: each had a quorum";
    reconfigured(joint, joint, &["n2", "n4"], wrong);
    reconfigured(joint, joint, &["n2"], "valid");
    reconfigured(joint, joint, &["n4", "n5"], "valid");
}
