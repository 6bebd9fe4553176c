//! Whether a plan can be run here: the system's program is there, and the machine allows its faults.

use std::{collections::BTreeSet, path::PathBuf};

use crate::{
    abilities::{Abilities, Ability},
    failure::Failure,
    plan::Plan,
    system::{self, System},
};

/// Makes plans ready, before anything starts.
#[derive(Debug)]
pub(crate) struct Ready {
    abilities: Abilities,
    /// The programs that were found, so that each is asked for once: a suite has many cells.
    installed: BTreeSet<(String, Option<PathBuf>)>,
}

impl Ready {
    /// Finds out what this machine allows; what is named in `without` counts as lacking.
    pub(crate) fn probe(without: &[Ability]) -> Self {
        Self { abilities: Abilities::probe(without), installed: BTreeSet::new() }
    }

    /// Refuses a plan that cannot be carried through here, and tells a plan what it may leave out
    /// (see [`Abilities::fit`]).
    ///
    /// # Errors
    /// When the plan needs what is lacking, or its system is not installed.
    pub(crate) fn make(
        &mut self,
        plan: &mut Plan,
        allow_skip: bool,
    ) -> Result<&'static dyn System, Failure> {
        let system = self.fit(plan, allow_skip)?;
        let program = (plan.system.clone(), plan.bin.clone());
        if !self.installed.contains(&program) {
            system.check_installed(plan)?;
            self.installed.insert(program);
        }
        Ok(system)
    }

    /// The same of a system that is known to be installed: each seed of a random plan has other faults.
    ///
    /// # Errors
    /// When the plan needs what is lacking.
    pub(crate) fn fit(
        &self,
        plan: &mut Plan,
        allow_skip: bool,
    ) -> Result<&'static dyn System, Failure> {
        let system = system::find(&plan.system)?;
        self.abilities.fit(plan, system, allow_skip)?;
        Ok(system)
    }
}
