//! What `fle` can be started with.

use std::{collections::BTreeSet, time::Duration};

use usurper_history::{NodeId, Timing, control::ClockName};

use super::defects::Defects;
use crate::{
    params::{OptionError, ParamInfo, Params},
    protocol::Setup,
};

pub(crate) const PARAMS: &[ParamInfo] = &[
    ParamInfo {
        name: "heartbeat",
        default: "100ms",
        summary: "interval between two heartbeats of a leader, and between two reports of its silence",
    },
    ParamInfo {
        name: "down-after",
        default: "500ms",
        summary: "silence after which a node finds its leader down",
    },
    ParamInfo {
        name: "finalize-wait",
        default: "200ms",
        summary: "how long a majority of votes waits for a better vote before it counts; a leader that \
                  nobody has answered for so long beyond `down-after` gives up",
    },
    ParamInfo {
        name: "init-limit",
        default: "1s",
        summary: "how long a won election may take to be accepted by a quorum, and to be followed",
    },
    ParamInfo {
        name: "notify-min",
        default: "200ms",
        summary: "after how long an unanswered vote is sent again at first",
    },
    ParamInfo {
        name: "notify-max",
        default: "2s",
        summary: "after how long an unanswered vote is sent again at most",
    },
    ParamInfo {
        name: "prevote",
        default: "on",
        summary: "`on`: whoever misses its leader asks the others first; `off`: it looks for another at once",
    },
    ParamInfo {
        name: "leader",
        default: "lowest",
        summary: "the leader that `config-leader-on-boot` believes in: a node, or the lowest id",
    },
    ParamInfo {
        name: "members",
        default: "all",
        summary: "whose votes count: `all` nodes, or a list such as `n1,n2,n3`",
    },
    ParamInfo {
        name: "initial-zxid",
        default: "0",
        summary: "counter of the logged zxid that a node with an empty data directory starts from",
    },
    ParamInfo {
        name: "timers",
        default: "monotonic",
        summary: "the clock that timers run on: `monotonic`, or `wall`, which somebody may set",
    },
];

#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// H.
    pub(crate) heartbeat: Duration,
    /// D.
    pub(crate) down_after: Duration,
    /// W.
    pub(crate) finalize_wait: Duration,
    /// I.
    pub(crate) init_limit: Duration,
    pub(crate) notify_min: Duration,
    pub(crate) notify_max: Duration,
    pub(crate) prevote: bool,
    pub(crate) config_leader: NodeId,
    /// What timers run on.
    pub(crate) timers: ClockName,
    pub(crate) initial_counter: u64,
    /// The members of the configuration, in order.
    pub(crate) members: Vec<NodeId>,
    pub(crate) defects: Defects,
    /// As they were given, those of the transport included.
    pub(crate) defect_names: Vec<String>,
    pub(crate) params: Params,
}

impl Options {
    /// For how long a leader goes on without an answer.
    pub(crate) fn answer_within(&self) -> Duration {
        self.down_after + self.finalize_wait
    }

    pub(crate) fn new(setup: &Setup) -> Result<Self, OptionError> {
        let params = Params::new(PARAMS, &setup.params)?;
        let heartbeat = params.duration("heartbeat")?;
        let down_after = params.duration("down-after")?;
        if down_after < 2 * heartbeat {
            return Err(OptionError::Value {
                name: "down-after",
                value: params.get("down-after").to_owned(),
                expected: "at least two heartbeats".to_owned(),
            });
        }
        let members = params.read("members", "`all` or a list of nodes", |text| {
            if text == "all" {
                return Some(setup.members.clone());
            }
            let listed: Option<BTreeSet<NodeId>> =
                text.split(',').map(|id| id.trim().parse().ok()).collect();
            let listed = listed.filter(|ids| ids.iter().all(|id| setup.members.contains(id)));
            listed.map(|ids| ids.into_iter().collect())
        })?;
        let lowest = *setup.members.first().expect("a cluster has a member");
        let config_leader = params.read("leader", "`lowest` or a configured node", |text| {
            if text == "lowest" {
                return Some(lowest);
            }
            text.parse().ok().filter(|id| setup.members.contains(id))
        })?;
        // Far from the end of the range, so that a client can advance for years.
        let initial_counter = params.read("initial-zxid", "a number below 2^63", |text| {
            text.parse().ok().filter(|counter| *counter < 1 << 63)
        })?;
        let timers = params.read("timers", "`monotonic` or `wall`", |text| match text {
            "monotonic" => Some(ClockName::Timer),
            "wall" => Some(ClockName::Wall),
            _ => None,
        })?;
        let prevote = params.read("prevote", "`on` or `off`", |text| match text {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        })?;
        let notify_min = params.duration("notify-min")?;
        Ok(Self {
            heartbeat,
            down_after,
            finalize_wait: params.duration("finalize-wait")?,
            init_limit: params.duration("init-limit")?,
            notify_min,
            notify_max: params.duration("notify-max")?.max(notify_min),
            prevote,
            config_leader,
            timers,
            initial_counter,
            members,
            defects: Defects::new(&setup.defects)?,
            defect_names: setup.defects.clone(),
            params,
        })
    }
}

