//! What this machine allows, found out by trying it.
//!
//! Nothing here is a privilege. Still a loopback interface may be down (a fresh network namespace), a
//! `/proc` may hide what others do, and a sandbox may refuse abstract sockets. A run that needs what is
//! not there is refused before anything starts: a cluster that cannot talk would look like one that
//! cannot elect.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use usurper_history::NodeId;
use usurper_nemesis::{Block, Fault, Wire, can_tell_who_knocks};

use crate::{failure::Failure, plan::Plan, system::System};

/// How long a connection on the same host may take.
const PROBE_MAX: Duration = Duration::from_secs(5);

/// Something that a machine allows, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Ability {
    /// TCP connections between loopback addresses of one's own choice.
    Loopback,
    /// The kernel says whose socket a connection comes from.
    Owners,
    /// Abstract Unix sockets, by which a node is told about its disk, clock and failpoints.
    Control,
}

impl Ability {
    pub(crate) const ALL: &'static [Self] = &[Self::Loopback, Self::Owners, Self::Control];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Owners => "owners",
            Self::Control => "control",
        }
    }

    /// What it is good for.
    pub(crate) fn summary(self) -> &'static str {
        match self {
            Self::Loopback => "connections between addresses of 127.16-215.*; every run needs them",
            Self::Owners => {
                "/proc tells whose socket a connection is; systems that do not say hello need it"
            }
            Self::Control => {
                "abstract sockets; the faults of disks, clocks and failpoints need them"
            }
        }
    }

    fn try_it(self) -> Result<(), String> {
        match self {
            Self::Loopback => try_loopback().map_err(|error| format!("{error:#}")),
            Self::Owners => can_tell_who_knocks(),
            Self::Control => try_control().map_err(|error| format!("{error:#}")),
        }
    }

    /// Whether this fault of this system needs it.
    fn is_for(self, fault: Fault) -> bool {
        self == Self::Control && fault.aspect().is_some()
    }
}

/// What a machine lacks, each with what was seen of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Abilities {
    lacking: BTreeMap<Ability, String>,
}

impl Abilities {
    /// Tries everything; what is named in `without` counts as lacking.
    pub(crate) fn probe(without: &[Ability]) -> Self {
        let lacking = Ability::ALL.iter().filter_map(|ability| {
            let seen = match without.contains(ability) {
                true => Err("left out by `--without`".to_owned()),
                false => ability.try_it(),
            };
            seen.err().map(|why| (*ability, why))
        });
        Self { lacking: lacking.collect() }
    }

    /// Why something cannot be done.
    pub(crate) fn lacks(&self, ability: Ability) -> Option<&str> {
        self.lacking.get(&ability).map(String::as_str)
    }

    /// The faults that cannot be done here, each with why.
    pub(crate) fn cannot(&self, system: &dyn System) -> BTreeMap<Fault, String> {
        let faults = Fault::ALL.iter().filter(|fault| system.supports(**fault));
        let cannot = faults.filter_map(|fault| {
            let (ability, why) = self.lacking.iter().find(|(ability, _)| ability.is_for(*fault))?;
            Some((*fault, format!("this machine has no `{}`: {why}", ability.name())))
        });
        cannot.collect()
    }

    /// Refuses a plan that this machine cannot carry through; with `allow_skip`, leaves out what it
    /// cannot do, and says so in the plan. A scenario without one of its steps will be unknown.
    ///
    /// # Errors
    /// When the plan needs what is lacking.
    pub(crate) fn fit(
        &self,
        plan: &mut Plan,
        system: &dyn System,
        allow_skip: bool,
    ) -> Result<(), Failure> {
        let whole = |ability: Ability| {
            self.lacks(ability).map(|why| {
                let name = ability.name();
                Failure::harness(anyhow!("this machine has no `{name}`: {why}"))
                    .with_hint(format!("{}; see `usurper doctor`", ability.summary()))
            })
        };
        let owners = (system.wire() == Wire::Bytes).then_some(Ability::Owners);
        if let Some(failure) =
            [Some(Ability::Loopback), owners].into_iter().flatten().find_map(whole)
        {
            return Err(failure);
        }
        plan.skip = self.cannot(system);
        let refused =
            plan.steps.iter().find_map(|step| Some((step.fault, plan.skip.get(&step.fault)?)));
        match refused {
            Some((fault, why)) if !allow_skip => {
                let error = anyhow!("`{fault}` cannot be done here: {why}");
                let hint = "`--allow-skip` runs without it, and `usurper doctor` says more";
                Err(Failure::harness(error).with_hint(hint))
            }
            _ => {
                // Random faults are as good without one of them; a scenario is not.
                let random = plan.scenario.is_none();
                for step in plan.steps.iter_mut().filter(|step| plan.skip.contains_key(&step.fault))
                {
                    step.optional |= random;
                }
                Ok(())
            }
        }
    }
}

