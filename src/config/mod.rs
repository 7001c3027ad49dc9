//! `.testr.conf`: its text becomes a [`Config`], in the dialect of Python's `configparser.ConfigParser`, since that is
//! what testr reads it with and what people wrote their files for.  (pure)
//!
//! Opens no file and starts nothing: bytes come in, strings go out. Called by the commands.

mod commands;
mod error;
mod interpolate;
mod scan;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use commands::{Commands, OPTIONAL};
pub use error::ConfigError;
pub use settings::{Keep, NoTests, NotRun, Schedule, Settings};

/// The options of `[DEFAULT]`, which is all that testr looks at. `%` is worked out when a key is asked for, as
/// `ConfigParser` does, so that a bad one in a key which nobody needs harms nobody.
#[derive(Debug, Clone)]
pub struct Config {
    path: PathBuf,
    options: BTreeMap<String, RawOption>,
}

/// One option before interpolation.
#[derive(Debug, Clone)]
struct RawOption {
    text: String,
    /// The line in the file of each line of `text`, counted from 1; there may be more of these than of those.
    lines: Vec<usize>,
}

impl RawOption {
    /// The line in the file of a place in `text`.
    fn line_at(&self, offset: usize) -> usize {
        let nth = self.text[..offset].matches('\n').count();
        self.lines.get(nth).or(self.lines.last()).copied().unwrap_or(1)
    }
}

