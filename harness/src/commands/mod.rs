//! One file per subcommand.

mod check;
mod doctor;
mod export;
mod history;
mod list;
mod plan;
mod prove;
mod replay;
mod report;
mod reproduce;
mod run;
mod show;
mod shrink;
mod store;
mod suite;
mod validate;

pub(crate) use check::check;
pub(crate) use doctor::doctor;
pub(crate) use export::export;
pub(crate) use history::history;
pub(crate) use list::list;
pub(crate) use plan::plan;
pub(crate) use prove::prove;
pub(crate) use replay::replay;
pub(crate) use report::report;
pub(crate) use reproduce::reproduce;
pub(crate) use run::run;
pub(crate) use show::show;
pub(crate) use shrink::shrink;
pub(crate) use store::{merge, store};
pub(crate) use suite::suite;
pub(crate) use validate::validate;
