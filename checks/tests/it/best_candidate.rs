use crate::transcript::check as check_named;

#[track_caller]
fn check(events: &str, expected: &str) {
    check_named("best-candidate", &format!("0 boot\n{events}"), expected);
}

/// All stand in round 1, n3 with the most, and n2 wins.
const OTHER_WINS: &str = "10 n1 stands 0.1 1
    10 n2 stands 0.2 1
    10 n3 stands 0.3 1
    100 n2 votes n2 1
    200 n2 prospective 1 by n1 n2
    210 n2 elected 1\n";

const WARNING: &str = "valid (a better candidate could have been heard in 1 of 1 election)
    ~ n2 won round 1 with epoch 0 and (0, 2), although n3, with epoch 0 and (0, 3), was in the \
    election and connected";
const RIGHT: &str = "valid (a better candidate could have been heard in 0 of 1 election)";

#[test]
fn a_winner_that_another_surpassed_is_warned_of() {
    check(OTHER_WINS, WARNING);
    // Equal candidates are told apart by their ids, and neither is better.
    check(&OTHER_WINS.replace("stands 0.3 1", "stands 0.2 1"), RIGHT);
}

#[test]
fn who_could_not_be_heard_does_not_count() {
    let cut = "150 begin 1 cut cut n3>n2\n 150 end 1 cut cut n3>n2\n 200 n2";
    check(&OTHER_WINS.replacen("200 n2", cut, 1), RIGHT);
    let down = "150 begin 1 kill down n3\n 150 end 1 kill down n3\n 150 exit n3 ok\n 200 n2";
    check(&OTHER_WINS.replacen("200 n2", down, 1), RIGHT);
    let settled = "150 n3 knows n1 1\n 200 n2";
    check(&OTHER_WINS.replacen("200 n2", settled, 1), RIGHT);
    // It has only decided for another, and too soon.
    let decided = "150 n3 role follower\n 200 n2";
    check(&OTHER_WINS.replacen("200 n2", decided, 1), WARNING);
}

#[test]
fn a_slow_link_is_no_excuse() {
    let slow = "5 begin 1 delay degraded n3>n2\n 6 end 1 delay degraded n3>n2\n 10 n1 stands";
    check(&OTHER_WINS.replacen("10 n1 stands", slow, 1), WARNING);
}

#[test]
fn who_looked_but_never_stood_may_be_better() {
    let silent = OTHER_WINS.replace("n3 stands 0.3 1", "n3 round 1");
    check(&format!("5 n3 found zxid 0.3\n{silent}"), WARNING);
    check(&format!("5 n3 found zxid 0.0\n10 n3 stored-zxid 0.3\n{silent}"), WARNING);
    check(&format!("5 n3 found zxid 0.2\n{silent}"), RIGHT);
    // It has not begun to look in this round.
    check(&format!("5 n3 found zxid 0.3\n{}", silent.replace("10 n3 round 1\n", "")), RIGHT);
}

#[test]
fn an_earlier_round_does_not_count_and_a_later_one_does() {
    let second = OTHER_WINS.replace("n2 stands 0.2 1", "n2 stands 0.2 2");
    check(&second.replace("n1 stands 0.1 1", "n1 stands 0.1 2"), RIGHT);
    check(&OTHER_WINS.replace("n3 stands 0.3 1", "n3 stands 0.3 2"), WARNING);
}

#[test]
fn without_a_winner_that_stood_nothing_is_known() {
    check("10 n1 elected 1", "unknown (no winner told what it stood with)");
}

#[test]
fn who_has_no_vote_is_no_candidate() {
    let config = |more: &str| format!("5 n1 config commit 1.1 n1 n2 {more}\n 10 n1 stands");
    check(&OTHER_WINS.replacen("10 n1 stands", &config("learn n3"), 1), RIGHT);
    check(&OTHER_WINS.replacen("10 n1 stands", &config("n3"), 1), WARNING);
}