impl Config {
    /// Read the bytes of a `.testr.conf`; `path` is only for messages.
    ///
    /// # Errors
    /// What makes `ConfigParser.read` raise: text that is not UTF-8, an option before any `[section]`, a section or an
    /// option that comes twice, a line that is no option. All sections count, not only `[DEFAULT]`.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, ConfigError> {
        Ok(Self { path: path.to_owned(), options: scan::read(text, path)? })
    }

    /// Where this was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys there are, in lower case and in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.options.keys().map(String::as_str)
    }

    /// The value of a key (in any case) with `%(name)s` and `%%` replaced; none where the file has no such key. Lines of
    /// a value are joined by `\n`.
    ///
    /// # Errors
    /// When a `%` in it is neither, or leads to a key that does not exist, or leads on more than ten times.
    pub fn get(&self, key: &str) -> Result<Option<String>, ConfigError> {
        let key = key.to_lowercase();
        let Some(option) = self.options.get(&key) else { return Ok(None) };
        interpolate::expand(self, &key, option).map(Some)
    }

    /// The line that a key (in any case) begins on, counted from 1.
    #[must_use]
    pub fn line_of(&self, key: &str) -> Option<usize> {
        self.options.get(&key.to_lowercase()).map(|option| option.line_at(0))
    }

    /// `filter_tags`: words with white space between them; none where there is no such key.
    ///
    /// # Errors
    /// As [`Config::get`].
    pub fn filter_tags(&self) -> Result<BTreeSet<String>, ConfigError> {
        let tags = self.get("filter_tags")?.unwrap_or_default();
        Ok(tags.split(scan::is_python_space).filter(|tag| !tag.is_empty()).map(str::to_owned).collect())
    }

    /// `test_run_concurrency`: the callout that prints how many runners to start. Apart from [`Commands`] because testr
    /// asks for it only under `--parallel` without `--concurrency`, and a bad `%` in it is no error in any other run.
    ///
    /// # Errors
    /// As [`Config::get`].
    pub fn test_run_concurrency(&self) -> Result<Option<String>, ConfigError> {
        self.get("test_run_concurrency")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text.as_bytes(), Path::new("x/.testr.conf"))
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let config = config(text).unwrap();
        let read: Vec<_> = config.keys().map(|k| (k.to_owned(), config.get(k).unwrap().unwrap())).collect();
        let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(read, expected, "{text:?}");
    }

    #[track_caller]
    fn check_error(text: &[u8], expected: &str) {
        assert_eq!(Config::parse(text, Path::new("x/.testr.conf")).unwrap_err().to_string(), expected);
    }

    #[test]
    fn keys_and_values() {
        check(
            "[DEFAULT]\nTest_Command = a = b : c \nx:1=2\ny=\n",
            &[("test_command", "a = b : c"), ("x", "1=2"), ("y", "")],
        );
        check("[DEFAULT]\na=1 # not a comment ; nor this\n#b=2\n  ;c=3\n", &[("a", "1 # not a comment ; nor this")]);
        check("[DEFAULT] and more\r\na=1\rb=2\n", &[("a", "1"), ("b", "2")]);
        check("[DEFAULT]\na=1\n[other]\na=2\n[DEFAULT]\nb=3\n[default]\nc=4\n", &[("a", "1"), ("b", "3")]);
        check("[DEFAULT]\n[odd=1\n", &[("[odd", "1")]);
        check("", &[]);
    }

    #[test]
    fn values_of_several_lines() {
        check("[DEFAULT]\na=\n  x \\\n  y\n", &[("a", "\nx \\\ny")]);
        check("[DEFAULT]\na=x\n\n  y\n\n\nb=z\n", &[("a", "x\n\ny"), ("b", "z")]);
        check("[DEFAULT]\na=x\n  # gone\n; too\n  y\n", &[("a", "x\ny")]);
        check("[DEFAULT]\na=set -e\n [ -d x ] || mkdir x\n |y=z\n", &[("a", "set -e\n[ -d x ] || mkdir x\n|y=z")]);
        check("[DEFAULT]\n  a=x\n  b=y\n   c=z\n d=1\n", &[("a", "x"), ("b", "y\nc=z"), ("d", "1")]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let not_here = "x/.testr.conf: line 1: \"a=1\" stands before any section";
        check_error(b"a=1\n[DEFAULT]\n", not_here);
        check_error(
            "\u{feff}[DEFAULT]\na=1\n".as_bytes(),
            "x/.testr.conf: line 1: a byte order mark stands before any section",
        );
        check_error(
            b"[DEFAULT]\na=1\n\nA=2\n",
            "x/.testr.conf: line 4: option \"a\" of [DEFAULT] is there already, on line 2",
        );
        check_error(b"[x]\n[y]\n[x]\n", "x/.testr.conf: line 3: section [x] is there already, on line 1");
        check_error(b"[DEFAULT]\na=1\nnonsense\nmore\n", "x/.testr.conf: line 3: \"nonsense\" is not an option");
        check_error(b"[DEFAULT]\r\na=1\r=2\n", "x/.testr.conf: line 3: \"=2\" is not an option");
        check_error(b"[DEFAULT]\r\na=1\rb=\xff\n", "x/.testr.conf: line 3 is not UTF-8");
    }

    #[test]
    fn percent_is_looked_at_when_a_key_is_asked_for() {
        check("[DEFAULT]\na=%%d %(B)s\nb=<%(c)s>\nc=%%\n", &[("a", "%d <%>"), ("b", "<%>"), ("c", "%")]);
        let config =
            config("[DEFAULT]\ngood=1\ndate=x\n # that\n\n `date +%s`\nfar=%(date)s\nlost=%(nope)s\nloop=%(LOOP)s\n")
                .unwrap();
        assert_eq!(config.get("GOOD").unwrap().as_deref(), Some("1"));
        assert_eq!(config.get("none").unwrap(), None);
        let error = |key: &str| config.get(key).unwrap_err().to_string();
        assert_eq!(error("date"), "x/.testr.conf: line 6: date has a single \"%\" in it (\"%s`\")");
        assert_eq!(
            error("far"),
            "x/.testr.conf: line 6: date (which far is made from) has a single \"%\" in it (\"%s`\")"
        );
        assert_eq!(error("lost"), "x/.testr.conf: line 8: lost refers to %(nope)s, but there is no such key");
        assert_eq!(error("loop"), "x/.testr.conf: line 9: loop refers to other keys more than 10 deep");
        assert!(config.get("date").unwrap_err().hint().unwrap().contains("%%"));
    }

    #[test]
    fn keys_know_their_lines_and_tags_are_words() {
        let config = config("[DEFAULT]\n\nfilter_tags = b\n  a b\n").unwrap();
        assert_eq!(config.line_of("Filter_Tags"), Some(3));
        assert_eq!(config.line_of("x"), None);
        assert_eq!(config.filter_tags().unwrap().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn the_example_names_every_key() {
        let example = include_str!("../../.testr.conf.example");
        let config = config(example).unwrap();
        let testrs = [
            "filter_tags",
            "group_regex",
            "instance_dispose",
            "instance_execute",
            "instance_provision",
            "test_command",
            "test_id_list_default",
            "test_id_option",
            "test_list_option",
            "test_run_concurrency",
        ];
        let mut keys: Vec<&str> = testrs.into_iter().chain(OPTIONAL).chain(Settings::keys()).collect();
        keys.sort_unstable();
        assert_eq!(config.keys().collect::<Vec<_>>(), keys);
        for key in keys {
            assert!(config.get(key).unwrap().is_some(), "{key}");
        }
        let commands = Commands::from_config(&config).unwrap();
        commands.require_listing(&commands.test_template(&[])).unwrap();
        let settings = Settings::new(&config, &[]).unwrap();
        assert_eq!(settings, Settings { replace_limit: Some(4), ..Settings::default() }, "the defaults");
    }
}
