//! The defects of the transport, which every system can be started with.

use crate::switches::switches;

switches! {
    bad_frame_kills_receiver => "bad-frame-kills-receiver",
        "a frame that cannot be read ends the task that reads, and the connection stays",
        "catalogue F-047: ZOOKEEPER-3769, a malformed notification kills the receiver's thread",
        ["no-leader"];
    blocking_dial => "blocking-dial",
        "the loop of the node waits for each dial to be answered or to fail",
        "catalogue F-047: ZOOKEEPER-2930 and 3756, dials of unreachable peers hold up the election",
        ["election-loop"];
    key_mismatch => "key-mismatch",
        "a closed connection is looked up by another address than it was stored by, so it stays in the map",
        "catalogue A.1 (B1): a map of connections keyed by the announced and by the accepted address",
        ["crash"];
    listener_gives_up => "listener-gives-up",
        "after three connections that failed before a greeting the node accepts no more",
        "catalogue F-047: ZOOKEEPER-3320 and 2836, a listener that stops after three errors",
        ["no-leader"];
    no_dial_owner => "no-dial-owner",
        "both ends of each pair dial, and each takes the other's connection for a newer one",
        "catalogue A.1 (B5) and F-047: without an owner, connections replace each other for ever",
        ["connection-storm"];
    poller_stale_fd => "poller-stale-fd",
        "a closed connection stays in the event loop, which fails on it at every turn before any timer",
        "catalogue A.1 (B2): a descriptor of -1 in the set makes every select fail",
        ["no-leader"];
}

impl Defects {
    /// Reads those that are of the transport, out of all that a node was started with.
    pub(crate) fn of(names: &[String]) -> Self {
        let mut defects = Self::default();
        for name in names {
            // The others are the protocol's, which refuses what it does not know.
            let _others = defects.switch(name);
        }
        defects
    }
}
