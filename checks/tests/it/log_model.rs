//! A correct cluster in a few lines, which writes the history of its logs, and mutations of it.
//!
//! Valid histories of many shapes must be accepted by every check of the logs, and each mutation must be
//! found by the check that is there for it. The model is a quorum log as in Raft: leaders change by
//! votes that need a log up to date, followers drop what conflicts, an entry is committed with a
//! majority that has it on disk and only in the leader's own term, and nodes are killed and start again
//! with any part of their unsynced writes.

#![expect(clippy::ptr_arg, reason = "all mutations have one type, and some change the length")]

use proptest::prelude::*;
use serde_json::json;
use usurper_checks::{Judgement, Verdict};

use crate::transcript::Transcript;

const NODES: usize = 5;
const CHECKS: [&str; 7] = [
    "commit-overreach",
    "duplicate-apply",
    "leader-completeness",
    "log-divergence",
    "lost-commit",
    "persist-before-ack",
    "state-divergence",
];

/// Numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.below(from.len())])
    }
}

/// One entry: its term, and the number of the client's command.
type Entry = (u64, u64);

#[derive(Clone, Default)]
struct Node {
    term: u64,
    vote: Option<usize>,
    log: Vec<Entry>,
    /// What the disk holds after each write since the last sync; the first is synced.
    disk: Vec<Vec<Entry>>,
    commit: usize,
    applied: usize,
    leads: bool,
    down: bool,
    /// The index up to which the node has its leader's log.
    matched: usize,
}

/// The lines of a transcript, each with the node that it is of.
struct Cluster {
    random: Random,
    nodes: Vec<Node>,
    lines: Vec<String>,
    commands: u64,
}

impl Cluster {
    fn run(seed: u64, steps: usize) -> Vec<String> {
        let node = Node { disk: vec![Vec::new()], ..Node::default() };
        let mut cluster = Self {
            random: Random(seed),
            nodes: vec![node; NODES],
            lines: vec!["boot".to_owned()],
            commands: 0,
        };
        cluster.elect(0);
        for _ in 0..steps {
            let node = cluster.random.below(NODES);
            match cluster.random.below(20) {
                0 => cluster.elect(node),
                1 => cluster.kill(node),
                2..=6 => cluster.propose(),
                _ => cluster.replicate(node),
            }
        }
        // So that every run has an election over something committed.
        cluster.settle();
        let leader = cluster.leader().unwrap();
        while cluster.leader().is_none_or(|now| now == leader) {
            (0..NODES).filter(|node| *node != leader).for_each(|node| cluster.elect(node));
        }
        cluster.lines
    }