/// The timing that follows from the parameters.
///
/// The leader bound is `down-after` and `finalize-wait` for the silence to be noticed, by whoever
/// notices it last, and then three elections that
/// each wait as long as they can: a full back-off until the votes meet, a finalize wait, and a
/// discovery that fails. Three, because a node can win on votes that have moved on (once), and its
/// successor can meet a node that has promised a higher epoch (once more).
pub(crate) fn timing(given: &[(String, String)]) -> Result<Timing, OptionError> {
    let params = Params::new(PARAMS, given)?;
    let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let down_after = params.duration("down-after")?;
    let finalize_wait = params.duration("finalize-wait")?;
    let attempt = params.duration("notify-max")?.max(params.duration("notify-min")?)
        + finalize_wait
        + params.duration("init-limit")?;
    Ok(Timing {
        heartbeat_ns: ns(params.duration("heartbeat")?),
        election_timeout_ns: ns(down_after),
        leader_bound_ns: ns(down_after + finalize_wait + 3 * attempt),
    })
}

#[cfg(test)]
mod tests {
    use usurper_history::NodeId;

    use super::{Options, timing};
    use crate::{
        fle::defects::{DEFECTS, Defects},
        protocol::Setup,
    };

    fn options(defects: &[&str], params: &[(&str, &str)]) -> Result<Options, String> {
        let params =
            params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let defects = defects.iter().map(|name| (*name).to_owned()).collect();
        let members = vec![NodeId(2), NodeId(5)];
        let setup = Setup { id: NodeId(5), members, seed: 0, inc: 1, defects, params };
        Options::new(&setup).map_err(|error| error.to_string())
    }

    #[test]
    fn every_listed_defect_can_be_switched_on() {
        for defect in DEFECTS {
            let defects = options(&[defect.name], &[]).unwrap().defects;
            assert_ne!(defects, Defects::default(), "`{}` does nothing", defect.name);
        }
    }

    #[test]
    fn an_unknown_defect_is_refused_with_its_nearest_name() {
        assert_eq!(
            options(&["hb-from-everyone"], &[]).unwrap_err(),
            "unknown defect `hb-from-everyone`, did you mean `hb-from-anyone`?"
        );
    }

    #[test]
    fn the_configured_leader_is_a_member() {
        assert_eq!(options(&[], &[]).unwrap().config_leader, NodeId(2));
        assert_eq!(options(&[], &[("leader", "n5")]).unwrap().config_leader, NodeId(5));
        assert!(options(&[], &[("leader", "n1")]).is_err());
    }

    #[test]
    fn the_prevote_is_on_or_off() {
        assert!(options(&[], &[]).unwrap().prevote);
        assert!(!options(&[], &[("prevote", "off")]).unwrap().prevote);
        assert!(options(&[], &[("prevote", "maybe")]).is_err());
    }

    #[test]
    fn one_late_heartbeat_is_not_silence() {
        assert!(options(&[], &[("down-after", "150ms")]).is_err());
        assert!(options(&[], &[("down-after", "150ms"), ("heartbeat", "50ms")]).is_ok());
    }

    #[test]
    fn the_leader_bound_follows_the_parameters() {
        assert_eq!(timing(&[]).unwrap().leader_bound_ns, 10_300_000_000);
        let given = [("init-limit".to_owned(), "2s".to_owned())];
        assert_eq!(timing(&given).unwrap().leader_bound_ns, 13_300_000_000);
    }
}
