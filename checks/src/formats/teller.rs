//! The envelope of a server's events.

use usurper_history::{Body, Event, NodeId, NodeRecord, Record, Role};

/// Numbers the events of one incarnation.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) node: NodeId,
    inc: u32,
    seq: u64,
    proto: &'static str,
    pub(super) term: u64,
    pub(super) role: Role,
}

impl Teller {
    pub(super) fn new(node: NodeId, inc: u32, proto: &'static str, role: Role) -> Self {
        Self { node, inc, seq: 0, proto, term: 0, role }
    }

    pub(super) fn event(&mut self, t: u64, event: Event) -> Record {
        self.seq += 1;
        Record::new(
            t,
            Body::Node(NodeRecord {
                node: self.node,
                inc: self.inc,
                seq: self.seq,
                proto: self.proto.to_owned(),
                term: self.term,
                role: self.role,
                event,
            }),
        )
    }
}
