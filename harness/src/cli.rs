//! The command line.

use std::{path::PathBuf, str::FromStr};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use usurper_checks::formats::Format;
use usurper_nemesis::{Majority, TimeSpan};

use crate::{
    abilities::Ability,
    failure::Failure,
    plan::Wishes,
    suite::{Keep, Shard},
    workload::WorkloadArgs,
};

/// usurper finds the leaders that should not be leading.
///
/// It starts a real cluster, breaks it on a schedule, records what everybody did, and judges the
/// record. Exit codes: 0 every check is valid, 1 a check is invalid, 2 usage or file error, 3 the
/// verdict is unknown, 4 the harness itself failed, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "usurper", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a cluster, break it, judge it.
    Run(RunArgs),
    /// Run scenarios without and with their defects: green without, red with.
    Prove(ProveArgs),
    /// Do a stored run again, and say how often it fails the same way.
    ///
    /// Exit codes: 1 if it failed at least once, 0 if it never did, 3 if it never did but not every
    /// replay could be judged.
    Replay(ReplayArgs),
    /// Make a scenario of what a history or servers' logs tell, and say whether it fails the same way.
    ///
    /// What they do not tell is said, and stands in the scenario. Exit codes: 1 if it failed at least
    /// once, 0 if it never did, 3 if it never did but not every run could be judged.
    Reproduce(ReproduceArgs),
    /// Find the fewest steps with which a stored run still fails, and write them as a scenario.
    ///
    /// It can be stopped with Ctrl-C; the same command goes on where it was. Exit codes: 0 when a
    /// scenario was written, 3 when the run does not fail again.
    Shrink(ShrinkArgs),
    /// Many runs side by side: a matrix of scenarios and random faults, night after night.
    ///
    /// Exit codes: 1 if a run was invalid, 4 if the harness failed in one, 3 if one is unknown, 0 if
    /// all are valid.
    Suite(SuiteArgs),
    /// Say whether a fix holds: the same runs before and after it, side by side.
    ///
    /// Exit codes: 0 fixed, 1 not fixed, 3 inconclusive.
    Validate(ValidateArgs),
    /// Say what failed when, and how it went from night to night.
    History(HistoryArgs),
    /// Show one stored run.
    Show(ShowArgs),
    /// Join the stores of shards into one.
    Merge(MergeArgs),
    /// Look after a store.
    Store(StoreArgs),
    /// Judge a history, or the history of a run; also Jepsen's, and servers' logs.
    ///
    /// Files of servers' logs (etcd, ZooKeeper) are those of one cluster, one file per server.
    Check(CheckArgs),
    /// Write a history in another format, for other tools.
    Export(ExportArgs),
    /// Make a page of a run, to look at.
    Report(ReportArgs),
    /// Print what `run` would do, and do nothing.
    Plan(PlanArgs),
    /// Show what there is.
    List(ListArgs),
    /// Say what this machine allows.
    Doctor(DoctorArgs),
    /// Be one node of a reference system (what a run starts).
    #[command(hide = true)]
    Node(usurper_node::NodeArgs),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Text,
    Json,
}

