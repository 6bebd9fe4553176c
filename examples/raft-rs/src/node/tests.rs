//! The loop without sockets: three nodes in virtual time, whose messages arrive at once.

use std::collections::{BTreeMap, VecDeque};

use raft::eraftpb::{Message, MessageType};
use serde_json::{Value, json};
use usurper_history::NodeId;
use usurper_node::protocol::{
    ClientId, Input, Message as _, Output, Protocol, Reply, Request, Setup, Tick,
};

use super::{Node, Packet, Ticking};

fn setup(id: u8, inc: u32, defects: &[&str], params: &[(&str, &str)]) -> Setup {
    Setup {
        id: NodeId(id),
        members: [1, 2, 3].map(NodeId).to_vec(),
        seed: 7,
        inc,
        defects: defects.iter().map(|it| (*it).to_owned()).collect(),
        params: params.iter().map(|(key, it)| ((*key).to_owned(), (*it).to_owned())).collect(),
    }
}

struct Cluster {
    nodes: BTreeMap<NodeId, Node>,
    records: BTreeMap<NodeId, Vec<Vec<u8>>>,
    down: Option<NodeId>,
    messages: VecDeque<(NodeId, NodeId, Packet)>,
    replies: Vec<Reply>,
    now: Tick,
    params: Vec<(&'static str, &'static str)>,
}

impl Cluster {
    fn new(params: &[(&'static str, &'static str)]) -> Self {
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            records: BTreeMap::new(),
            down: None,
            messages: VecDeque::new(),
            replies: Vec::new(),
            now: Tick(0),
            params: params.to_vec(),
        };
        for id in 1..=3 {
            cluster.start(id, 1);
        }
        cluster
    }

    fn start(&mut self, id: u8, inc: u32) {
        let records = self.records.entry(NodeId(id)).or_default();
        let node = Node::recover(&setup(id, inc, &[], &self.params), records).unwrap();
        self.nodes.insert(NodeId(id), node);
        self.step(NodeId(id), Input::Start);
    }

    fn step(&mut self, id: NodeId, input: Input<Packet, Ticking>) {
        let outputs = self.nodes.get_mut(&id).unwrap().step(self.now, input);
        let records = self.records.get_mut(&id).unwrap();
        for output in outputs {
            match output {
                Output::Write(record) => records.push(record),
                Output::Rewrite { records: all, .. } => *records = all,
                Output::Send { to, message } => self.messages.push_back((id, to, message)),
                Output::Reply { reply, .. } => self.replies.push(reply),
                _ => {}
            }
        }
    }

    fn deliver(&mut self) {
        while let Some((from, to, message)) = self.messages.pop_front() {
            if self.down != Some(from) && self.down != Some(to) {
                // As it travels.
                let message = Packet::from_frame(&message.to_frame()).unwrap();
                self.step(to, Input::Message { from, message });
            }
        }
    }

    fn tick(&mut self, times: u32) {
        for _ in 0..times {
            self.now = self.now + super::TICK;
            for id in [1, 2, 3].map(NodeId) {
                if self.down != Some(id) {
                    self.step(id, Input::Timer(Ticking));
                }
            }
            self.deliver();
        }
    }

    fn ask(&mut self, id: NodeId, f: &str, value: Option<Value>) -> Reply {
        let (f, key) = (f.to_owned(), Some("x".to_owned()));
        let request = Request { serial: 1, f, key, value, session: None };
        self.step(id, Input::Request { client: ClientId(1), request });
        self.deliver();
        self.tick(10);
        self.replies.pop().expect("an answer")
    }

    fn leader(&self) -> NodeId {
        let leaders = self.nodes.values().filter(|it| it.envelope().1 == super::Role::Leader);
        let [leader] = leaders.map(|it| it.id).collect::<Vec<_>>()[..] else {
            panic!("not one leader")
        };
        leader
    }

    fn follower(&self) -> NodeId {
        let leader = self.leader();
        [1, 2, 3].map(NodeId).into_iter().find(|it| *it != leader).unwrap()
    }
}

/// Whether the answer to a request for a vote leaves before the vote is synced.
fn leaves_early(defects: &[&str]) -> bool {
    let mut node = Node::recover(&setup(1, 1, defects, &[]), &[]).unwrap();
    node.step(Tick(0), Input::Start);
    let mut request = Message { from: 2, to: 1, term: 5, ..Message::default() };
    request.set_msg_type(MessageType::MsgRequestVote);
    let input = Input::Message { from: NodeId(2), message: Packet(request) };
    let outputs = node.step(Tick(1), input);
    let place = |what: fn(&Output<Packet, Ticking>) -> bool| outputs.iter().position(what);
    let sent = place(|it| matches!(it, Output::Send { .. })).expect("an answer");
    sent < place(|it| matches!(it, Output::Sync(_))).expect("a sync")
}

#[test]
fn a_vote_leaves_after_it_is_synced_and_with_the_defect_before() {
    assert!(!leaves_early(&[]));
    assert!(leaves_early(&["send-before-persist"]));
}

#[test]
fn a_write_at_the_leader_is_read_at_a_follower() {
    let mut cluster = Cluster::new(&[]);
    cluster.tick(200);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let refused = cluster.ask(follower, "write", Some(json!(3)));
    assert_eq!((refused.ok, refused.leader), (false, Some(leader)));
    assert!(cluster.ask(leader, "write", Some(json!(3))).ok);
    assert_eq!(cluster.ask(follower, "read", None).value, Some(json!(3)));
    assert_eq!(cluster.ask(leader, "read", None).value, Some(json!(3)));
}

#[test]
fn a_read_without_an_answer_is_refused_in_time() {
    let mut cluster = Cluster::new(&[]);
    cluster.tick(200);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    cluster.down = Some(leader);
    let (f, key) = ("read".to_owned(), Some("x".to_owned()));
    let request = Request { serial: 1, f, key, value: None, session: None };
    cluster.step(follower, Input::Request { client: ClientId(1), request });
    cluster.tick(60);
    let reply = cluster.replies.pop().expect("an answer");
    assert!(!reply.ok && !reply.unknown, "{reply:?}");
}

#[test]
fn what_was_acknowledged_is_there_after_all_have_restarted() {
    let mut cluster = Cluster::new(&[]);
    cluster.tick(200);
    let leader = cluster.leader();
    assert!(cluster.ask(leader, "write", Some(json!(4))).ok);
    for id in 1..=3 {
        cluster.start(id, 2);
    }
    cluster.tick(200);
    let leader = cluster.leader();
    assert_eq!(cluster.ask(leader, "read", None).value, Some(json!(4)));
}

#[test]
fn who_lacks_what_the_log_has_no_more_gets_a_snapshot() {
    let mut cluster = Cluster::new(&[("snapshot-after", "10")]);
    cluster.tick(200);
    let leader = cluster.leader();
    let behind = cluster.follower();
    cluster.down = Some(behind);
    for number in 0..40 {
        assert!(cluster.ask(leader, "write", Some(json!(number))).ok);
    }
    cluster.down = None;
    cluster.tick(200);
    let node = &cluster.nodes[&behind];
    assert!(node.raw.store().base.index > 20, "no snapshot came");
    assert_eq!(node.machine.get("x"), json!(39));
    // And it starts from it again.
    cluster.start(behind.0, 2);
    assert!(cluster.nodes[&behind].applied > 20);
}
