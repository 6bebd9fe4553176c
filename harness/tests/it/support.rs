//! A place of its own for each test, and ways to look at what a run does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long anything may take that must happen at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// For runs of `fle` in which nobody may be missed, however busy the machine is.
pub(crate) const PATIENT: &str = "--param down-after=20s";

/// A folder with a store in it. It stays when the test fails.
pub(crate) struct Place {
    folder: Option<tempfile::TempDir>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: Some(tempfile::tempdir().unwrap()) }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.as_ref().expect("it is there until the end").path()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// `usurper` with these words, run to its end in this place.
    pub(crate) fn usurper(&self, words: &str) -> Ended {
        let output = self.command(words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// `usurper` with these words, going on in the background.
    pub(crate) fn start(&self, words: &str) -> Started {
        let child =
            self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Started(Some(child))
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("usurper"));
        command.args(words.split_whitespace()).current_dir(self.path()).env("NO_COLOR", "1");
        command
    }

    /// The directory of the only run in the store, once it has a history.
    pub(crate) fn only_run(&self) -> PathBuf {
        let find = || {
            let mut found = Vec::new();
            collect(&self.store(), &mut found);
            assert!(found.len() < 2, "several runs: {found:?}");
            found.pop()
        };
        wait_for("a history in the store", find)
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.join("history.jsonl").is_file() && !path.is_symlink() {
            found.push(path);
        } else if path.is_dir() && !path.is_symlink() {
            collect(&path, found);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = self.folder.take().map(tempfile::TempDir::keep);
            eprintln!("what the test left is in {kept:?}");
        }
    }
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Checks the exit code and that each text stands in one of the streams.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for text in texts {
            let said = self.stdout.contains(text) || self.stderr.contains(text);
            assert!(said, "`{text}` is not said in {self:#?}");
        }
    }
}

/// A command in the background, killed if the test ends before it.
pub(crate) struct Started(Option<Child>);

impl Started {
    pub(crate) fn pid(&self) -> u32 {
        self.0.as_ref().expect("it runs").id()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.pid().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    pub(crate) fn wait(mut self) -> Ended {
        let output = self.0.take().expect("it runs").wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Looks until there is something to see.
#[expect(clippy::disallowed_methods, reason = "a condition is looked at, up to a real deadline")]
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "no {what} after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The records of a run so far, without a last line that is not whole.
pub(crate) fn records(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("history.jsonl")).unwrap_or_default();
    text.lines().skip(1).filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The records with these fields.
pub(crate) fn with(records: &[Value], fields: &[(&str, Value)]) -> Vec<Value> {
    let fits = |record: &&Value| fields.iter().all(|(key, value)| record[key] == *value);
    records.iter().filter(fits).cloned().collect()
}

/// The pids of the nodes that a run has started.
pub(crate) fn pids(run: &Path) -> Vec<u32> {
    let spawned = with(&records(run), &[("event", "spawn".into())]);
    spawned.iter().map(|record| record["pid"].as_u64().unwrap().try_into().unwrap()).collect()
}

/// The words of a process' command line, or nothing when it is gone.
pub(crate) fn words_of(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words =
        bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    words.filter(|word| !word.is_empty()).collect()
}

/// A store on a file system that is full after a moment, unmounted at the end.
pub(crate) struct Full<'a>(&'a Place);

impl<'a> Full<'a> {
    /// None where file systems cannot be mounted, unless they must be.
    pub(crate) fn mount(place: &'a Place) -> Option<Self> {
        fs::create_dir(place.store()).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=200k", "none"]).arg(place.store());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(place));
        }
        assert!(std::env::var_os("REQUIRE_PRIVILEGED").is_none(), "a file system must be mounted");
        eprintln!("skipped: a file system cannot be mounted here");
        None
    }
}

impl Drop for Full<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.store()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}
