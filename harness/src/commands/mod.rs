//! One file per subcommand.

mod check;
mod doctor;
mod list;
mod plan;
mod prove;
mod report;
mod run;

pub(crate) use check::check;
pub(crate) use doctor::doctor;
pub(crate) use list::list;
pub(crate) use plan::plan;
pub(crate) use prove::prove;
pub(crate) use report::report;
pub(crate) use run::run;
