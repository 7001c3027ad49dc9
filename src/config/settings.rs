//! How a run is to be carried out: every key that is regatta's own, with its default.
//!
//! A key is spelled with underscores in `[DEFAULT]`, its option with hyphens on the command line, where it wins. testr
//! ignores keys that it does not know, so one file serves both. One table of parsers serves both spellings.

use std::time::Duration;

use super::{Config, ConfigError};

/// How tests are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// One batch for each worker, decided before the run, as testr does.
    Static,
    /// Batches are handed out as instances become free.
    Dynamic,
}

/// What to do about something that may be a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRun {
    /// Tests that gave no result are told.
    Warn,
    /// They fail.
    Fail,
}

/// What a listing without any test means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTests {
    /// The run passed.
    Pass,
    /// Something is wrong.
    Fail,
}

/// Which instances are not disposed of at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All.
    Always,
    /// Those on which a test failed.
    Failed,
    /// None.
    Never,
}

/// The settings of a run. Times are from the start of what they limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How tests are shared out.
    pub schedule: Schedule,
    /// A test that has cost so many runners is not run again; at least 1.
    pub lost_limit: u32,
    /// How many instances may be replaced; nothing is as many as run at once.
    pub replace_limit: Option<usize>,
    /// How often a test that failed is run again.
    pub retries: u32,
    /// How long a test may take.
    pub test_timeout: Option<Duration>,
    /// How long an execute callout may write nothing.
    pub no_output_timeout: Option<Duration>,
    /// How long a run may take.
    pub max_duration: Option<Duration>,
    /// The run stops when so many tests have failed; at least 1.
    pub max_fail: Option<u64>,
    /// What tests without a result mean.
    pub not_run: NotRun,
    /// What an empty listing means.
    pub no_tests: NoTests,
    /// `instance_ids=streamed`: an instance is used when its id is printed, while others are still made.
    pub ids_streamed: bool,
    /// `instance_release=early`: an instance is given back when there is no work left for it.
    pub release_early: bool,
    /// How long to wait for `instance_ready`.
    pub ready_limit: Duration,
    /// How long `instance_check` may take.
    pub check_limit: Duration,
    /// How long `instance_kill` may take.
    pub kill_limit: Duration,
    /// How long `instance_collect` may take.
    pub collect_limit: Duration,
    /// How long `instance_provision` may take.
    pub provision_limit: Option<Duration>,
    /// How long `instance_dispose` may take.
    pub dispose_limit: Option<Duration>,
    /// From TERM to KILL.
    pub grace: Duration,
    /// Which instances are kept.
    pub keep: Keep,
    /// For how long.
    pub keep_for: Duration,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Default for Settings {
    fn default() -> Self {
        Self {
            schedule: Schedule::Dynamic,
            lost_limit: 2,
            replace_limit: None,
            retries: 0,
            test_timeout: None,
            no_output_timeout: None,
            max_duration: None,
            max_fail: None,
            not_run: NotRun::Warn,
            no_tests: NoTests::Fail,
            ids_streamed: false,
            release_early: false,
            ready_limit: 2 * MINUTE,
            check_limit: MINUTE / 2,
            kill_limit: MINUTE / 2,
            collect_limit: 2 * MINUTE,
            provision_limit: None,
            dispose_limit: Some(10 * MINUTE),
            grace: Duration::from_secs(3),
            keep: Keep::Never,
            keep_for: 8 * 60 * MINUTE,
        }
    }
}

/// A setter, which says what it expects when it cannot take the value.
type Set = fn(&mut Settings, &str) -> Result<(), &'static str>;

const TIME: &str = "a time such as 90, 90s, 2min or 1h 30min";
const TIME_OR_NONE: &str = "a time such as 90, 90s, 2min or 1h 30min, or none";
const COUNT: &str = "a number, 1 or more";

/// Every key. Their options are the same with hyphens.
const KEYS: &[(&str, Set)] = &[
    ("schedule", |s, v| {
        choose(v, &[("static", Schedule::Static), ("dynamic", Schedule::Dynamic)], "static or dynamic", &mut s.schedule)
    }),
    ("lost_limit", |s, v| positive(v, &mut s.lost_limit)),
    ("replace_limit", |s, v| v.parse().map(|n| s.replace_limit = Some(n)).map_err(|_| "a number, 0 or more")),
    ("retries", |s, v| v.parse().map(|n| s.retries = n).map_err(|_| "a number, 0 or more")),
    ("test_timeout", |s, v| optional(v, &mut s.test_timeout)),
    ("no_output_timeout", |s, v| optional(v, &mut s.no_output_timeout)),
    ("max_duration", |s, v| optional(v, &mut s.max_duration)),
    ("max_fail", |s, v| match v {
        "none" => {
            s.max_fail = None;
            Ok(())
        }
        v => {
            let mut n = 0;
            positive(v, &mut n)?;
            s.max_fail = Some(n);
            Ok(())
        }
    }),
    ("not_run", |s, v| choose(v, &[("warn", NotRun::Warn), ("fail", NotRun::Fail)], "warn or fail", &mut s.not_run)),
    ("no_tests", |s, v| {
        choose(v, &[("pass", NoTests::Pass), ("fail", NoTests::Fail)], "pass or fail", &mut s.no_tests)
    }),
    ("instance_ids", |s, v| {
        choose(v, &[("at_end", false), ("streamed", true)], "at_end or streamed", &mut s.ids_streamed)
    }),
    ("instance_release", |s, v| choose(v, &[("end", false), ("early", true)], "end or early", &mut s.release_early)),
    ("ready_limit", |s, v| time(v, &mut s.ready_limit)),
    ("check_limit", |s, v| time(v, &mut s.check_limit)),
    ("kill_limit", |s, v| time(v, &mut s.kill_limit)),
    ("collect_limit", |s, v| time(v, &mut s.collect_limit)),
    ("provision_limit", |s, v| optional(v, &mut s.provision_limit)),
    ("dispose_limit", |s, v| optional(v, &mut s.dispose_limit)),
    ("grace", |s, v| time(v, &mut s.grace)),
    ("keep", |s, v| {
        choose(
            v,
            &[("always", Keep::Always), ("failed", Keep::Failed), ("never", Keep::Never)],
            "always, failed or never",
            &mut s.keep,
        )
    }),
    ("keep_for", |s, v| time(v, &mut s.keep_for)),
];

