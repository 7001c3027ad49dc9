//! Random patterns tried on random ids, by Python's `re` and by `Pattern`: both take a pattern or neither does, a fault is
//! found at the same position, and `search` and `match` find the same.
//!
//! What regatta does not take is an error of its own, by name, and never a different match.
//! `REGATTA_TEST_PYTHON` names the Python (default `python3`; of version 3.11 or later), `REGATTA_TEST_CASES` how many
//! patterns (default 2500), `REGATTA_TEST_SEED` where to begin.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use regatta::pattern::{Anchor, Pattern, PatternError};

/// A pattern and its ids in a line, in hexadecimal bytes. `E position`, or `O` and what `search` and `match` found in each,
/// being `start+text` or `-`; `T` where it took too long, and
/// `B` where Python broke (`++` after a group that can be empty). The first line is the version.
const READER: &str = r#"
import re, signal, sys
class TooLong(Exception): pass
def alarm(*_): raise TooLong
signal.signal(signal.SIGALRM, alarm)
def shown(found):
    if found is None:
        return "-"
    return "%d+%s" % (len(found.string[:found.start()].encode()), found.group(0).encode().hex())
cases = sys.stdin.read().split("\n")[:-1]
print("%d.%d" % sys.version_info[:2])
for case in cases:
    pattern, *ids = [bytes.fromhex(word).decode() for word in case.split(",")]
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        compiled = re.compile(pattern)
    except Exception as e:
        position = getattr(e, "pos", None)
        print("E", "-" if position is None else position)
        continue
    try:
        print("O", *[shown(find(text)) for text in ids for find in (compiled.search, compiled.match)])
    except TooLong:
        print("T -")
    except SystemError:
        print("B -")
    signal.setitimer(signal.ITIMER_REAL, 0)
"#;

/// The oldest Python with the language that regatta reads.
const OLDEST: (u32, u32) = (3, 11);

/// What was found in an id: where and what.
type Found = Option<(usize, String)>;

#[derive(Debug, PartialEq)]
enum Verdict {
    /// By `search` and by `match`, for each id.
    Found(Vec<Found>),
    Fault(Option<usize>),
    TooLong,
    Unsupported(String),
}

struct Case {
    pattern: String,
    ids: Vec<String>,
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
fn random_patterns_find_what_python_finds() {
    let python = std::env::var("REGATTA_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let seed = number_from_env("REGATTA_TEST_SEED", 1);
    let cases = number_from_env("REGATTA_TEST_CASES", 2500);
    let cases: Vec<Case> = (seed..seed + cases).map(case).collect();
    let Some(theirs) = read_by_python(&python, &cases) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "there is no {python} of 3.11 or later, and under CI there has to be"
        );
        eprintln!("SKIPPED: there is no {python} of 3.11 or later, so nothing was compared with Python's re");
        return;
    };
    assert_eq!(theirs.len(), cases.len());
    let mut tally = BTreeMap::<String, usize>::new();
    let mut count = |what: &str, n: usize| *tally.entry(what.to_owned()).or_default() += n;
    let mut wrong = 0;
    for (n, (case, theirs)) in cases.iter().zip(theirs).enumerate() {
        let ours = read_by_us(case);
        let agree = match (&ours, &theirs) {
            (Verdict::Fault(at), Verdict::Fault(position)) => {
                count("not a pattern", 1);
                position.is_none() || at == position
            }
            (Verdict::Unsupported(what), _) | (_, Verdict::Unsupported(what)) => {
                count(&format!("unsupported: {what}"), 1);
                count("unsupported", 1);
                true
            }
            (Verdict::TooLong, _) | (_, Verdict::TooLong) => {
                count("took too long", 1);
                true
            }
            (ours, theirs) => {
                if let Verdict::Found(found) = theirs {
                    count("a pattern", 1);
                    count("texts tried", found.len());
                    count("matches", found.iter().flatten().count());
                }
                ours == theirs
            }
        };
        if !agree {
            wrong += 1;
            eprintln!(
                "seed {}: {:?}\n  ids {:?}\n  regatta {ours:?}\n  Python  {theirs:?}",
                seed + n as u64,
                case.pattern,
                case.ids
            );
        }
        assert!(wrong < 20, "and more");
    }
    eprintln!("{tally:#?}");
    assert_eq!(wrong, 0, "patterns on which regatta and Python differ");
    let count = |what: &str| tally.get(what).copied().unwrap_or_default();
    assert!(count("a pattern") > cases.len() / 3, "too few are patterns");
    assert!(count("matches") * 8 > count("texts tried"), "too few match");
    assert!(count("unsupported") * 10 < cases.len(), "too many are not supported");
    assert!(count("took too long") * 1000 <= cases.len(), "too many take too long");
}

