//! The command line: what was typed, nothing opened.
//!
//! testr's spellings all work: options before or after the command and its arguments, abbreviated as far as they stay
//! unambiguous, given twice, with `=` or a blank before their value.

#![expect(clippy::doc_markdown, reason = "comments on options are their help, as people read it")]

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// Run tests on instances, in parallel, and keep what became of them.
///
/// A drop-in replacement for `testr` that runs tests on instances - containers, chroots, machines, batch jobs, isolated
/// local processes - through three shell callouts in `.testr.conf`.
#[derive(Debug, Parser)]
#[command(name = "regatta", version, infer_long_args = true, disable_help_subcommand = true, args_override_self = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do; the help when nothing is said.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// The directory of .testr.conf and .testrepository; commands run in the current one all the same.
    #[arg(short = 'd', long, value_name = "DIR", global = true)]
    pub here: Option<PathBuf>,
    /// Leave out the summary.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub enum Verb {
    /// List the commands.
    Commands(Nothing),
    /// Print completions for a shell.
    #[command(hide = true)]
    Completions(Completions),
    /// Show the tests that fail as far as is known.
    Failing(Failing),
    /// Show help, of a command or in general.
    Help(Help),
    /// Make a repository (.testrepository) for test results.
    Init(Nothing),
    /// Show the instances that are in use, kept or left behind; look into them, give them back.
    Instances(Instances),
    /// Show the last run again.
    Last(Last),
    /// List the tests of the project.
    ListTests(ListTests),
    /// Put a subunit stream into the repository, as if it had been run.
    Load(Load),
    /// Print the manual page, in troff.
    #[command(hide = true)]
    Man(Nothing),
    /// Show how to begin.
    Quickstart(Nothing),
    /// Run the project's tests and put the results into the repository.
    #[command(after_long_help = CONFIGURATION)]
    Run(Run),
    /// Be a test runner: each executable file is a test; speaks subunit v2.
    Scripts(Scripts),
    /// Show the tests that took longest.
    Slowest(Slowest),
    /// Say how many runs the repository has.
    Stats(Nothing),
}

/// No arguments; what is there too much is refused as testr refuses it, with exit status 1.
#[derive(Debug, Args)]
pub struct Nothing {
    #[arg(hide = true)]
    superfluous: Vec<String>,
}

impl Verb {
    /// Arguments that the command does not take.
    #[must_use]
    pub fn superfluous(&self) -> &[String] {
        match self {
            Self::Commands(none) | Self::Init(none) | Self::Man(none) | Self::Quickstart(none) | Self::Stats(none) => {
                &none.superfluous
            }
            Self::Failing(failing) => &failing.none.superfluous,
            Self::Last(last) => &last.none.superfluous,
            Self::Slowest(slowest) => &slowest.none.superfluous,
            Self::ListTests(selection) => selection.selection.superfluous(),
            Self::Run(run) => run.selection.superfluous(),
            Self::Completions(_) | Self::Help(_) | Self::Instances(_) | Self::Load(_) | Self::Scripts(_) => &[],
        }
    }
}

/// `completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// For which shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell that completions are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash, with bash-completion.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// `failing`
#[derive(Debug, Args)]
pub struct Failing {
    /// Show them as a subunit stream.
    #[arg(long)]
    pub subunit: bool,
    /// Show their ids only.
    #[arg(long)]
    pub list: bool,
    #[command(flatten)]
    none: Nothing,
}

/// `help`
#[derive(Debug, Args)]
pub struct Help {
    /// The command to show help for.
    pub command: Option<String>,
}

/// `instances`
#[derive(Debug, Args)]
pub struct Instances {
    /// What to do with them; list them when nothing is said.
    #[command(subcommand)]
    pub verb: Option<InstancesVerb>,
}

