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
    let xml = report.to_string().context("cannot write JUnit XML").map_err(Failure::harness)?;
    // Jenkins' schema has this attribute for a suite, but not for all of them; nothing is ever
    // skipped. In names, quotes are escaped, so the first place is that of the root.
    Ok(xml.replacen(" skipped=\"0\"", "", 1))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use quick_junit::{NonSuccessKind, Report, TestCaseStatus};
    use serde_json::json;

    use super::junit;
    use crate::result::RunResult;

    fn run(cell: &str, outcome: &str, why: Option<&str>) -> (PathBuf, RunResult) {
        let text = json!({
            "usurper-run": 1, "cell": cell, "system": "fle", "nodes": 3, "seed": 7, "steps": 1,
            "started": "2026-01-01T00:00:00Z", "took-ms": 1500, "outcome": outcome, "why": why,
        });
        let result = serde_json::from_value(text).unwrap();
        (PathBuf::from(format!("store/{outcome}")), result)
    }

    #[test]
    fn every_outcome_is_read_back_as_what_it_was() {
        let hostile = "a \" skipped=\"0\" <&>";
        let runs = [
            run("fle/a", "valid", None),
            run("fle/a", "invalid", Some(hostile)),
            run("fle/b", "unknown", Some("a step never ran")),
            run("fle/b", "harness", Some("no node started")),
        ];
        let xml = junit(hostile, &runs).unwrap_or_else(|failure| panic!("{:#}", failure.error));
        let (root, suites) = xml.split_once("<testsuite ").unwrap();
        assert!(!root.contains(" skipped=\""), "{root}");
        assert_eq!(suites.matches(" skipped=\"0\"").count(), 2, "{xml}");

        let report = Report::deserialize_from_str(&xml).unwrap();
        assert_eq!(report.name.as_ref().map(|name| name.as_str()), Some(hostile));
        assert_eq!((report.tests, report.failures, report.errors), (4, 1, 2));
        let cases = report.test_suites.iter().flat_map(|suite| &suite.test_cases);
        let kinds: Vec<_> = cases
            .map(|case| match &case.status {
                TestCaseStatus::Success { .. } => None,
                TestCaseStatus::NonSuccess { kind, ty, .. } => {
                    Some((*kind, ty.as_ref().unwrap().as_str().to_owned()))
                }
                TestCaseStatus::Skipped { .. } => panic!("nothing is ever skipped"),
            })
            .collect();
        let non_success = |kind, ty: &str| Some((kind, ty.to_owned()));
        assert_eq!(
            kinds,
            [
                None,
                non_success(NonSuccessKind::Failure, "invalid"),
                non_success(NonSuccessKind::Error, "unknown"),
                non_success(NonSuccessKind::Error, "harness"),
            ]
        );
    }
}
