//! Random small ini texts, read by Python's `configparser.ConfigParser` and by `Config`: the same options and values, or an
//! error of the same class.
//!
//! `REGATTA_TEST_PYTHON` names the Python (default `python3`), `REGATTA_TEST_CASES` how many texts (default 6000),
//! `REGATTA_TEST_SEED` where to begin.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use regatta::config::{Config, ConfigError};

/// A line of hexadecimal bytes in, a line out: `E class`, or `O` and `key=value` pairs, a value being `+text` or `-class`.
const READER: &str = r#"
import sys, io, re, configparser
# What it is since 3.10; before, a name ended at the first bracket.
configparser.ConfigParser.SECTCRE = re.compile(r"\[(?P<header>.+)\]")
texts = sys.stdin.read().split("\n")[:-1]
hexed = lambda text: text.encode("utf-8").hex()
for text in texts:
    parser = configparser.ConfigParser()
    try:
        # The way in which read() opens a file, but for the file.
        parser.read_file(io.TextIOWrapper(io.BytesIO(bytes.fromhex(text)), encoding="utf-8"))
    except Exception as e:
        print("E", type(e).__name__)
        continue
    options = []
    for key in parser.defaults():
        try:
            value = "+" + hexed(parser.get("DEFAULT", key))
        except Exception as e:
            value = "-" + type(e).__name__
        options.append(hexed(key) + "=" + value)
    print("O", " ".join(options))
"#;

/// What either side read: options with a value or the class of its error, or the class of the file's error.
type Reading = Result<BTreeMap<String, Result<String, String>>, String>;

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
fn random_texts_are_read_as_python_reads_them() {
    let python = std::env::var("REGATTA_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let seed = number_from_env("REGATTA_TEST_SEED", 1);
    let cases = number_from_env("REGATTA_TEST_CASES", 6000);
    let texts: Vec<Vec<u8>> = (seed..seed + cases).map(text).collect();
    let Some(theirs) = read_by_python(&python, &texts) else {
        assert!(std::env::var_os("CI").is_none(), "{python} cannot be run, and under CI it has to be there");
        eprintln!("SKIPPED: {python} cannot be run, so nothing was compared with Python's configparser");
        return;
    };
    assert_eq!(theirs.len(), texts.len());
    let mut tally = BTreeMap::<String, usize>::new();
    for (n, (text, theirs)) in texts.iter().zip(theirs).enumerate() {
        let ours = read_by_us(text);
        let shown = String::from_utf8_lossy(text);
        assert_eq!(ours, theirs, "regatta (left) and Python (right) on seed {}:\n{shown}\n{shown:?}", seed + n as u64);
        match theirs {
            Err(class) => *tally.entry(class).or_default() += 1,
            Ok(options) => {
                *tally.entry("read".to_owned()).or_default() += 1;
                for value in options.into_values() {
                    *tally.entry(value.map_or_else(|class| class, |_| "values".to_owned())).or_default() += 1;
                }
            }
        }
    }
    eprintln!("{tally:?}");
    for class in
        ["read", "values", "MissingSectionHeaderError", "DuplicateSectionError", "DuplicateOptionError", "ParsingError"]
    {
        assert!(tally.contains_key(class), "no text led to {class}: {tally:?}");
    }
}

fn read_by_us(text: &[u8]) -> Reading {
    let config = Config::parse(text, Path::new(".testr.conf")).map_err(|e| class(&e).to_owned())?;
    let value = |key: &str| {
        config.get(key).map(|value| value.expect("it is one of the keys")).map_err(|e| class(&e).to_owned())
    };
    Ok(config.keys().map(|key| (key.to_owned(), value(key))).collect())
}

fn class(error: &ConfigError) -> &'static str {
    match error {
        ConfigError::NotUtf8 { .. } => "UnicodeDecodeError",
        ConfigError::NoSection { .. } => "MissingSectionHeaderError",
        ConfigError::DuplicateSection { .. } => "DuplicateSectionError",
        ConfigError::DuplicateOption { .. } => "DuplicateOptionError",
        ConfigError::NotAnOption { .. } => "ParsingError",
        ConfigError::BadPercent { .. } => "InterpolationSyntaxError",
        ConfigError::NoSuchKey { .. } => "InterpolationMissingOptionError",
        ConfigError::TooDeep { .. } => "InterpolationDepthError",
        other => panic!("reading bytes cannot end in {other:?}"),
    }
}

/// None where there is no such Python.
fn read_by_python(python: &str, texts: &[Vec<u8>]) -> Option<Vec<Reading>> {
    let mut child = Command::new(python)
        .args(["-X", "utf8", "-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = String::new();
    for text in texts {
        text.iter().for_each(|byte| write!(input, "{byte:02x}").expect("a string takes it"));
        input.push('\n');
    }
    // It prints nothing before it has read all.
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("python3 reads");
    let output = child.wait_with_output().expect("python3 ends");
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).expect("it is ASCII").lines().map(reading).collect())
}

