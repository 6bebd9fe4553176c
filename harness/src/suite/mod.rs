//! Suites: many runs side by side, kept and counted.

mod figures;
mod file;
mod junit;
mod lateness;
mod pace;
mod place;
mod progress;
mod queue;
mod report;
mod shard;
mod work;

pub(crate) use figures::{CellFigures, FIGURES, figures_table};
pub(crate) use file::{Cell, SuiteFile};
pub(crate) use junit::junit;
pub(crate) use lateness::Lateness;
pub(crate) use pace::{Pace, jobs_for};
pub(crate) use place::{Lock, SuiteDir, SuiteState, suites_of};
pub(crate) use progress::Progress;
pub(crate) use queue::Queue;
pub(crate) use report::{SuiteReport, seconds, write_finding};
pub(crate) use shard::Shard;
pub(crate) use work::{Keep, Runner, SuiteWork, WorkEnd};