/// What can be done with instances. Each uses the callouts that the instance's run had.
#[derive(Debug, Subcommand)]
pub enum InstancesVerb {
    /// List them: live ones are in use, kept ones were asked for with --keep, orphans were left behind.
    List {
        /// As JSON: an array of objects.
        #[arg(long)]
        json: bool,
    },
    /// Have a shell on one (instance_shell).
    Shell {
        /// Which.
        id: String,
    },
    /// Run a command on one (instance_execute), with this terminal as its own.
    Exec {
        /// On which.
        id: String,
        /// The command and its arguments.
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Fetch the logs of one (instance_collect).
    Collect {
        /// From which.
        id: String,
        /// Into which directory; it is made if it is not there.
        dest: PathBuf,
    },
    /// Give instances back that are kept or were left behind (instance_dispose).
    Dispose {
        /// Which.
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<String>,
        /// All, but those in use.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Also those of other machines, and of this one before it was started.
        #[arg(long)]
        force: bool,
    },
    /// Give back what was left behind, and what was kept for long enough.
    Gc {
        /// Also what was left by other machines, and by this one before it was started.
        #[arg(long)]
        force: bool,
        /// Give up what cannot be given back: it is not spoken of again.
        #[arg(long)]
        forget: bool,
    },
}

/// `last`
#[derive(Debug, Args)]
pub struct Last {
    /// Show it as a subunit stream.
    #[arg(long)]
    pub subunit: bool,
    #[command(flatten)]
    none: Nothing,
}

/// Which tests, and what to tell their runner.
#[derive(Debug, Args)]
pub struct Selection {
    /// Only tests whose id one of these Python regular expressions is found in.
    #[arg(value_name = "FILTER")]
    pub filters: Vec<String>,
    /// Arguments for the test runner, added to test_command as they are.
    #[arg(last = true, value_name = "ARG")]
    pub test_args: Vec<String>,
}

impl Selection {
    /// A second `--`, and what follows it.
    fn superfluous(&self) -> &[String] {
        let second = self.test_args.iter().position(|arg| arg == "--");
        second.map_or(&[], |at| &self.test_args[at..])
    }
}

/// `list-tests`
#[derive(Debug, Args)]
pub struct ListTests {
    /// Which.
    #[command(flatten)]
    pub selection: Selection,
}

/// `load`
#[derive(Debug, Args)]
pub struct Load {
    /// The stream holds only a part of the tests: others that failed before still count as failing.
    #[arg(long)]
    pub partial: bool,
    /// Make the repository if there is none.
    #[arg(long)]
    pub force_init: bool,
    /// Show the stream, not a summary.
    #[arg(long)]
    pub subunit: bool,
    #[arg(long, hide = true)]
    full_results: bool,
    /// Files with streams; standard input when there are none.
    #[arg(value_name = "STREAM")]
    pub streams: Vec<PathBuf>,
}

/// `run`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of testr's")]
pub struct Run {
    /// Run only the tests that fail as far as is known.
    #[arg(long)]
    pub failing: bool,
    /// Run tests in several processes, or on several instances, at once.
    #[arg(long)]
    pub parallel: bool,
    /// How many at once; 0 asks test_run_concurrency, else takes the number of CPUs.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub concurrency: i64,
    /// Run only the tests whose ids are in this file, one a line.
    #[arg(long, value_name = "FILE")]
    pub load_list: Option<PathBuf>,
    /// Only a part of the tests is run: others that failed before still count as failing.
    #[arg(long)]
    pub partial: bool,
    /// Show the merged subunit stream, not a summary; the exit status is 0 once the run was stored.
    #[arg(long)]
    pub subunit: bool,
    /// Make the repository if there is none.
    #[arg(long)]
    pub force_init: bool,
    #[arg(long, hide = true)]
    full_results: bool,
    /// Run again and again until a run fails.
    #[arg(long)]
    pub until_failure: bool,
    /// Find out which tests make others fail: runs each failing test by itself, then with those that ran before it.
    #[arg(long)]
    pub analyze_isolation: bool,
    /// Run each test by itself.
    #[arg(long)]
    pub isolated: bool,
    /// Use instances that an earlier run kept (--keep) before others are made; with an id, only that one.
    #[arg(long, value_name = "ID", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub reuse: Option<String>,
    /// How the run is carried out.
    #[command(flatten)]
    pub settings: RunSettings,
    /// Which.
    #[command(flatten)]
    pub selection: Selection,
}

/// How a run is carried out: each option is a key of `[DEFAULT]` too, and wins over it. Values are read by
/// `config::Settings`, which knows both spellings.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Options that are keys of .testr.conf too")]
pub struct RunSettings {
    /// How tests are shared out: batches as instances become free, or testr's one batch for each worker.
    #[arg(long, value_name = "static|dynamic")]
    schedule: Option<String>,
    /// Run tests that failed up to N times again, elsewhere if possible; one that then passes is flaky.
    #[arg(long, value_name = "N")]
    retries: Option<String>,
    /// A test that has cost N runners is not run again.
    #[arg(long, value_name = "N")]
    lost_limit: Option<String>,
    /// Replace at most N instances that died; as many as run at once when it is not said.
    #[arg(long, value_name = "N")]
    replace_limit: Option<String>,
    /// How long a test may take: 90, 90s, 2min.
    #[arg(long, value_name = "TIME")]
    test_timeout: Option<String>,
    /// How long a runner may write nothing.
    #[arg(long, value_name = "TIME")]
    no_output_timeout: Option<String>,
    /// How long the run may take.
    #[arg(long, value_name = "TIME")]
    max_duration: Option<String>,
    /// Stop when N tests have failed.
    #[arg(long, value_name = "N")]
    max_fail: Option<String>,
    /// What tests mean that a runner leaves out without a word.
    #[arg(long, value_name = "warn|fail")]
    not_run: Option<String>,
    /// Whether a listing without any test is a run that passed, or an error.
    #[arg(long, value_name = "pass|fail")]
    no_tests: Option<String>,
    /// Use instances when all are made, or each as soon as its id is printed.
    #[arg(long, value_name = "at_end|streamed")]
    instance_ids: Option<String>,
    /// Give instances back at the end, or each when there is no work left for it.
    #[arg(long, value_name = "end|early")]
    instance_release: Option<String>,
    /// How long instance_provision may take.
    #[arg(long, value_name = "TIME")]
    provision_limit: Option<String>,
    /// How long to wait for instance_ready to succeed.
    #[arg(long, value_name = "TIME")]
    ready_limit: Option<String>,
    /// How long instance_check may take.
    #[arg(long, value_name = "TIME")]
    check_limit: Option<String>,
    /// How long instance_kill may take.
    #[arg(long, value_name = "TIME")]
    kill_limit: Option<String>,
    /// How long instance_collect may take.
    #[arg(long, value_name = "TIME")]
    collect_limit: Option<String>,
    /// How long instance_dispose may take.
    #[arg(long, value_name = "TIME")]
    dispose_limit: Option<String>,
    /// How long what is told to end may take to do so.
    #[arg(long, value_name = "TIME")]
    grace: Option<String>,
    /// Which instances are kept at the end, for a person to look at.
    #[arg(long, value_name = "always|failed|never")]
    keep: Option<String>,
    /// For how long they are kept.
    #[arg(long, value_name = "TIME")]
    keep_for: Option<String>,
    /// The same as --max-fail 1.
    #[arg(long, conflicts_with = "max_fail")]
    fail_fast: bool,
}

impl RunSettings {
    /// What was said, as keys and values.
    #[must_use]
    pub fn said(&self) -> Vec<(&'static str, String)> {
        let fail_fast = self.fail_fast.then(|| "1".to_owned());
        let all = [
            ("schedule", &self.schedule),
            ("retries", &self.retries),
            ("lost_limit", &self.lost_limit),
            ("replace_limit", &self.replace_limit),
            ("test_timeout", &self.test_timeout),
            ("no_output_timeout", &self.no_output_timeout),
            ("max_duration", &self.max_duration),
            ("max_fail", &self.max_fail.clone().or(fail_fast)),
            ("not_run", &self.not_run),
            ("no_tests", &self.no_tests),
            ("instance_ids", &self.instance_ids),
            ("instance_release", &self.instance_release),
            ("provision_limit", &self.provision_limit),
            ("ready_limit", &self.ready_limit),
            ("check_limit", &self.check_limit),
            ("kill_limit", &self.kill_limit),
            ("collect_limit", &self.collect_limit),
            ("dispose_limit", &self.dispose_limit),
            ("grace", &self.grace),
            ("keep", &self.keep),
            ("keep_for", &self.keep_for),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect()
    }
}

/// `scripts`
#[derive(Debug, Args)]
pub struct Scripts {
    /// Directories with tests, or single ones.
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Say which tests there are.
    #[arg(long)]
    pub list: bool,
    /// Run only the tests whose ids are in this file, one a line.
    #[arg(long, value_name = "FILE")]
    pub load_list: Option<PathBuf>,
}

/// `slowest`
#[derive(Debug, Args)]
pub struct Slowest {
    /// Show all tests, not ten.
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    none: Nothing,
}

const CONFIGURATION: &str = "\
Configuration:
  .testr.conf, in the format of Python's ConfigParser, section [DEFAULT].

