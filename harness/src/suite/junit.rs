//! A suite as JUnit XML, which every CI service reads: one test case per run.
//!
//! JUnit knows no verdict that is neither passed nor failed; an unknown run is an error there, as a
//! failure of the harness is, each with its own type.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::Context;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::{
    failure::Failure,
    result::{Outcome, RunResult},
};

/// The XML of a suite's runs.
pub(crate) fn junit(suite: &str, runs: &[(PathBuf, RunResult)]) -> Result<String, Failure> {
    let mut cells: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for (path, result) in runs {
        let mut status = match result.outcome {
            Outcome::Valid => TestCaseStatus::success(),
            Outcome::Invalid => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Outcome::Unknown | Outcome::Harness => {
                TestCaseStatus::non_success(NonSuccessKind::Error)
            }
        };
        if result.outcome != Outcome::Valid {
            let message = result.signature.as_deref().or(result.why.as_deref()).unwrap_or("");
            let why = result.why.as_deref().unwrap_or_default();
            status.set_type(result.outcome.name());
            status.set_message(message);
            status.set_description(format!("{why}\nusurper replay {}", path.display()));
        }
        let mut case = TestCase::new(format!("seed {}", result.seed), status);
        case.set_classname(&result.cell);
        case.set_time(Duration::from_millis(result.took_ms));
        let cell = cells.entry(&result.cell).or_insert_with(|| TestSuite::new(&result.cell));
        cell.add_test_case(case);
    }
    let mut report = Report::new(suite);
    report.add_test_suites(cells.into_values());
    report.to_string().context("cannot write JUnit XML").map_err(Failure::harness)
}
