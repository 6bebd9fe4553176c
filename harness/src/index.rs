//! The index of a store: what every finished run was and how it ended, in one SQLite file.
//!
//! It holds nothing that is not also in the `run.json` of a run, and can be made again from those.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    failure::Failure,
    result::{RunResult, find_runs},
};

pub(crate) const FILE: &str = "index.sqlite";
/// The version of the tables, kept in the file.
const VERSION: i64 = 1;
/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(10);

const TABLES: &str = "
    CREATE TABLE run (
        path        TEXT PRIMARY KEY, -- within the store
        suite       TEXT,
        cell        TEXT NOT NULL,
        seed        INTEGER NOT NULL,
        started     TEXT NOT NULL,
        took_ms     INTEGER NOT NULL,
        outcome     TEXT NOT NULL,
        signature   TEXT,
        why         TEXT,
        steps       INTEGER NOT NULL,
        leaderless  INTEGER,          -- nanoseconds
        failover    INTEGER           -- nanoseconds
    ) WITHOUT ROWID;
    CREATE INDEX run_by_cell ON run (cell, started);
    CREATE INDEX run_by_suite ON run (suite);
    CREATE INDEX run_by_signature ON run (signature, started) WHERE signature IS NOT NULL;
";

/// An open index.
#[derive(Debug)]
pub(crate) struct Index {
    store: PathBuf,
    connection: Connection,
}

/// A row of [`Index::cells`].
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CellHistory {
    pub(crate) cell: String,
    /// Runs by outcome: valid, invalid, unknown, harness.
    pub(crate) valid: u32,
    pub(crate) invalid: u32,
    pub(crate) unknown: u32,
    pub(crate) harness: u32,
    /// The first run that was invalid.
    pub(crate) first_bad: Option<String>,
    pub(crate) last_bad: Option<String>,
    /// The mean time without a leader of each night, oldest first, in nanoseconds.
    pub(crate) leaderless_ns: Vec<u64>,
}

/// Every run with one signature, as one.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FindingHistory {
    pub(crate) signature: String,
    pub(crate) outcome: String,
    pub(crate) runs: u32,
    pub(crate) first: String,
    pub(crate) last: String,
    pub(crate) why: Option<String>,
    /// The run with the fewest steps, and of those the quickest.
    pub(crate) shortest: PathBuf,
}

impl Index {
    /// Opens the index of a store; makes one of what is in the store if there is none.
    ///
    /// # Errors
    /// When the file is damaged, or of another version.
    pub(crate) fn open(store: &Path) -> Result<Self, Failure> {
        if !store.join(FILE).exists() {
            return Self::rebuild(store).map(|(index, _)| index);
        }
        let open = || -> rusqlite::Result<Self> {
            let index = Self::connect(store)?;
            let version: i64 =
                index.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            let sound: String =
                index.connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
            if version != VERSION || sound != "ok" {
                return Err(rusqlite::Error::InvalidQuery);
            }
            Ok(index)
        };
        open().map_err(|error| damaged(store, error))
    }

    /// The same, where there must be a store.
    ///
    /// # Errors
    /// When there is none, or its index is damaged.
    pub(crate) fn open_existing(store: &Path) -> Result<Self, Failure> {
        match store.is_dir() {
            true => Self::open(store),
            false => Err(Failure::usage(anyhow!("there is no store `{}`", store.display()))
                .with_hint("name one with `--store`")),
        }
    }