fn reading(line: &str) -> Reading {
    let (kind, rest) = line.split_once(' ').expect("a kind and a space");
    if kind == "E" {
        return Err(rest.to_owned());
    }
    let option = |pair: &str| {
        let (key, value) = pair.split_once('=').expect("key=value");
        let value = match value.strip_prefix('+') {
            Some(text) => Ok(unhex(text)),
            None => Err(value[1..].to_owned()),
        };
        (unhex(key), value)
    };
    Ok(rest.split_whitespace().map(option).collect())
}

fn unhex(text: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits");
    String::from_utf8((0..text.len()).step_by(2).map(byte).collect()).expect("UTF-8")
}

const ENDS: &[&str] = &["\n", "\n", "\n", "\n", "\n", "\r\n", "\r", "\n\n", "\n \n", "\r\r\n"];
const INDENTS: &[&str] = &["", "", "", "", " ", "\t", "   ", "\u{a0}", "\u{1c} ", "\u{2028}\u{c}"];
const KEYS: &[&str] =
    &["a", "b", "c", "A", "d", "e", "f", "g", "h", "i", "j", "é", "İ", "ΑΣ", "[a", "a b", "|a", "", "#a", "a\u{1f}"];
const DELIMITERS: &[&str] = &["=", "=", ":", " = ", "\t:", "=:", "\u{1d}=\u{85}", ""];
const HEADERS: &[&str] = &[
    "[DEFAULT]",
    "[DEFAULT]",
    "[default]",
    "[ DEFAULT ]",
    "[x]",
    "[y]",
    "[x]y]",
    "[]",
    "[]]",
    "[DEFAULT",
    "[DEFAULT] a=1",
    "[x",
    "x]",
];
const WORDS: &[&str] = &[
    "x", "y=z", ":", "%%", "%(a)s", "%(b)s", "%(C)s", "%(d)s", "%(e)s", "%(f)s", "%(g)s", "%(h)s", "%(i)s", "%(j)s",
    "%(A)s", "%(é)s", "%", "%(", "%()s", "%(a)", "%(nope)s", " ", "  # no", ";", "#", "[x]", "|", "\u{b}", "\u{1e}",
    "\u{85}", "\u{feff}", "日本", "\0", "'",
];
const PLAIN: &[&str] =
    &["x", "y=z", ":", "%%", "%(a)s", " ", "#", ";", "[x]", "|", "\u{1e}", "\u{b}", "日本", "\0", "\\"];
const NOISE: &[&str] = &[
    "[DEFAULT]\n",
    "[",
    "]",
    "a",
    "B",
    "=",
    ":",
    " ",
    "\t",
    "\n",
    "\n",
    "\r",
    "\r\n",
    "#",
    ";",
    "%",
    "%%",
    "%(a)s",
    "(",
    ")s",
    "\u{1c}",
    "\u{85}",
    "\u{a0}",
    "\u{b}",
    "\u{c}",
    "\u{2029}",
    "\u{feff}",
    "é",
    "\0",
    "|",
    "[x]\n",
];

/// The text of a seed: mostly well-formed lines, sometimes noise.
fn text(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut text = String::new();
    if random.one_in(5) {
        if random.one_in(2) {
            text.push_str("[DEFAULT]\n");
        }
        (0..random.below(25)).for_each(|_| text.push_str(random.pick(NOISE)));
    } else {
        if !random.one_in(20) {
            text.push_str("[DEFAULT]\n");
        }
        // One of three draws each key once, so that long chains of references come to be read.
        let mut keys = if random.one_in(3) { KEYS[4..].to_vec() } else { Vec::new() };
        for _ in 0..random.below(14) {
            line(&mut random, &mut keys, &mut text);
        }
    }
    let mut bytes = text.into_bytes();
    if random.one_in(100) {
        bytes.insert(random.below(bytes.len() + 1), 0xb3);
    }
    bytes
}

fn line(random: &mut Random, keys: &mut Vec<&'static str>, text: &mut String) {
    match random.below(20) {
        0 if keys.is_empty() => text.push_str(random.pick(HEADERS)),
        1 | 2 => text.extend([random.pick(INDENTS), random.pick(&["#", ";", "# a=1", ";[x]"])]),
        3 | 4 => text.push_str(random.pick(INDENTS)),
        5..=9 => {
            text.extend([random.pick(&[" ", "\t", "  ", "    "]), random.pick(INDENTS)]);
            words(random, text);
        }
        _ => {
            let key = if keys.is_empty() { random.pick(KEYS) } else { keys.swap_remove(random.below(keys.len())) };
            let delimiter = if random.one_in(4) { random.pick(DELIMITERS) } else { "=" };
            text.extend([if random.one_in(4) { random.pick(INDENTS) } else { "" }, key, delimiter]);
            words(random, text);
        }
    }
    text.push_str(random.pick(ENDS));
}

fn words(random: &mut Random, text: &mut String) {
    let words = match random.below(4) {
        0 => &WORDS[..16],
        1 => WORDS,
        _ => PLAIN,
    };
    (0..random.below(4)).for_each(|_| text.push_str(random.pick(words)));
}

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Sebastiano Vigna's splitmix64: a seed names a text for ever, which no crate promises.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("it is below a usize")
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }
}