/// What the commands take that use a store and answer.
#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// Where runs are stored.
    #[arg(long, default_value = "store")]
    pub(crate) store: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// A shipped scenario (`usurper list scenarios`) or a TOML file; random faults without one.
    pub(crate) scenario: Option<String>,
    /// The system under test [default: fle]
    #[arg(long)]
    pub(crate) system: Option<String>,
    /// The program of the system under test, instead of the installed one.
    #[arg(long, value_name = "PATH")]
    pub(crate) bin: Option<PathBuf>,
    /// Size of the cluster [default: 3]
    #[arg(long)]
    pub(crate) nodes: Option<u8>,
    /// Switch a defect on; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(crate) defect: Vec<String>,
    /// Switch the scenario's own defects on.
    #[arg(long)]
    pub(crate) with_defect: bool,
    /// Families of random faults (docs/schedules.md names them), all or none
    /// [default: kill,pause,partition]
    #[arg(long, value_delimiter = ',', value_name = "FAULT,…")]
    pub(crate) faults: Option<Vec<String>>,
    /// From one random fault to the next [default: 2s]
    #[arg(long)]
    pub(crate) interval: Option<TimeSpan>,
    /// Random faults that may overlap, as expected faults per minute: `kill=10,pause=5`, `all=6`.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "FAULT=NUMBER,…",
        value_parser = key_value,
        conflicts_with_all = ["faults", "interval"]
    )]
    pub(crate) rate: Vec<(String, String)>,
    /// With `--rate`: leave a majority up, running and connected at every moment.
    #[arg(long, requires = "rate", conflicts_with = "break_majority")]
    pub(crate) keep_majority: bool,
    /// With `--rate`: leave no majority, at least once.
    #[arg(long, requires = "rate")]
    pub(crate) break_majority: bool,
    /// How long faults go on, at most [default: the scenario's; of random
    /// faults 12s, or what a leader may take to come and two election timeouts, if that is longer]
    #[arg(long)]
    pub(crate) time: Option<TimeSpan>,
    /// How long to watch the healed cluster [default: the scenario's; of random faults, until a leader
    /// lasts, at most as long as the checks of liveness need]
    #[arg(long)]
    pub(crate) settle: Option<TimeSpan>,
    /// What everything random in the run derives from; a new one if absent.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// An option of the system (`usurper list systems`); may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) param: Vec<(String, String)>,
    /// Judge by this check only; may be repeated.
    #[arg(long, value_name = "CHECK")]
    pub(crate) check: Vec<String>,
    #[command(flatten)]
    pub(crate) workload: WorkloadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
    /// Run so many times, each with the next seed.
    #[arg(long, default_value_t = 1, value_parser = at_least_one::<u32>)]
    pub(crate) repeat: u32,
    /// Leave out the faults that this machine cannot do; each is recorded as skipped.
    #[arg(long)]
    pub(crate) allow_skip: bool,
    /// Do as if this machine lacked something.
    #[arg(long, value_enum, hide = true)]
    pub(crate) without: Vec<Ability>,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ProveArgs {
    /// The scenarios to prove.
    #[arg(required_unless_present_any = ["all", "system"])]
    pub(crate) scenarios: Vec<String>,
    /// Prove every shipped scenario whose system is installed.
    #[arg(long, conflicts_with = "scenarios")]
    pub(crate) all: bool,
    /// Prove every shipped scenario of this system.
    #[arg(long, conflicts_with_all = ["scenarios", "all"])]
    pub(crate) system: Option<String>,
    /// Run each scenario so many times without and with its defects.
    #[arg(long, default_value_t = 1, value_parser = at_least_one::<u32>)]
    pub(crate) repeat: u32,
    /// How many runs go on side by side [default: twice the cores]
    #[arg(long, value_parser = at_least_one::<usize>)]
    pub(crate) jobs: Option<usize>,
    /// The first seed; each repeat takes the next.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Keep every run, not only those that are not as they should be.
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The run's directory, in whatever store (`store/latest`).
    pub(crate) run: PathBuf,
    /// How often to do it again.
    #[arg(long, default_value_t = 1, value_parser = at_least_one::<u32>)]
    pub(crate) repeat: u32,
    /// How many replays go on side by side [default: twice the cores]
    #[arg(long, value_parser = at_least_one::<usize>)]
    pub(crate) jobs: Option<usize>,
    /// Count only this check [default: any that the run failed]
    #[arg(long, value_name = "CHECK")]
    pub(crate) check: Option<String>,
    /// The program of the system under test, instead of the run's.
    #[arg(long, value_name = "PATH")]
    pub(crate) bin: Option<PathBuf>,
    /// Keep every replay in the store.
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReproduceArgs {
    /// One history, a run's directory, or the logs of one cluster's servers.
    #[arg(required = true, value_name = "HISTORY|LOGS")]
    pub(crate) histories: Vec<PathBuf>,
    /// What the files are [default: told by what they hold]
    #[arg(long, value_parser = format_of(Format::ALL))]
    pub(crate) format: Option<Format>,
    /// The system to reproduce it on [default: its own; raft for logs of etcd, fle for ZooKeeper's]
    #[arg(long)]
    pub(crate) system: Option<String>,
    /// The program of the system, instead of the installed one.
    #[arg(long, value_name = "PATH")]
    pub(crate) bin: Option<PathBuf>,
    /// Size of the cluster [default: as many as the logs tell of]
    #[arg(long)]
    pub(crate) nodes: Option<u8>,
    /// Switch a suspected bug on; may be repeated. Those that a history of ours names are on.
    #[arg(long, value_name = "NAME")]
    pub(crate) defect: Vec<String>,
    /// An option of the system (`usurper list systems`); may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) param: Vec<(String, String)>,
    /// Count only this check [default: those that the given history fails; any if it fails none]
    #[arg(long, value_name = "CHECK")]
    pub(crate) check: Option<String>,
    /// How often to run it.
    #[arg(long, default_value_t = 4, value_parser = at_least_one::<u32>)]
    pub(crate) repeat: u32,
    /// How many runs go on side by side [default: twice the cores]
    #[arg(long, value_parser = at_least_one::<usize>)]
    pub(crate) jobs: Option<usize>,
    /// The first seed; each run takes the next.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Where the scenario is written.
    #[arg(long, value_name = "FILE", default_value = "reproduced.toml")]
    pub(crate) output: PathBuf,
    /// Where the runs that fail are stored.
    #[arg(long, default_value = "store")]
    pub(crate) store: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    /// The run's directory, in whatever store (`store/latest`).
    pub(crate) run: PathBuf,
    /// How often a smaller schedule is run before a step is left out for good.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..1000))]
    pub(crate) repeat: u32,
    /// How many runs go on side by side [default: as many as leave most of the machine idle]
    #[arg(long, value_parser = at_least_one::<usize>)]
    pub(crate) jobs: Option<usize>,
    /// How long the search may take.
    #[arg(long, default_value = "3m")]
    pub(crate) budget: TimeSpan,
    /// Where the scenario is written [default: `shrunk.toml` in the run's directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Only this check must fail [default: any that the run failed]
    #[arg(long, value_name = "CHECK")]
    pub(crate) check: Option<String>,
    /// The program of the system under test, instead of the run's.
    #[arg(long, value_name = "PATH")]
    pub(crate) bin: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SuiteArgs {
    /// The suite: a TOML file.
    pub(crate) file: PathBuf,
    /// How many runs go on side by side, at most [default: by the cores and the clusters' timeouts]
    #[arg(long, value_parser = at_least_one::<usize>)]
    pub(crate) jobs: Option<usize>,
    /// Go on with new seeds, round after round, for so long (`8h`); otherwise there is one round.
    #[arg(long)]
    pub(crate) budget: Option<TimeSpan>,
    /// Do only this part of the runs, as I/N from 1/N to N/N; needs a seed.
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// What the runs' seeds derive from; a new one if absent.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Go on with the newest unfinished one.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Begin no run after the first that is invalid or in which the harness fails.
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Shrink the shortest run of each finding at the end.
    #[arg(long)]
    pub(crate) shrink: bool,
    /// Which runs keep their history, logs and data.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) keep: Keep,
    /// Write JUnit XML there, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write a job summary in Markdown there, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// A scenario (`usurper list scenarios`), a TOML file, or the directory of a run.
    #[arg(value_name = "SCENARIO|RUN")]
    pub(crate) what: String,
    /// What it was like before: defects and options, `config-leader-on-boot,heartbeat=50ms`, or `none`
    /// [default: the defects of the scenario or the run]
    #[arg(long, value_delimiter = ',', value_name = "DEFECT|KEY=VALUE,…")]
    pub(crate) before: Option<Vec<String>>,
    /// What it is like after.
    #[arg(long, value_delimiter = ',', value_name = "DEFECT|KEY=VALUE,…", default_value = "none")]
    pub(crate) after: Vec<String>,
    /// The program of the system under test before.
    #[arg(long, value_name = "PATH")]
    pub(crate) before_bin: Option<PathBuf>,
    /// The program of the system under test after.
    #[arg(long, value_name = "PATH")]
    pub(crate) after_bin: Option<PathBuf>,
    /// How many runs of each, at most; fewer where less decides.
    #[arg(short = 'n', long, default_value_t = 50, value_parser = at_least_one::<u32>)]
    pub(crate) runs: u32,
    /// How many runs go on side by side [default: four times the cores]
    #[arg(long, value_parser = at_least_one::<usize>)]
    pub(crate) jobs: Option<usize>,
    /// What counts as failing; may be repeated [default: what the scenario expects or the run failed]
    #[arg(long, value_name = "CHECK")]
    pub(crate) check: Vec<String>,
    /// The first seed of a scenario's runs; each pair takes the next.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Keep every run in the store.
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Only cells and scenarios whose name has this in it.
    pub(crate) cell: Option<String>,
    /// Only the newest suite whose name has this in it.
    #[arg(long)]
    pub(crate) suite: Option<String>,
    /// What was measured, cell by cell, as a table in Markdown.
    #[arg(long)]
    pub(crate) figures: bool,
    /// Draw what was measured into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The run's directory, a part of its path in the store, or its seed.
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The stores to take from. They stay as they are.
    #[arg(required = true, value_name = "STORE")]
    pub(crate) stores: Vec<PathBuf>,
    /// The store to join them into.
    #[arg(long, default_value = "store")]
    pub(crate) store: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    pub(crate) command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Make the index again from the runs.
    Rebuild {
        #[arg(long, default_value = "store")]
        store: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// History files or run directories (`store/latest`).
    #[arg(required = true)]
    pub(crate) histories: Vec<PathBuf>,
    /// What the files are [default: told by what they hold]
    #[arg(long, value_parser = format_of(Format::ALL))]
    pub(crate) format: Option<Format>,
    /// Skip and count lines that cannot be read; nothing is valid then.
    #[arg(long)]
    pub(crate) lenient: bool,
    /// Judge by this check only, instead of those that the history asks for; may be repeated.
    #[arg(long, value_name = "CHECK")]
    pub(crate) check: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// A history file, a run directory (`store/latest`), or the logs of one cluster's servers.
    #[arg(required = true)]
    pub(crate) histories: Vec<PathBuf>,
    /// What to write: `jepsen-edn` (client operations, for Knossos and Elle) or `usurper`.
    #[arg(long, value_parser = format_of(&[Format::JepsenEdn, Format::Usurper]))]
    pub(crate) format: Format,
    /// What the files are [default: told by what they hold]
    #[arg(long, value_parser = format_of(Format::ALL))]
    pub(crate) from: Option<Format>,
    /// Skip and count lines that cannot be read.
    #[arg(long)]
    pub(crate) lenient: bool,
    /// Where to write it [default: the standard output]
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// A run directory or a history file.
    #[arg(default_value = "store/latest")]
    pub(crate) run: PathBuf,
    /// Where to write it [default: report.html beside the history]
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    pub(crate) what: What,
    /// Only what belongs to this system.
    #[arg(long)]
    pub(crate) system: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: ListOutput,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListOutput {
    #[default]
    Text,
    Json,
    /// A table, as the pages of the documentation have it.
    Markdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    Systems,
    Scenarios,
    Defects,
    Faults,
    Checks,
    Events,
    Workloads,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Do as if this machine lacked something.
    #[arg(long, value_enum, hide = true)]
    pub(crate) without: Vec<Ability>,
    /// Also measure how long a fault takes from the event that it waits for.
    #[arg(long)]
    pub(crate) measure: bool,
}

impl ShrinkArgs {
    /// To shrink a run with the usual settings.
    pub(crate) fn of_run(run: PathBuf, jobs: Option<usize>) -> Self {
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            args: ShrinkArgs,
        }
        let words = ["shrink".into(), std::ffi::OsString::from("--"), run.into_os_string()];
        Self { jobs, ..Alone::parse_from(words).args }
    }
}

/// A count of runs: nobody asks for none of them, and none would show nothing.
fn at_least_one<N: FromStr + From<u8> + PartialOrd>(text: &str) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| *number >= N::from(1));
    number.ok_or_else(|| "expected a number from 1".to_owned())
}

/// A parser of the names of these formats.
fn format_of(formats: &'static [Format]) -> impl TypedValueParser<Value = Format> {
    let names = PossibleValuesParser::new(formats.iter().map(|format| format.name()));
    names.map(|name| {
        let named = formats.iter().find(|format| format.name() == name);
        *named.expect("the parser takes no other names")
    })
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, for example `heartbeat=50ms`".to_owned()),
    }
}

