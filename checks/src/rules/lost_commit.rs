//! `lost-commit` (S6): what is committed stays, and stays what it is.
//!
//! Rule:
//!
//! 1. an index that any node has committed never holds another entry where a node commits it, on
//!    any node and in any incarnation: `commit` covers all of the node's log up to its `up-to`, and an
//!    installed snapshot ends with what is committed;
//! 2. the commit index of a node never goes back within an incarnation. It may after a restart:
//!    few protocols keep it on disk;
//! 3. a `truncate` removes nothing that the node itself knew to be committed (by its commits or by
//!    the event's own `commit`), nothing below its snapshot, and no entry that anybody had committed
//!    before, in a term not above the node's own.
//!
//! Why the term: a node that has not heard of term 3 may follow a late `append` of the leader of
//! term 2, and remove what the leader of term 3 has committed with a majority of others.
//!
//! An uncommitted tail may be removed, even when it had reached a majority, and may be committed
//! later; a write whose outcome was unknown may therefore appear.
//!
//! What it cannot see: a committed entry that is lost by a restart (that is `persist-before-ack`, if
//! it was acknowledged, and `leader-completeness`, if its absence came to rule), and an acknowledged
//! write that no `commit` tells of.

use usurper_history::{Body, Event, Header, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    logs::Step,
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "lost-commit",
    summary: "a committed entry is never replaced nor removed, and no commit index goes back",
    source: "S6; F-012, F-014",
    needs: &["node-start", "append", "truncate", "commit"],
    options: &[],
    choices: &[],
    make,
};

#[derive(Debug, Default)]
struct LostCommit {
    findings: Findings,
    commits: u64,
}

fn make(_header: &Header, _options: &Options) -> Box<dyn Check> {
    Box::new(LostCommit::default())
}

impl Check for LostCommit {
    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let Body::Node(event) = &record.body else { return };
        let (now, node) = (Mark { t: record.t, line }, event.node);
        match (timeline.logs.step(), &event.event) {
            (Step::Committed { before, changed }, did) => {
                if let Event::Commit { up_to, .. } = did {
                    self.commits += 1;
                    if up_to.index < *before {
                        let sentence =
                            format!("{node} had committed up to index {before} and now {up_to}");
                        self.found(sentence, now, node, None);
                    }
                }
                if let Some(first) = changed.first() {
                    let was = &first.was;
                    let verb = match did {
                        Event::Commit { .. } => "committed",
                        _ => "installed a snapshot up to",
                    };
                    let other = if was.term == first.id.term {
                        "with another digest".to_owned()
                    } else {
                        format!("as an entry of term {}", was.term)
                    };
                    let sentence = format!(
                        "{node} {verb} {}, an index that {} had committed {other}{}",
                        first.id,
                        was.node,
                        more(changed.len() - 1)
                    );
                    self.found(sentence, now, node, Some((was.node, was.mark)));
                }
            }
            (Step::Truncated { removed, commit, settled }, Event::Truncate { first, .. }) => {
                let committed = timeline.logs.committed();
                let was_committed = |id: &usurper_history::EntryId, digest| {
                    committed
                        .get(&id.index)
                        .filter(|it| it.is(id.term, Some(digest)) && it.in_term <= event.term)
                };
                if first.index <= *commit {
                    let sentence = format!(
                        "{node} removed its log from {first} on, and had committed it up to \
                         index {commit}"
                    );
                    self.found(sentence, now, node, None);
                } else if let Some((id, was)) =
                    removed.iter().find_map(|(id, digest)| Some((id, was_committed(id, digest)?)))
                {
                    let sentence = format!(
                        "{node} removed {id} from its log, which {} had committed",
                        was.node
                    );
                    self.found(sentence, now, node, Some((was.node, was.mark)));
                } else if *settled {
                    let sentence = format!(
                        "{node} removed its log from {first} on, which a snapshot covers or all \
                         had committed"
                    );
                    self.found(sentence, now, node, None);
                }
            }
            _ => {}
        }
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(self: Box<Self>, _now: u64, timeline: &Timeline) -> Outcome {
        let unknown = timeline.logs.open().or_else(|| {
            (self.commits == 0)
                .then(|| "nothing was committed, so nothing could be lost".to_owned())
        });
        Outcome { findings: self.findings, unknown, ..Outcome::default() }
    }
}

impl LostCommit {
    fn found(
        &mut self,
        sentence: String,
        now: Mark,
        node: usurper_history::NodeId,
        other: Option<(usurper_history::NodeId, Mark)>,
    ) {
        let (other, since) = other.unwrap_or((node, now));
        self.findings.push(Finding {
            sentence,
            nodes: nodes([node, other]),
            from_ns: since.t,
            to_ns: now.t,
            lines: lines([since.line, now.line]),
        });
    }
}

fn more(count: usize) -> String {
    if count == 0 {
        String::new()
    } else {
        format!(
            ", and {} after it likewise",
            if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
        )
    }
}
