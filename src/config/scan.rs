//! The lines of a `.testr.conf`: what each of them is, and what is wrong with them.
//!
//! Knows nothing of what keys mean. Called by `Config::parse` alone.
//!
//! The crate `configparser` reads the values. It differs from Python's module of that name in what it accepts and in what it
//! calls white space, a line, a section or a continuation, and its errors are bare text. So a first pass decides all that
//! line by line, as Python's `_read` does, finds the errors, and hands the crate a text in which there is nothing left to
//! differ about: see [`Plain`].

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use configparser::ini::{Ini, IniDefault};

use super::{ConfigError, RawOption};

/// The one section that testr reads, and the one that may come several times.
const DEFAULT: &str = "DEFAULT";

/// The options of `[DEFAULT]`, raw.
pub(super) fn read(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, RawOption>, ConfigError> {
    let mut scan = Scan::new(path);
    for (n, line) in lines(decode(bytes, path)?).enumerate() {
        scan.line(n + 1, line)?;
    }
    if let Some(stray) = scan.stray {
        return Err(stray);
    }
    Ok(scan.plain.read())
}

/// White space as Python's `str.strip` and `\s` see it, which is Unicode's and four separators of ASCII.
pub(super) fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn strip(text: &str) -> &str {
    text.trim_matches(is_python_space)
}

fn decode<'t>(bytes: &'t [u8], path: &Path) -> Result<&'t str, ConfigError> {
    std::str::from_utf8(bytes).map_err(|e| {
        let good = String::from_utf8_lossy(&bytes[..e.valid_up_to()]);
        ConfigError::NotUtf8 { path: path.to_owned(), line: lines(&good).count().max(1) }
    })
}

/// Lines as Python's universal newlines make them; of the many other line separators of Unicode it takes none.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            rest = None;
            return Some(text);
        };
        let after = &text[end..];
        rest = Some(after.strip_prefix("\r\n").unwrap_or(&after[1..]));
        Some(&text[..end])
    })
}

/// The state of Python's `_read` between two lines.
struct Scan<'t> {
    path: &'t Path,
    section: Option<&'t str>,
    /// Whether an option is open, so that a deeper line continues it.
    open: bool,
    /// In characters, of the last header or option.
    indent: usize,
    sections: HashMap<&'t str, usize>,
    options: HashMap<(&'t str, String), usize>,
    /// The first line that is no option. Python goes on reading after one, so that a duplicate further down wins.
    stray: Option<ConfigError>,
    plain: Plain,
}

impl<'t> Scan<'t> {
    fn new(path: &'t Path) -> Self {
        let (sections, options) = (HashMap::new(), HashMap::new());
        Self { path, section: None, open: false, indent: 0, sections, options, stray: None, plain: Plain::default() }
    }

    fn line(&mut self, n: usize, line: &'t str) -> Result<(), ConfigError> {
        let text = strip(line);
        if text.starts_with(['#', ';']) {
            return Ok(());
        }
        let in_default = self.section == Some(DEFAULT);
        if text.is_empty() {
            if self.open && in_default {
                self.plain.push_blank(n);
            }
            return Ok(());
        }
        let indent = line.chars().take_while(|c| is_python_space(*c)).count();
        if self.open && indent > self.indent {
            if in_default {
                self.plain.push_continuation(n, text);
            }
            return Ok(());
        }
        self.indent = indent;
        if let Some(name) = header(text) {
            return self.header(n, name);
        }
        match self.section {
            None => Err(ConfigError::NoSection { path: self.path.to_owned(), line: n, text: text.to_owned() }),
            Some(section) => self.option(n, section, text),
        }
    }

    fn header(&mut self, n: usize, name: &'t str) -> Result<(), ConfigError> {
        self.section = Some(name);
        self.open = false;
        if name != DEFAULT
            && let Some(first) = self.sections.insert(name, n)
        {
            let (path, section) = (self.path.to_owned(), name.to_owned());
            return Err(ConfigError::DuplicateSection { path, line: n, section, first });
        }
        Ok(())
    }

    fn option(&mut self, n: usize, section: &'t str, text: &str) -> Result<(), ConfigError> {
        let split = text.split_once(['=', ':']);
        let key = split.map_or("", |(key, _)| strip(key)).to_lowercase();
        if key.is_empty() && self.stray.is_none() {
            self.stray = Some(ConfigError::NotAnOption { path: self.path.to_owned(), line: n, text: text.to_owned() });
        }
        // A line without `=` leaves the option before it open, one without a key closes it: it matters to what the next
        // lines are, and so to which error is found.
        let Some((_, value)) = split else { return Ok(()) };
        self.open = !key.is_empty();
        if section == DEFAULT {
            self.plain.push_option(n, &key, strip(value));
        }
        if let Some(first) = self.options.insert((section, key.clone()), n) {
            let (path, section) = (self.path.to_owned(), section.to_owned());
            return Err(ConfigError::DuplicateOption { path, line: n, section, key, first });
        }
        Ok(())
    }
}

/// `[name]` at the start of a line; what stands behind the last `]` is ignored, spaces inside count.
fn header(text: &str) -> Option<&str> {
    let name = text.strip_prefix('[')?;
    let end = name.rfind(']')?;
    (end > 0).then(|| &name[..end])
}

/// `[DEFAULT]` again, in the part of the dialect that the crate and Python agree on: line ends are `\n`, there are no comments,
/// options begin at the margin as `key=value`, continuations are one blank in.
///
/// A [`MARK`] before each key and each continuation keeps the crate from taking what begins with `[` for a section.
#[derive(Default)]
struct Plain {
    text: String,
    lines: Vec<Vec<usize>>,
    keys: Vec<String>,
}

const MARK: char = '|';

impl Plain {
    fn push_option(&mut self, n: usize, key: &str, value: &str) {
        self.text.extend([&MARK.to_string(), key, "=", value, "\n"]);
        self.keys.push(key.to_owned());
        self.lines.push(vec![n]);
    }

    fn push_continuation(&mut self, n: usize, text: &str) {
        self.text.extend([" ", &MARK.to_string(), text, "\n"]);
        self.note(n);
    }

    fn push_blank(&mut self, n: usize) {
        self.text.push('\n');
        self.note(n);
    }

    fn note(&mut self, n: usize) {
        self.lines.last_mut().expect("only an open option has more lines").push(n);
    }

    fn read(self) -> BTreeMap<String, RawOption> {
        let mut dialect = IniDefault::default();
        dialect.default_section = DEFAULT.to_owned();
        dialect.comment_symbols = Vec::new();
        dialect.inline_comment_symbols = Some(Vec::new());
        dialect.delimiters = vec!['='];
        dialect.case_sensitive = true;
        dialect.multiline = true;
        dialect.enable_inline_comments = false;
        let mut ini = Ini::new_from_defaults(dialect);
        let sections =
            ini.read(self.text).expect("every line is blank, `|key=value` with a key, or an indented continuation");
        let mut lines: HashMap<String, Vec<usize>> = self.keys.into_iter().zip(self.lines).collect();
        let options = sections.into_values().flatten();
        let unmark = |(key, value): (String, Option<String>)| {
            let key = key.strip_prefix(MARK).expect("every key was marked").to_owned();
            let text = value.unwrap_or_default().replace(&format!("\n{MARK}"), "\n");
            let lines = lines.remove(&key).unwrap_or_default();
            (key, RawOption { text, lines })
        };
        options.map(unmark).collect()
    }
}