impl PlanArgs {
    pub(crate) fn wishes(&self) -> Wishes {
        Wishes {
            system: self.system.clone(),
            bin: self.bin.clone(),
            nodes: self.nodes,
            defects: self.defect.clone(),
            with_defect: self.with_defect,
            faults: self.faults.clone(),
            interval: self.interval,
            rates: self.rate.clone(),
            majority: match (self.keep_majority, self.break_majority) {
                (true, _) => Majority::Keep,
                (_, true) => Majority::Break,
                _ => Majority::Any,
            },
            time: self.time,
            settle: self.settle,
            params: self.param.iter().cloned().collect(),
            checks: self.check.clone(),
            load: None,
            workload: self.workload.clone(),
        }
    }

    /// The plan that these arguments ask for.
    pub(crate) fn resolve(&self, seed: u64) -> Result<crate::plan::Plan, Failure> {
        let scenario = self.scenario.as_deref().map(crate::scenario::Scenario::load).transpose()?;
        crate::plan::Plan::resolve(scenario, &self.wishes(), seed)
    }

    /// The seed asked for, or one that was not used before.
    pub(crate) fn seed_or_new(&self) -> u64 {
        self.seed.unwrap_or_else(new_seed)
    }
}

/// A seed that was not used before, short enough to be typed again.
pub(crate) fn new_seed() -> u64 {
    let fresh = usurper_history::monotonic_ns() ^ (u64::from(std::process::id()) << 20);
    fresh.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::Cli;

    #[test]
    fn no_command_takes_a_count_of_none() {
        let cli = Cli::command();
        let mut refused = 0;
        for command in cli.get_subcommands() {
            for count in ["jobs", "repeat", "runs"] {
                if command.get_opts().any(|option| option.get_long() == Some(count)) {
                    let words = ["usurper", command.get_name(), &format!("--{count}"), "0"];
                    let error = cli.clone().try_get_matches_from(words).expect_err("0 is too few");
                    assert_eq!(error.kind(), ErrorKind::ValueValidation, "{words:?}: {error}");
                    assert_eq!(error.exit_code(), 2);
                    refused += 1;
                }
            }
        }
        // --jobs of six commands, --repeat of five, --runs of one.
        assert_eq!(refused, 12);
    }
}