    /// Makes the index again from the runs of the store, and says how many there are.
    ///
    /// # Errors
    /// When a `run.json` cannot be read or the index cannot be written.
    pub(crate) fn rebuild(store: &Path) -> Result<(Self, usize), Failure> {
        let found = find_runs(store)?;
        let write = || -> anyhow::Result<()> {
            fs::create_dir_all(store)?;
            for end in ["", "-wal", "-shm", "-journal"] {
                match fs::remove_file(store.join(format!("{FILE}{end}"))) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error.into());
                    }
                    _ => {}
                }
            }
            Ok(())
        };
        let what = || format!("cannot write the index of `{}`", store.display());
        write().with_context(what).map_err(Failure::harness)?;
        let fill = || -> rusqlite::Result<Self> {
            let mut index = Self::connect(store)?;
            let transaction = index.connection.transaction()?;
            transaction.execute_batch(TABLES)?;
            for (path, result) in &found.finished {
                insert(&transaction, &within(store, path), result)?;
            }
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            Ok(index)
        };
        let index = fill().with_context(what).map_err(Failure::harness)?;
        Ok((index, found.finished.len()))
    }

    fn connect(store: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(store.join(FILE))?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What a crash of the machine may lose here can be made again.
        connection.pragma_update(None, "synchronous", "OFF")?;
        Ok(Self { store: store.to_owned(), connection })
    }

    /// Takes in a finished run.
    pub(crate) fn add(&self, path: &Path, result: &RunResult) -> Result<(), Failure> {
        insert(&self.connection, &within(&self.store, path), result)
            .map_err(|error| damaged(&self.store, error))
    }

    /// How a suite's runs ended.
    pub(crate) fn outcomes(&self, suite: &str) -> Result<BTreeMap<String, u32>, Failure> {
        let sql = "SELECT outcome, count(*) FROM run WHERE suite = ? GROUP BY outcome";
        let rows = self.rows(sql, params![suite], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.into_iter().collect())
    }

    /// The cells and seeds that failed in one of the last suites of this name, the latest first.
    pub(crate) fn failed_before(
        &self,
        name: &str,
        suites: u32,
    ) -> Result<Vec<(String, u64)>, Failure> {
        let sql = "
            WITH nights AS (
                SELECT suite FROM run WHERE suite GLOB ?1 || '-[0-9]*'
                GROUP BY suite ORDER BY max(started) DESC LIMIT ?2
            )
            SELECT cell, seed FROM run
            WHERE suite IN nights AND outcome IN ('invalid', 'harness')
            GROUP BY cell, seed ORDER BY max(started) DESC";
        self.rows(sql, params![name, suites], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
        })
    }

    /// Each cell's runs, by name; only those whose name has this in it, and of this suite.
    pub(crate) fn cells(
        &self,
        like: &str,
        suite: Option<&str>,
    ) -> Result<Vec<CellHistory>, Failure> {
        let sql = "
            SELECT cell, sum(outcome = 'valid'), sum(outcome = 'invalid'),
                sum(outcome = 'unknown'), sum(outcome = 'harness'),
                min(CASE outcome WHEN 'invalid' THEN started END),
                max(CASE outcome WHEN 'invalid' THEN started END)
            FROM run WHERE instr(cell, ?1) AND (?2 IS NULL OR suite = ?2)
            GROUP BY cell ORDER BY cell";
        let mut cells = self.rows(sql, params![like, suite], |row| {
            Ok(CellHistory {
                cell: row.get(0)?,
                valid: row.get(1)?,
                invalid: row.get(2)?,
                unknown: row.get(3)?,
                harness: row.get(4)?,
                first_bad: row.get(5)?,
                last_bad: row.get(6)?,
                leaderless_ns: Vec::new(),
            })
        })?;
        let sql = "
            SELECT cell, cast(avg(leaderless) AS INTEGER) FROM run
            WHERE instr(cell, ?1) AND (?2 IS NULL OR suite = ?2) AND leaderless IS NOT NULL
            GROUP BY cell, ifnull(suite, substr(started, 1, 10)) ORDER BY cell, min(started)";
        let nights: Vec<(String, i64)> =
            self.rows(sql, params![like, suite], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut by_cell: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (cell, mean) in nights {
            by_cell.entry(cell).or_default().push(mean.unsigned_abs());
        }
        for cell in &mut cells {
            cell.leaderless_ns = by_cell.remove(&cell.cell).unwrap_or_default();
        }
        Ok(cells)
    }

    /// What each finished run came to, by the name of its cell: as [`Index::cells`] chooses them.
    pub(crate) fn results(
        &self,
        like: &str,
        suite: Option<&str>,
    ) -> Result<BTreeMap<String, Vec<RunResult>>, Failure> {
        let sql = "
            SELECT path FROM run WHERE instr(cell, ?1) AND (?2 IS NULL OR suite = ?2)
            ORDER BY path";
        let paths: Vec<String> = self.rows(sql, params![like, suite], |row| row.get(0))?;
        let mut cells: BTreeMap<String, Vec<RunResult>> = BTreeMap::new();
        for path in paths {
            // A run that was removed since has no figures.
            if let Some(result) = RunResult::read(&self.store.join(path))? {
                cells.entry(result.cell.clone()).or_default().push(result);
            }
        }
        Ok(cells)
    }

    /// What was found, the most frequent first.
    pub(crate) fn findings(
        &self,
        like: &str,
        suite: Option<&str>,
    ) -> Result<Vec<FindingHistory>, Failure> {
        let sql = "
            SELECT signature, outcome, count(*), min(started), max(started)
            FROM run WHERE signature IS NOT NULL AND instr(cell, ?1)
                AND (?2 IS NULL OR suite = ?2)
            GROUP BY signature ORDER BY outcome = 'harness', count(*) DESC, signature";
        let mut findings = self.rows(sql, params![like, suite], |row| {
            Ok(FindingHistory {
                signature: row.get(0)?,
                outcome: row.get(1)?,
                runs: row.get(2)?,
                first: row.get(3)?,
                last: row.get(4)?,
                why: None,
                shortest: PathBuf::new(),
            })
        })?;
        // With a single `min`, SQLite takes the other columns from the row that has it.
        let sql = "
            SELECT signature, why, path, min(steps * 1000000000 + took_ms)
            FROM run WHERE signature IS NOT NULL AND instr(cell, ?1)
                AND (?2 IS NULL OR suite = ?2)
            GROUP BY signature";
        let rows: Vec<(String, Option<String>, String)> =
            self.rows(sql, params![like, suite], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        let mut shortest: BTreeMap<_, _> =
            rows.into_iter().map(|(signature, why, path)| (signature, (why, path))).collect();
        for finding in &mut findings {
            if let Some((why, path)) = shortest.remove(&finding.signature) {
                finding.why = why;
                finding.shortest = self.store.join(path);
            }
        }
        Ok(findings)
    }

    /// The runs whose path, cell or seed is like this, the newest first, at most so many.
    pub(crate) fn find(&self, like: &str, max: u32) -> Result<Vec<PathBuf>, Failure> {
        let sql = "
            SELECT path FROM run WHERE instr(path, ?1) OR cell = ?1 OR cast(seed AS TEXT) = ?1
            ORDER BY started DESC LIMIT ?2";
        let paths: Vec<String> = self.rows(sql, params![like, max], |row| row.get(0))?;
        Ok(paths.into_iter().map(|path| self.store.join(path)).collect())
    }

    /// The newest suite whose name begins so.
    pub(crate) fn newest_suite(&self, like: &str) -> Result<Option<String>, Failure> {
        let sql = "
            SELECT suite FROM run WHERE suite IS NOT NULL AND instr(suite, ?1)
            ORDER BY started DESC LIMIT 1";
        let found = self.connection.query_row(sql, params![like], |row| row.get(0)).optional();
        found.map_err(|error| damaged(&self.store, error))
    }

    fn rows<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Failure> {
        let query = || -> rusqlite::Result<Vec<T>> {
            self.connection.prepare(sql)?.query_map(params, read)?.collect()
        };
        query().map_err(|error| damaged(&self.store, error))
    }
}

fn insert(connection: &Connection, path: &str, result: &RunResult) -> rusqlite::Result<()> {
    let figures = result.figures.as_ref();
    let number = |value: Option<u64>| value.map(u64::cast_signed);
    connection
        .prepare("INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            path,
            result.suite,
            result.cell,
            result.seed.cast_signed(),
            result.started,
            result.took_ms.cast_signed(),
            result.outcome.name(),
            result.signature,
            result.why,
            result.steps,
            number(figures.map(|figures| figures.leaderless_ns)),
            number(figures.and_then(|figures| figures.failover_ns)),
        ])
        .map(drop)
}

fn within(store: &Path, path: &Path) -> String {
    path.strip_prefix(store).unwrap_or(path).display().to_string()
}

fn damaged(store: &Path, error: rusqlite::Error) -> Failure {
    let path = store.join(FILE);
    let full = matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    let failure = Failure::harness(
        anyhow!(error).context(format!("cannot use the index `{}`", path.display())),
    );
    match full {
        true => failure.with_hint("the disk is full"),
        false => failure.with_hint(format!(
            "`usurper store rebuild --store {}` makes it again from the runs",
            store.display()
        )),
    }
}

impl CellHistory {
    pub(crate) fn runs(&self) -> u32 {
        self.valid + self.invalid + self.unknown + self.harness
    }
}
