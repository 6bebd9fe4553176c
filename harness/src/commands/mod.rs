//! One file per subcommand.

mod check;
mod doctor;
mod export;
mod list;
mod plan;
mod prove;
mod replay;
mod report;
mod run;
mod shrink;

pub(crate) use check::check;
pub(crate) use doctor::doctor;
pub(crate) use export::export;
pub(crate) use list::list;
pub(crate) use plan::plan;
pub(crate) use prove::prove;
pub(crate) use replay::replay;
pub(crate) use report::report;
pub(crate) use run::run;
pub(crate) use shrink::shrink;