  test_command          runs the tests, and lists them; writes subunit v2
  test_id_option        what $IDOPTION in it is when only some tests are to run
  test_list_option      what $LISTOPT in it is when the tests are to be listed
  test_id_list_default  what $IDLIST is when no ids are known
  test_run_concurrency  prints how many to run at once
  group_regex           ids that begin with the same match run on one worker
  filter_tags           tests with these tags count only when they fail
  instance_provision    makes $INSTANCE_COUNT instances, prints their ids
  instance_execute      runs $COMMAND, which needs $FILES, on $INSTANCE_ID
  instance_dispose      gives the instances $INSTANCE_IDS back
  instance_ready        succeeds when $INSTANCE_ID takes work
  instance_check        succeeds while $INSTANCE_ID lives
  instance_kill         ends what runs on $INSTANCE_ID
  instance_collect      copies logs of $INSTANCE_ID to the directory $DEST
  instance_renew        tells $INSTANCE_ID that it is still in use
  instance_shell        a shell on $INSTANCE_ID, for a person
  instance_fence        turns the power of $INSTANCE_ID off

  $IDFILE is a file with the test ids, one a line;
  $IDLIST is the ids themselves, with blanks between.";

/// The help of a command, or the general one; nothing when there is no such command.
#[must_use]
pub fn help(command: Option<&str>) -> Option<String> {
    let mut root = Cli::command();
    root.build();
    let page = match command {
        None => &mut root,
        Some(name) => root.find_subcommand_mut(name)?,
    };
    Some(page.render_long_help().to_string())
}

/// The names of the commands and what each does, in the order of the names.
#[must_use]
pub fn commands() -> Vec<(String, String)> {
    let about = |c: &clap::Command| c.get_about().map(ToString::to_string).unwrap_or_default();
    let root = Cli::command();
    let shown = root.get_subcommands().filter(|c| !c.is_hide_set());
    shown.map(|c| (c.get_name().to_owned(), about(c))).collect()
}

/// What a shell has to read to complete this command line.
#[must_use]
pub fn completions(shell: Shell) -> Vec<u8> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "regatta", &mut script);
    script
}