    /// Until the latest leader has committed something.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            (0..NODES).for_each(|node| self.start(node));
            let node = self.random.below(NODES);
            self.elect(node);
            self.propose();
            (0..4).for_each(|_| (0..NODES).for_each(|node| self.replicate(node)));
            if self.leader().is_some_and(|leader| self.nodes[leader].commit > 0) {
                return;
            }
        }
        panic!("no leader committed anything");
    }

    fn tell(&mut self, node: usize, words: &str) {
        self.lines.push(format!("n{} {words}", node + 1));
    }

    /// The leader of the highest term.
    fn leader(&self) -> Option<usize> {
        (0..NODES).filter(|it| self.nodes[*it].leads).max_by_key(|it| self.nodes[*it].term)
    }

    fn set_term(&mut self, node: usize, term: u64, vote: Option<usize>) {
        let state = &mut self.nodes[node];
        (state.term, state.vote, state.matched) = (term, vote, 0);
        if std::mem::take(&mut state.leads) {
            self.tell(node, "role follower");
        }
        self.tell(node, &format!("term {term}"));
        let bound = vote.map_or(String::new(), |vote| format!(" for n{}", vote + 1));
        self.tell(node, &format!("persist hard-state {term}{bound}"));
    }

    fn elect(&mut self, node: usize) {
        if self.nodes[node].down || self.nodes[node].leads {
            return;
        }
        let term = self.nodes[node].term + 1;
        let up_to_date = |log: &[Entry]| (log.last().map_or(0, |entry| entry.0), log.len());
        let own = up_to_date(&self.nodes[node].log);
        self.set_term(node, term, Some(node));
        let mut votes = vec![node];
        for other in 0..NODES {
            let state = &self.nodes[other];
            if other == node || state.down || state.term >= term || self.random.one_in(4) {
                continue;
            }
            let grants = up_to_date(&state.log) <= own;
            self.set_term(other, term, grants.then_some(node));
            if grants {
                self.tell(other, &format!("ack vote n{} {term}", node + 1));
                votes.push(other);
            }
        }
        if votes.len() <= NODES / 2 {
            return;
        }
        let votes: Vec<_> = votes.iter().map(|vote| format!("n{}", vote + 1)).collect();
        self.tell(node, &format!("elected {term} by {}", votes.join(" ")));
        self.nodes[node].leads = true;
        for other in &mut self.nodes {
            other.matched = 0;
        }
        self.propose();
    }

    /// A leader, not always the latest, takes one to three commands.
    fn propose(&mut self) {
        let leaders: Vec<_> = (0..NODES).filter(|node| self.nodes[*node].leads).collect();
        let Some(leader) = self.random.pick(&leaders).copied() else { return };
        let term = self.nodes[leader].term;
        let count = 1 + self.random.below(3);
        let entries = (0..count).map(|_| {
            self.commands += 1;
            (term, self.commands)
        });
        let entries: Vec<_> = entries.collect();
        self.append(leader, &entries);
        if !self.random.one_in(3) {
            self.sync(leader);
        }
    }

    fn append(&mut self, node: usize, entries: &[Entry]) {
        for batch in entries.chunk_by(|one, other| one.0 == other.0) {
            let log = &mut self.nodes[node].log;
            let prev = log.last().map_or("0.0".to_owned(), |it| format!("{}.{}", it.0, log.len()));
            let words: Vec<_> = batch
                .iter()
                .map(|entry| {
                    log.push(*entry);
                    format!("{}.{}:d{}", entry.0, log.len(), entry.1)
                })
                .collect();
            self.tell(node, &format!("append {} after {prev}", words.join(" ")));
        }
        self.written(node);
    }

    fn written(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        state.disk.push(state.log.clone());
    }

    fn sync(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        state.disk = vec![state.log.clone()];
        if let Some(last) = state.log.last().map(|entry| entry.0) {
            let index = state.log.len();
            self.tell(node, &format!("persist log {last}.{index}"));
        }
    }

    /// A follower takes what the leader has, and the leader what the follower acknowledges.
    fn replicate(&mut self, node: usize) {
        self.start(node);
        let leaders: Vec<_> = (0..NODES).filter(|it| self.nodes[*it].leads).collect();
        let Some(leader) = self.random.pick(&leaders).copied() else { return };
        let (term, log, known) = {
            let state = &self.nodes[leader];
            (state.term, state.log.clone(), state.commit)
        };
        if node == leader {
            self.sync(leader);
            self.commit(leader);
            return;
        }
        if self.nodes[node].term > term {
            return;
        }
        if self.nodes[node].term < term {
            self.set_term(node, term, None);
        }
        let agreed =
            self.nodes[node].log.iter().zip(&log).take_while(|(one, other)| one == other).count();
        let upto = log.len().min(agreed + self.random.below(5));
        if upto > agreed && agreed < self.nodes[node].log.len() {
            let state = &self.nodes[node];
            let (first, last) = (state.log[agreed].0, state.log[state.log.len() - 1].0);
            let words = format!(
                "truncate {first}.{} {last}.{} commit {}",
                agreed + 1,
                state.log.len(),
                state.commit
            );
            self.tell(node, &words);
            self.nodes[node].log.truncate(agreed);
            self.written(node);
        }
        self.append(node, &log[agreed..upto]);
        // A write may stay unsynced; then nothing is acknowledged.
        if self.random.one_in(4) {
            return;
        }
        self.sync(node);
        if let Some(entry) = upto.checked_sub(1).map(|index| log[index]) {
            self.tell(node, &format!("ack append n{} {term} {}.{upto}", leader + 1, entry.0));
        }
        self.nodes[node].matched = upto;
        self.learn(node, known.min(upto), None);
        if self.random.one_in(2) {
            self.commit(leader);
        }
    }

    /// The leader counts those that have an entry of its own term on their disk.
    fn commit(&mut self, leader: usize) {
        let (term, synced) = (self.nodes[leader].term, self.nodes[leader].disk[0].len());
        let has = |node: usize, index: usize| match node == leader {
            true => synced >= index && self.nodes[leader].disk.len() == 1,
            false => {
                let state = &self.nodes[node];
                state.term == term && !state.down && state.matched >= index
            }
        };
        let log = &self.nodes[leader].log;
        for index in (self.nodes[leader].commit + 1..=log.len()).rev() {
            let quorum: Vec<_> = (0..NODES).filter(|node| has(*node, index)).collect();
            if log[index - 1].0 == term && quorum.len() > NODES / 2 {
                self.learn(leader, index, Some(&quorum));
                return;
            }
        }
    }

    fn learn(&mut self, node: usize, commit: usize, quorum: Option<&[usize]>) {
        if commit <= self.nodes[node].commit {
            return;
        }
        self.nodes[node].commit = commit;
        let entry = self.nodes[node].log[commit - 1];
        let by = quorum.map_or(String::new(), |quorum| {
            let nodes: Vec<_> = quorum.iter().map(|node| format!("n{}", node + 1)).collect();
            format!(" by {}", nodes.join(" "))
        });
        self.tell(node, &format!("commit {}.{commit}{by}", entry.0));
        while self.nodes[node].applied < commit {
            let index = self.nodes[node].applied + 1;
            let (term, command) = self.nodes[node].log[index - 1];
            let state: u64 =
                self.nodes[node].log[..index].iter().fold(7, |sum, it| sum * 31 % 9973 + it.1);
            let op = format!("op {}.{command}", command % 3);
            self.tell(node, &format!("apply {term}.{index}:d{command} state s{state} {op}"));
            self.nodes[node].applied = index;
        }
    }

    fn kill(&mut self, node: usize) {
        if self.nodes[node].down {
            return;
        }
        self.lines.push(format!("exit n{} ok", node + 1));
        let kept = self.random.below(self.nodes[node].disk.len());
        let state = &mut self.nodes[node];
        let found = state.disk[kept].clone();
        *state = Node {
            term: state.term,
            vote: state.vote,
            log: found.clone(),
            disk: vec![found],
            down: true,
            ..Node::default()
        };
    }

    fn start(&mut self, node: usize) {
        if !std::mem::take(&mut self.nodes[node].down) {
            return;
        }
        self.lines.push(format!("spawn n{}", node + 1));
        let state = &self.nodes[node];
        let vote = state.vote.map_or(String::new(), |vote| format!("vote n{}", vote + 1));
        let last = state.log.last().map_or(0, |entry| entry.0);
        let words = format!("found term {} last {last}.{} {vote}", state.term, state.log.len());
        self.tell(node, &words);
    }
}

