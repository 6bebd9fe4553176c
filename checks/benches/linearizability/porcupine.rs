//! Porcupine, built from a checkout of its source with the Go that is installed.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::measure::Measured;

/// Beyond, the operating system ends it: it is known to take 10 GB and more.
const KILOBYTES_MAX: u64 = 9 << 20;

pub(crate) struct Porcupine {
    checkout: PathBuf,
    driver: PathBuf,
}

impl Porcupine {
    /// Builds the driver in a copy of the checkout's code below `scratch`.
    pub(crate) fn build(checkout: &Path, scratch: &Path) -> Self {
        let folder = scratch.join("porcupine");
        std::fs::create_dir_all(&folder).expect("a folder");
        let copy = |from: &Path| {
            let done = Command::new("cp").arg("-r").arg(from).arg(&folder).status();
            assert!(done.expect("cp").success(), "cannot copy {}", from.display());
        };
        for entry in checkout.read_dir().expect("a checkout of Porcupine") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_code = path.extension().is_some_and(|extension| extension == "go");
            if is_code || name == "go.mod" || name == "visualization" {
                copy(&path);
            }
        }
        let driver = include_str!("porcupine_driver_test.go");
        std::fs::write(folder.join("usurper_driver_test.go"), driver).expect("a file");
        let mut build = Command::new("go");
        build.args(["test", "-c", "-o", "driver", "."]).current_dir(&folder);
        build.env("GOCACHE", scratch.join("go-cache")).env("GOFLAGS", "-mod=mod");
        assert!(build.status().expect("Go is not installed").success(), "Porcupine does not build");
        Self { checkout: checkout.to_owned(), driver: folder.join("driver") }
    }

    /// A file among its test data.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.checkout.join("test_data").join(name)
    }

    /// The logs of etcd, by number, with the verdicts that its tests expect.
    pub(crate) fn etcd_logs(&self) -> Vec<(u32, bool)> {
        let tests = std::fs::read_to_string(self.checkout.join("porcupine_test.go"));
        let tests = tests.expect("its tests");
        let calls = tests.lines().filter_map(|line| line.trim().strip_prefix("checkJepsen(t, "));
        calls
            .map(|rest| {
                let (number, expected) =
                    rest.trim_end_matches(')').split_once(", ").expect("a number and a verdict");
                (number.parse().expect("a number"), expected == "true")
            })
            .collect()
    }

    /// Checks files on one thread; the time is that of all together, without reading them.
    pub(crate) fn measure(&self, kind: &str, seconds_max: u32, files: &[PathBuf]) -> Measured {
        let limited = format!("ulimit -v {KILOBYTES_MAX}; exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &limited, "sh"]).arg(&self.driver);
        command.arg(kind).arg(seconds_max.to_string()).args(files).env("GOMAXPROCS", "1");
        let output = command.output().expect("a shell");
        let said = String::from_utf8_lossy(&output.stdout);
        let (mut ns, mut kilobytes, mut verdicts) = (0, 0, Vec::new());
        for line in said.lines() {
            match line.split_once(' ') {
                Some((time, verdict)) => {
                    ns += time.parse::<u64>().expect("a time");
                    verdicts.push(verdict.to_owned());
                }
                None => kilobytes = line.parse::<u64>().expect("a size"),
            }
        }
        verdicts.sort();
        verdicts.dedup();
        let verdict = match (output.status.success(), verdicts.as_slice()) {
            (false, _) => "out of memory",
            (true, [one]) if one == "Ok" => "valid",
            (true, [one]) if one == "Illegal" => "invalid",
            (true, [_]) => "unknown",
            (true, _) => "mixed",
        };
        let (verdict, note) = (verdict.to_owned(), String::new());
        Measured { ns, verdict, peak_megabytes: kilobytes / 1024, note }
    }
}
