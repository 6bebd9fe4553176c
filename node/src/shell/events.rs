//! The event stream: what the harness reads.

use std::io::{self, Write};

use usurper_history::{Body, Clock, NodeId, NodeRecord, Record};

use crate::protocol::Stamped;

/// Writes events as lines. What was pushed is written by one `write` at the next flush.
pub(super) struct EventSink {
    node: NodeId,
    inc: u32,
    proto: &'static str,
    clock: Clock,
    seq: u64,
    lines: Vec<u8>,
    out: Box<dyn Write>,
}

impl EventSink {
    pub(super) fn new(
        node: NodeId,
        inc: u32,
        proto: &'static str,
        clock: Clock,
        out: Box<dyn Write>,
    ) -> Self {
        Self { node, inc, proto, clock, seq: 0, lines: Vec::new(), out }
    }

    pub(super) fn push(&mut self, stamped: Stamped) {
        self.seq += 1;
        let body = Body::Node(NodeRecord {
            node: self.node,
            inc: self.inc,
            seq: self.seq,
            proto: self.proto.to_owned(),
            term: stamped.term,
            role: stamped.role,
            event: stamped.event,
        });
        // Stamped here and not when the step began: a sync may lie in between.
        let record = Record::new(self.clock.now_ns(), body);
        serde_json::to_writer(&mut self.lines, &record)
            .expect("records hold nothing that JSON cannot, and memory takes every byte");
        self.lines.push(b'\n');
    }

    /// # Errors
    /// When nobody reads any more. The node has no reason to go on then.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.lines.is_empty() {
            self.out.write_all(&self.lines)?;
            self.out.flush()?;
            self.lines.clear();
        }
        Ok(())
    }
}