fn judge(lines: &[String]) -> Verdict {
    let mut text = String::new();
    for (t, line) in lines.iter().enumerate() {
        text.push_str(&format!("{t} {line}\n"));
    }
    let mut transcript = Transcript::of("raft", u8::try_from(NODES).unwrap(), &text);
    for check in CHECKS {
        transcript = transcript.asks(check, json!({}));
    }
    transcript.judge().unwrap()
}

fn judgement(verdict: &Verdict, check: &str) -> Judgement {
    verdict.checks.iter().find(|it| it.check == check).unwrap().judgement
}

/// The places of lines whose second word is this.
fn places(lines: &[String], word: &str) -> Vec<usize> {
    let is = |line: &String| line.split(' ').nth(1) == Some(word);
    (0..lines.len()).filter(|place| is(&lines[*place])).collect()
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// One way to make a history wrong, and the check that must notice.
struct Mutation {
    name: &'static str,
    found_by: &'static str,
    apply: fn(&mut Vec<String>, &mut Random) -> Option<()>,
}

const MUTATIONS: [Mutation; 11] = [
    Mutation { name: "swap two digests", found_by: "log-divergence", apply: swap_digests },
    Mutation { name: "drop a truncate", found_by: "log-divergence", apply: drop_truncate },
    Mutation { name: "commit beyond the log", found_by: "commit-overreach", apply: overreach },
    Mutation { name: "change a committed entry", found_by: "lost-commit", apply: change_commit },
    Mutation { name: "remove a committed entry", found_by: "lost-commit", apply: remove_commit },
    Mutation { name: "ack without persist", found_by: "persist-before-ack", apply: drop_persist },
    Mutation { name: "vote without persist", found_by: "persist-before-ack", apply: late_vote },
    Mutation { name: "apply twice", found_by: "duplicate-apply", apply: apply_twice },
    Mutation { name: "apply twice", found_by: "state-divergence", apply: apply_twice },
    Mutation { name: "apply another entry", found_by: "state-divergence", apply: apply_other },
    Mutation {
        name: "lead without an entry",
        found_by: "leader-completeness",
        apply: lead_without,
    },
];

/// Exchanges the digests of two entries of one follower's append.
fn swap_digests(lines: &mut Vec<String>, random: &mut Random) -> Option<()> {
    let is_two =
        |place: &usize| words(&lines[*place]).iter().filter(|it| it.contains(':')).count() > 1;
    // The ids must be known from another node's append, or be so later.
    let twice = |place: &usize| {
        let first = words(&lines[*place])[2];
        places(lines, "append").iter().any(|it| it != place && words(&lines[*it]).contains(&first))
    };
    let all: Vec<_> = places(lines, "append").into_iter().filter(is_two).filter(twice).collect();
    let place = *random.pick(&all)?;
    let mut line: Vec<_> = words(&lines[place]).into_iter().map(str::to_owned).collect();
    let (one, other) = (line[2].clone(), line[3].clone());
    let ((id, digest), (next, after)) = (one.split_once(':')?, other.split_once(':')?);
    line[2] = format!("{id}:{after}");
    line[3] = format!("{next}:{digest}");
    lines[place] = line.join(" ");
    Some(())
}

fn drop_truncate(lines: &mut Vec<String>, random: &mut Random) -> Option<()> {
    let place = *random.pick(&places(lines, "truncate"))?;
    lines.remove(place);
    Some(())
}

/// A node commits one entry more than it has.
fn overreach(lines: &mut Vec<String>, random: &mut Random) -> Option<()> {
    let place = *random.pick(&places(lines, "commit"))?;
    let line = words(&lines[place]);
    let (term, _) = line[2].split_once('.')?;
    let changed = format!("{} commit {term}.1000", line[0]);
    lines[place] = changed;
    Some(())
}

/// A follower has had another entry at an index that is committed, and commits that.
fn change_commit(lines: &mut Vec<String>, random: &mut Random) -> Option<()> {
    let committed = places(lines, "commit");
    let place = *random.pick(&committed)?;
    let line = words(&lines[place]);
    let (node, id) = (line[0].to_owned(), line[2].to_owned());
    let (_, index) = id.split_once('.')?;
    // Another node, which commits the same index afterwards as of a term that never was.
    let other = (1..=NODES).map(|it| format!("n{it}")).find(|it| *it != node)?;
    lines.insert(
        place + 1,
        format!("{other} snapshot install 77.{}", index.parse::<u64>().ok()? - 1),
    );
    lines.insert(place + 2, format!("{other} append 77.{index}:other"));
    lines.insert(place + 3, format!("{other} commit 77.{index}"));
    lines.truncate(place + 4);
    Some(())
}

fn remove_commit(lines: &mut Vec<String>, random: &mut Random) -> Option<()> {
    let place = *random.pick(&places(lines, "commit"))?;
    let line = words(&lines[place]);
    let changed = format!("{} truncate {} {}", line[0], line[2], line[2]);
    lines.insert(place + 1, changed);
    Some(())
}

/// Takes away the sync on which an acknowledgement rests.
fn drop_persist(lines: &mut Vec<String>, random: &mut Random) -> Option<()> {
    // Of those whose entry was appended by the line before: no earlier sync had it.
    let rests = |place: &usize| {
        let (ack, persist, append) =
            (words(&lines[*place]), words(&lines[place - 1]), words(&lines[place - 2]));
        let same = [persist[0], append[0]] == [ack[0]; 2] && ack[2] == "append";
        same && persist[1..3] == ["persist", "log"]
            && append[1] == "append"
            && append.iter().any(|it| it.starts_with(&format!("{}:", ack[5])))
    };
    let all: Vec<_> = places(lines, "ack").into_iter().filter(rests).collect();
    let place = *random.pick(&all)?;
    lines.remove(place - 1);
    Some(())
}

fn late_vote(lines: &mut Vec<String>, random: &mut Random) -> Option<()> {
    let votes: Vec<_> =
        places(lines, "ack").into_iter().filter(|it| words(&lines[*it])[2] == "vote").collect();
    let place = *random.pick(&votes)?;
    lines.swap(place - 1, place);
    Some(())
}

fn apply_twice(lines: &mut Vec<String>, random: &mut Random) -> Option<()> {
    let place = *random.pick(&places(lines, "apply"))?;
    lines.insert(place + 1, lines[place].clone());
    Some(())
}

/// A node applies what another did not, where that has applied before.
fn apply_other(lines: &mut Vec<String>, random: &mut Random) -> Option<()> {
    let all = places(lines, "apply");
    let again = |place: &usize| {
        let id = words(&lines[*place])[2];
        all.iter().any(|it| it < place && words(&lines[*it])[2] == id)
    };
    let again: Vec<_> = all.iter().copied().filter(again).collect();
    let place = *random.pick(&again)?;
    let line = words(&lines[place]);
    let (id, _) = line[2].split_once(':')?;
    let changed = format!("{} apply {id}:other", line[0]);
    lines[place] = changed;
    Some(())
}

/// After everything, a node without any log is elected.
fn lead_without(lines: &mut Vec<String>, random: &mut Random) -> Option<()> {
    places(lines, "commit").first()?;
    let node = random.below(NODES) + 1;
    lines.push(format!("exit n{node} ok"));
    lines.push(format!("spawn n{node}"));
    lines.push(format!("n{node} found fresh"));
    lines.push(format!("n{node} persist hard-state 1000 for n{node}"));
    lines.push(format!("n{node} elected 1000 by n1 n2 n3"));
    Some(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn histories_of_a_correct_cluster_are_valid(seed in any::<u64>(), steps in 0_usize..150) {
        let lines = Cluster::run(seed, steps);
        let verdict = judge(&lines);
        prop_assert_eq!(verdict.judgement, Judgement::Valid, "{:#?}\n{:#?}", lines, verdict.checks);
    }
}

/// The mutation score: of each kind every mutant is found, and there are enough of them.
#[test]
fn every_mutation_is_found_by_its_check() {
    const SEEDS: u64 = 24;
    for mutation in &MUTATIONS {
        let (mut made, mut found) = (0, 0);
        for seed in 0..SEEDS {
            let mut lines = Cluster::run(seed, 150);
            if (mutation.apply)(&mut lines, &mut Random(seed + 1)).is_none() {
                continue;
            }
            made += 1;
            let verdict = judge(&lines);
            let judged = judgement(&verdict, mutation.found_by);
            found += u64::from(judged == Judgement::Invalid);
            let (name, check) = (mutation.name, mutation.found_by);
            assert_eq!(
                judged,
                Judgement::Invalid,
                "`{name}` of seed {seed} is not found by `{check}`:\n{}",
                lines.join("\n")
            );
        }
        println!("{}: {found} of {made} by {}", mutation.name, mutation.found_by);
        assert!(made >= SEEDS / 3, "only {made} mutants of `{}`", mutation.name);
    }
}