fn read_by_us(case: &Case) -> Verdict {
    let compiled = [Anchor::Anywhere, Anchor::Start].map(|anchor| Pattern::new(&case.pattern, anchor));
    let [search, from_start] = match compiled {
        [Ok(search), Ok(from_start)] => [search, from_start],
        [Err(PatternError::Syntax { place, .. }), _] => return Verdict::Fault(Some(place.position)),
        [Err(PatternError::Unsupported { construct, .. }), _] => {
            return Verdict::Unsupported(format!("{construct:?}"));
        }
        [Err(error), _] | [_, Err(error)] => return Verdict::Unsupported(error.to_string()),
    };
    let mut all = Vec::new();
    for id in &case.ids {
        for pattern in [&search, &from_start] {
            let Ok(found) = pattern.find(id) else { return Verdict::TooLong };
            // Where it is, besides what it is.
            let start = |text: &str| text.as_ptr() as usize - id.as_ptr() as usize;
            all.push(found.map(|text| (start(text), text.to_owned())));
        }
    }
    Verdict::Found(all)
}

/// None where there is no such Python.
fn read_by_python(python: &str, cases: &[Case]) -> Option<Vec<Verdict>> {
    let mut child = Command::new(python)
        .args(["-X", "utf8", "-W", "ignore", "-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = String::new();
    for case in cases {
        for (n, text) in std::iter::once(&case.pattern).chain(&case.ids).enumerate() {
            input.push_str(if n > 0 { "," } else { "" });
            text.bytes().for_each(|byte| write!(input, "{byte:02x}").expect("a string takes it"));
        }
        input.push('\n');
    }
    // It prints nothing before it has read all.
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("python3 reads");
    let output = child.wait_with_output().expect("python3 ends");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("it is ASCII");
    let (version, verdicts) = text.split_once('\n').expect("a version");
    let (major, minor) = version.split_once('.').expect("a point");
    let version: (u32, u32) = (major.parse().expect("a number"), minor.parse().expect("a number"));
    let differs = |case: &Case| has_changed(case, version);
    let verdict =
        |(case, line)| if differs(case) { Verdict::Unsupported("changed in Python".into()) } else { verdict(line) };
    (version >= OLDEST).then(|| cases.iter().zip(verdicts.lines()).map(verdict).collect())
}

/// Whether the language has changed here by this version: the flag `t` went in 3.13, `\z` came in 3.14, and so did `\B` in
/// empty texts.
fn has_changed(case: &Case, version: (u32, u32)) -> bool {
    let in_empty = || case.pattern.contains(r"\B") && case.ids.iter().any(String::is_empty);
    version >= (3, 13) && case.pattern.contains('t')
        || version >= (3, 14) && (case.pattern.contains(r"\z") || in_empty())
}

fn verdict(line: &str) -> Verdict {
    let mut words = line.split(' ');
    match words.next() {
        Some("E") => Verdict::Fault(words.next().and_then(|at| at.parse().ok())),
        Some("O") => Verdict::Found(words.map(found).collect()),
        Some("B") => Verdict::Unsupported("Python breaks".to_owned()),
        _ => Verdict::TooLong,
    }
}

fn found(word: &str) -> Found {
    let (start, hex) = word.split_once('+')?;
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits");
    let text = String::from_utf8((0..hex.len()).step_by(2).map(byte).collect()).expect("UTF-8");
    Some((start.parse().expect("a number"), text))
}

const LETTERS: &[&str] = &["a", "b", "a", "b", "c", "B", "1", "_", ".", " ", "-", "\n"];
const OTHERS: &[&str] = &[
    "é", "É", "ß", "ſ", "s", "K", "k", "İ", "i", "ı", "σ", "ς", "Σ", "\u{301}", "\u{1c}", "\u{85}", "\u{200d}", "²",
    "٣", "日", "Ⓐ", "‿", "😀", "\t", "\r", "0", "8", "]", "[", "&", "~", "|", "#", "^", "$", "\\", "{", "}", "µ", "μ",
];
const ESCAPES: &[&str] = &[
    r"\d",
    r"\D",
    r"\s",
    r"\S",
    r"\w",
    r"\W",
    r"\w",
    r"\.",
    r"\-",
    r"\n",
    r"\t",
    r"\x61",
    r"\u0062",
    r"\U00000061",
    r"\141",
    r"\0",
    r"\060",
    r"\\",
    r"\ ",
    r"\#",
    r"\a",
    r"\é",
    r"\]",
    r"\/",
    r"\_",
];
const PLACES: &[&str] = &["^", "$", r"\A", r"\Z", r"\b", r"\B", "$", r"\b"];
const QUANTIFIERS: &[&str] = &[
    "*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{,2}", "{1,}", "{0,1}", "{1,2}?", "{1,3}+", "{,}",
    "{0}", "{2}?", "{2,}?", "{1}+",
];
const LITERALS: &[&str] = &["{", "}", "]", "{}", "{a}", "{1", "{,", "{ 1}", "a{,b}", "(?#a)", "-", "&&", "--", "~~"];
const FLAGS: &[&str] = &["i", "m", "s", "x", "a", "u", "i", "im", "ai", "-i", "i-m", "-s", "ms", "-x", "a-i"];
const GLOBAL: &[&str] = &["(?i)", "(?m)", "(?s)", "(?x)", "(?a)", "(?im)", "(?ai)", "(?u)", "(?isx)", "(?#c)(?i)"];
const NOISE: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "*",
    "+",
    "?",
    "|",
    "^",
    "$",
    ".",
    "\\",
    "-",
    ",",
    "1",
    "2",
    "a",
    "b",
    "A",
    "Z",
    "z",
    "d",
    "w",
    "N",
    "x",
    "u",
    "U",
    "0",
    "7",
    "8",
    "(?",
    "(?:",
    "(?P<",
    "(?P=",
    "n",
    ">",
    "=",
    "!",
    "<",
    "(?<",
    "(?(",
    "#",
    " ",
    "\n",
    "&&",
    "~~",
    "--",
    "||",
    "[[",
    ":",
    "(?i)",
    "(?x)",
    "(?-",
    "i",
    "s",
    "L",
    "t",
    "(?>",
    "\u{e9}",
    "{1,2}",
    "{,",
    "\\N{DIGIT ONE}",
    "'",
    "_",
    "(a)",
    "\\1",
    "(?(1)",
    "(?#",
    "[^",
    "[]",
    "[a-",
    "\\b",
    "q",
];

/// The case of a seed: mostly well-formed, sometimes noise.
fn case(seed: u64) -> Case {
    let mut maker = Maker { random: Random(seed), text: String::new(), groups: 0 };
    if maker.random.one_in(4) {
        (0..=maker.random.below(9)).for_each(|_| maker.push(NOISE));
    } else {
        if maker.random.one_in(5) {
            maker.push(GLOBAL);
        }
        maker.alternatives(3);
        // A little damage now and then.
        if maker.random.one_in(12) {
            maker.push(NOISE);
        }
    }
    let Maker { mut random, text, .. } = maker;
    let ids = (0..5).map(|_| id(&mut random)).collect();
    Case { pattern: text, ids }
}

fn id(random: &mut Random) -> String {
    let others = random.one_in(3);
    let length = random.below(10);
    let letter = |_| if others && random.one_in(2) { random.pick(OTHERS) } else { random.pick(LETTERS) };
    (0..length).map(letter).collect()
}

struct Maker {
    random: Random,
    text: String,
    groups: usize,
}

impl Maker {
    fn push(&mut self, from: &[&'static str]) {
        self.text.push_str(self.random.pick(from));
    }

    fn alternatives(&mut self, depth: usize) {
        let count = if self.random.one_in(3) { 2 + self.random.below(2) } else { 1 };
        for n in 0..count {
            self.text.push_str(if n > 0 { "|" } else { "" });
            self.sequence(depth);
        }
    }

    fn sequence(&mut self, depth: usize) {
        let parts = [1, 2, 2, 3, 4, 0][self.random.below(6)];
        (0..parts).for_each(|_| self.part(depth));
    }

    fn part(&mut self, depth: usize) {
        match self.random.below(40) {
            0..=10 => self.push(LETTERS),
            11 | 12 => self.push(OTHERS),
            13 | 14 => self.text.push('.'),
            15..=18 => self.push(ESCAPES),
            19..=21 => self.class(),
            22 | 23 => return self.push(PLACES),
            24 => self.push(LITERALS),
            25 | 26 => self.reference(),
            _ if depth == 0 => self.push(LETTERS),
            n => self.group(n, depth - 1),
        }
        if self.random.one_in(3) {
            self.push(QUANTIFIERS);
        }
    }

    fn group(&mut self, kind: usize, depth: usize) {
        let number = self.groups + 1;
        match kind {
            27..=30 => {
                self.groups += 1;
                self.text.push('(');
            }
            31 => {
                self.groups += 1;
                write!(self.text, "(?P<n{number}>").expect("a string takes it");
            }
            32 => self.push(&["(?=", "(?!"]),
            33 => {
                self.push(&["(?<=", "(?<!"]);
                // Mostly of one width.
                if !self.random.one_in(4) {
                    (0..=self.random.below(2)).for_each(|_| match self.random.below(5) {
                        0 => self.class(),
                        1 => self.push(PLACES),
                        2 => self.push(ESCAPES),
                        _ => self.push(LETTERS),
                    });
                    return self.text.push(')');
                }
            }
            34 => self.text.push_str("(?>"),
            35 => {
                self.text.push_str("(?");
                self.push(FLAGS);
                self.text.push(':');
            }
            36 | 37 if self.groups > 0 => {
                let group = 1 + self.random.below(self.groups);
                write!(self.text, "(?({group})").expect("a string takes it");
                self.sequence(depth);
                if !self.random.one_in(3) {
                    self.text.push('|');
                    self.sequence(depth);
                }
                return self.text.push(')');
            }
            _ => self.text.push_str("(?:"),
        }
        self.alternatives(depth);
        self.text.push(')');
    }

    fn reference(&mut self) {
        if self.groups == 0 {
            return self.push(LETTERS);
        }
        let group = 1 + self.random.below(self.groups);
        if self.random.one_in(4) {
            write!(self.text, "(?P=n{group})").expect("a string takes it");
        } else {
            write!(self.text, "\\{group}").expect("a string takes it");
        }
    }

    fn class(&mut self) {
        self.push(&["[", "[", "[^"]);
        if self.random.one_in(8) {
            self.push(&["]", "-", "[", "^", "&&"]);
        }
        for _ in 0..=self.random.below(3) {
            match self.random.below(8) {
                0 => self.push(ESCAPES),
                1 => self.push(&["a-c", "A-Z", "a-z", "0-9", r"\x20-\x7e", "à-ÿ", "α-ω", r"\0-\uffff", "!-~"]),
                2 => self.push(OTHERS),
                3 => self.push(&["&&", "--", "~~", "||", "[", "-", "^", "[:alpha:", r"\b", r"\Z", r"\8"]),
                _ => self.push(LETTERS),
            }
        }
        self.text.push(']');
    }
}

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Sebastiano Vigna's splitmix64: a seed names a case for ever, which no crate promises.
struct Random(u64);

impl Random {
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