fn try_loopback() -> anyhow::Result<()> {
    let block = Block::reserve(u64::from(std::process::id()))?;
    let listener = TcpListener::bind(block.address(NodeId(1), 0)).context("cannot listen")?;
    let address = listener.local_addr()?;
    let mut near = TcpStream::connect_timeout(&address, PROBE_MAX)
        .with_context(|| format!("cannot connect to {address}"))?;
    let (mut far, _) = listener.accept()?;
    echo(&mut near, &mut far)
}

fn try_control() -> anyhow::Result<()> {
    let name = format!("usurper/{}/probe", std::process::id());
    let address = SocketAddr::from_abstract_name(name)?;
    let listener = UnixListener::bind_addr(&address).context("cannot listen")?;
    let mut near = UnixStream::connect_addr(&address).context("cannot connect")?;
    let (mut far, _) = listener.accept()?;
    echo(&mut near, &mut far)
}

/// One byte from one end to the other.
fn echo(near: &mut impl Write, far: &mut impl Read) -> anyhow::Result<()> {
    near.write_all(b"?").context("cannot write")?;
    let mut byte = [0];
    far.read_exact(&mut byte).context("cannot read")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Abilities, Ability};
    use crate::{
        plan::{Plan, Wishes},
        system,
    };

    fn plan(system: &str, faults: &str) -> Plan {
        let wishes = Wishes {
            system: Some(system.to_owned()),
            faults: Some(vec![faults.to_owned()]),
            ..Wishes::default()
        };
        Plan::resolve(None, &wishes, 1).unwrap()
    }

    fn fit(
        without: &[Ability],
        system: &str,
        faults: &str,
        allow_skip: bool,
    ) -> Result<Plan, String> {
        let mut plan = plan(system, faults);
        let system = system::find(system).unwrap();
        let lacking = without.iter().map(|ability| (*ability, "it is not there".to_owned()));
        let abilities = Abilities { lacking: lacking.collect() };
        let fitted = abilities.fit(&mut plan, system, allow_skip);
        fitted.map(|()| plan).map_err(|failure| format!("{:#}", failure.error))
    }

    #[test]
    fn where_nothing_is_lacking_nothing_is_refused_or_left_out() {
        for (system, faults) in [("fle", "disk-slow"), ("etcd", "partition")] {
            assert_eq!(fit(&[], system, faults, false).unwrap().skip, BTreeMap::new());
        }
    }

    #[test]
    fn what_a_run_needs_is_refused_by_name_and_what_it_does_not_need_is_not() {
        use Ability::{Control, Loopback, Owners};
        let refused = fit(&[Control], "fle", "disk-slow", false).unwrap_err();
        assert_eq!(
            refused,
            "`disk-slow` cannot be done here: this machine has no `control`: it is not there"
        );
        assert!(fit(&[Control], "fle", "kill", false).is_ok());
        assert!(fit(&[Owners], "fle", "partition", false).is_ok());
        for allow_skip in [false, true] {
            let refused = fit(&[Owners], "etcd", "kill", allow_skip).unwrap_err();
            assert!(refused.contains("no `owners`"), "{refused}");
            assert!(fit(&[Loopback], "fle", "kill", allow_skip).is_err());
        }
    }

    #[test]
    fn what_may_be_skipped_is_left_out_with_the_reason() {
        let skip = fit(&[Ability::Control], "fle", "disk-slow", true).unwrap().skip;
        assert!(skip.keys().all(|fault| fault.aspect().is_some()) && skip.len() == 9, "{skip:?}");
    }
}