impl Settings {
    /// The names of all keys.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        KEYS.iter().map(|(key, _)| *key)
    }

    /// The settings of a configuration, with those of the command line, as keys and values, above them.
    ///
    /// # Errors
    /// When a value is not what its key takes: named with its line in the file, or as the option it is.
    pub fn new(config: &Config, options: &[(&'static str, String)]) -> Result<Self, ConfigError> {
        Self::default().with(config, options)
    }

    /// The same over other defaults.
    ///
    /// # Errors
    /// As [`Settings::new`].
    pub fn with(self, config: &Config, options: &[(&'static str, String)]) -> Result<Self, ConfigError> {
        let mut settings = self;
        for (key, set) in KEYS {
            let Some(value) = config.get(key)? else { continue };
            set(&mut settings, value.trim()).map_err(|expected| ConfigError::BadValue {
                place: format!("{}: line {}: {key}", config.path().display(), config.line_of(key).unwrap_or(1)),
                value,
                expected,
            })?;
        }
        settings.apply(options)?;
        Ok(settings)
    }

    /// Put the values of options over what is there.
    ///
    /// # Errors
    /// When a value is not what its option takes.
    pub fn apply(&mut self, options: &[(&'static str, String)]) -> Result<(), ConfigError> {
        for (key, value) in options {
            let set = KEYS.iter().find(|(name, _)| name == key).map(|(_, set)| set);
            let option = || format!("--{}", key.replace('_', "-"));
            let bad = |expected| ConfigError::BadOption { option: option(), value: value.clone(), expected };
            set.map_or(Ok(()), |set| set(self, value.trim())).map_err(bad)?;
        }
        Ok(())
    }
}

fn choose<T: Copy>(value: &str, choices: &[(&str, T)], expected: &'static str, to: &mut T) -> Result<(), &'static str> {
    let (_, chosen) = choices.iter().find(|(name, _)| *name == value).ok_or(expected)?;
    *to = *chosen;
    Ok(())
}

fn positive<T: std::str::FromStr + PartialOrd + From<u8>>(value: &str, to: &mut T) -> Result<(), &'static str> {
    *to = value.parse().ok().filter(|n| *n >= T::from(1)).ok_or(COUNT)?;
    Ok(())
}

fn time(value: &str, to: &mut Duration) -> Result<(), &'static str> {
    *to = duration(value).ok_or(TIME)?;
    Ok(())
}

fn optional(value: &str, to: &mut Option<Duration>) -> Result<(), &'static str> {
    *to = if value == "none" { None } else { Some(duration(value).ok_or(TIME_OR_NONE)?) };
    Ok(())
}

/// A number is seconds; anything else is as the crate `humantime` reads it.
fn duration(value: &str) -> Option<Duration> {
    match value.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(value).ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(text: &str, options: &[(&'static str, &str)]) -> Result<Settings, String> {
        let config = Config::parse(format!("[DEFAULT]\n{text}").as_bytes(), Path::new(".testr.conf")).unwrap();
        let options: Vec<_> = options.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Settings::new(&config, &options).map_err(|error| error.to_string())
    }

    #[test]
    fn an_option_is_above_its_key_and_a_key_above_the_default() {
        assert_eq!(settings("", &[]).unwrap(), Settings::default());
        let set = settings("retries=1\ntest_timeout = 2min\nlost_limit=3\n", &[("retries", "4"), ("grace", "0.5")]);
        let expected = Settings {
            retries: 4,
            test_timeout: Some(Duration::from_secs(120)),
            lost_limit: 3,
            grace: Duration::from_millis(500),
            ..Settings::default()
        };
        assert_eq!(set.unwrap(), expected);
    }

    #[test]
    fn every_key_takes_what_its_error_names() {
        for (key, _) in KEYS {
            let error = settings("", &[(key, "?")]).unwrap_err();
            let expected = error.split(" takes ").nth(1).unwrap_or_else(|| panic!("{error}"));
            let example = match expected {
                COUNT | "a number, 0 or more" => "7",
                TIME | TIME_OR_NONE => "1h 30min",
                words => words.rsplit(' ').next().unwrap(),
            };
            settings(&format!("{key}={example}"), &[]).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn a_bad_value_is_named_with_its_place() {
        let said = settings("\nretries=many\n", &[]).unwrap_err();
        assert_eq!(said, ".testr.conf: line 3: retries is \"many\", but takes a number, 0 or more");
        let said = settings("", &[("max_fail", "0")]).unwrap_err();
        assert_eq!(said, "--max-fail is \"0\", but takes a number, 1 or more");
        assert!(settings("grace=-1", &[]).is_err() && settings("grace=1e99", &[]).is_err());
    }
}