/// The manual page, in troff: the general help and that of each command.
///
/// # Errors
/// Never, as it is written to memory.
pub fn man() -> std::io::Result<Vec<u8>> {
    let mut root = Cli::command();
    root.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(root.clone()).render(&mut page)?;
    for command in root.get_subcommands().filter(|c| !c.is_hide_set()) {
        let man = clap_mangen::Man::new(command.clone());
        page.extend(format!(".SH \"REGATTA {}\"\n", command.get_name().to_uppercase()).bytes());
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        man.render_extra_section(&mut page)?;
        for verb in command.get_subcommands() {
            let (name, of) = (verb.get_name().to_uppercase(), command.get_name().to_uppercase());
            let man = clap_mangen::Man::new(verb.clone());
            page.extend(format!(".SH \"REGATTA {of} {name}\"\n").bytes());
            man.render_description_section(&mut page)?;
            man.render_options_section(&mut page)?;
        }
    }
    Ok(page)
}

/// What is typed, for tests of commands.
#[cfg(test)]
pub(crate) fn typed(line: &str) -> Cli {
    Cli::parse_from(std::iter::once("regatta").chain(line.split_whitespace()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("regatta").chain(line.split_whitespace()))
    }

    fn run(line: &str) -> Run {
        match parse(line).unwrap().verb {
            Some(Verb::Run(run)) => run,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn testrs_spellings_work() {
        assert_eq!(run("run --concurrency=2").concurrency, 2);
        assert_eq!(run("run --concurrency 2 --concurrency 3").concurrency, 3);
        assert_eq!(run("run --conc -1").concurrency, -1);
        assert!(run("run --para --para").parallel);
        assert!(parse("run --par").is_err(), "parallel or partial?");
        let typed = run("run one --parallel two -- --verbose -x");
        assert!(typed.parallel);
        assert_eq!(typed.selection.filters, ["one", "two"]);
        assert_eq!(typed.selection.test_args, ["--verbose", "-x"]);
        assert!(parse("-q run").unwrap().global.quiet && parse("run -q").unwrap().global.quiet);
        assert_eq!(parse("stats --here=x").unwrap().global.here, Some("x".into()));
        assert_eq!(parse("-d x stats").unwrap().global.here, Some("x".into()));
    }

    #[test]
    fn what_is_too_much_is_known() {
        assert_eq!(parse("stats extra").unwrap().verb.unwrap().superfluous(), ["extra"]);
        assert_eq!(parse("run a -- b -- c").unwrap().verb.unwrap().superfluous(), ["--", "c"]);
        assert!(parse("run a -- b").unwrap().verb.unwrap().superfluous().is_empty());
    }

    #[test]
    fn every_key_of_the_configuration_is_explained() {
        let help = help(Some("run")).unwrap();
        for line in include_str!("../.testr.conf.example").lines() {
            let key = line.trim_start_matches(['#', ' ']).split(['=', ' ']).next().unwrap_or_default();
            if line.contains('=') && !line.starts_with(' ') && key.contains('_') {
                let is_there = help.contains(key) || help.contains(&format!("--{}", key.replace('_', "-")));
                assert!(is_there, "{key} is not in the help of run");
            }
        }
    }
}
