//! Random words at every kind of place in a template, read by real shells: what arrives is exactly the words.
//!
//! `REGATTA_TEST_CASES` says how many lists of words there are for each place (default 100), `REGATTA_TEST_SEED` where to
//! begin. `sh` has to be there, `bash` is asked too where it is.

use std::process::{Command, Stdio};

use regatta::template::{TEST_COMMAND, Template, Value, Values};

/// What a line has to show when `$IDLIST` is some words.
#[derive(Clone, Copy, PartialEq)]
enum Shown {
    /// Each word is an argument.
    Each,
    /// This and, as the quotes around the variable say, all words with spaces between are one argument.
    Joined(&'static str),
    /// As `Joined`, at a place where several words mean something else.
    One(&'static str),
    /// As `Joined("$")`, with words that are not safe as they are, lest they be taken for a name as under testr.
    Dollar,
    /// `ok`, whatever the words are.
    Ok,
}

use Shown::{Dollar, Each, Joined, Ok, One};

/// Each line shows one list of arguments and leaves no quote open.
const PLACES: &[(&str, Shown)] = &[
    ("show $IDLIST", Each),
    ("show \"$IDLIST\"", Joined("")),
    ("show '$IDLIST'", Joined("")),
    ("show \"a\"'b'\"$IDLIST\"", Joined("ab")),
    ("show --x=$IDLIST", One("--x=")),
    ("x=$IDLIST; show \"$x\"", One("")),
    ("x=a:$IDLIST; show \"$x\"", One("a:")),
    // Command substitutions.
    (": $(show $IDLIST)", Each),
    (": \"$(show $IDLIST)\"", Each),
    (": \"$(show \"$IDLIST\")\"", Joined("")),
    (": \"$(show '$IDLIST')\"", Joined("")),
    (": \"$(: $(: ')'; show $IDLIST) \")\" )\"", Each),
    (": $(: $((1 + (2)))\nshow $IDLIST)", Each),
    (": $(: $((1 + (2)))); show $IDLIST", Each),
    (": \"$(: ok)'\"; show $IDLIST", Each),
    ("(: ')'; show $IDLIST)#'", Each),
    // Backticks take away one level of backslashes.
    (": `show $IDLIST`", Each),
    (": `show \"$IDLIST\"`", Joined("")),
    (": `show '$IDLIST'`", Joined("")),
    (": \"`show $IDLIST`\"", Each),
    (": \"`show '$IDLIST'`\"", Joined("")),
    (": \"`show \\\"$IDLIST\\\"`\"", Joined("")),
    (": `: \\`show $IDLIST\\``", Each),
    (": `: \\`show \"$IDLIST\"\\``", Joined("")),
    (": `: \"$(show $IDLIST)\"`", Each),
    (": $(: `show $IDLIST`)", Each),
    (": `: \\\\' \\\\\\`; show $IDLIST`", Each),
    (": `: ok # its`; show $IDLIST", Each),
    // Quotes that are none.
    (": \\' \\\" \\` \\$x; show $IDLIST", Each),
    (": 'it'\\''s' \"\\\"\"; show $IDLIST", Each),
    (": '\\'; show $IDLIST", Each),
    (": x#y' #'; show $IDLIST", Each),
    (": \"#\" \\# $# ${#x} '#'; show $IDLIST", Each),
    // Comments.
    ("# it's \" ` $(\nshow $IDLIST", Each),
    (": ok; # it's\n  : ok;#it's\n: ok &#it's\nwait\nshow $IDLIST", Each),
    ("# it's \\\nshow $IDLIST", Each),
    (": $(: ok # )'\nshow $IDLIST)", Each),
    (": # $IDLIST\nshow ok", Ok),
    (": $(: # $IDLIST\nshow ok)", Ok),
    // Several lines.
    (": one\n: 'two'\nshow \\\n  $IDLIST\n: three", Each),
    ("x='a\nb' \\\n  show \"\n\"\"$IDLIST\"", Joined("\n")),
    // Parameter expansions.
    ("show ${unset:-$IDLIST}", One("")),
    ("show ${unset:-\"$IDLIST\"}", Joined("")),
    ("show ${unset:-'$IDLIST'}", Joined("")),
    ("show \"${unset:-$IDLIST}\"", Joined("")),
    ("show \"${unset:-${unset:-it's$IDLIST}}\"", Joined("it's")),
    (": ${unset:-'}'} \"${unset:-'}\"; show $IDLIST", Each),
    // Right behind a backslash or a dollar.
    ("show \\$IDLIST", Each),
    ("show \"\\$IDLIST\"", Joined("\\")),
    (": `show \\$IDLIST`", Each),
    ("show '\\$IDLIST'", Joined("\\")),
    ("show $$IDLIST", Dollar),
    ("show \"$$IDLIST\"", Dollar),
    (": `show $$IDLIST`", Dollar),
    ("show '$$IDLIST'", Joined("$")),
];

#[test]
fn words_arrive_as_they_are_from_sh() {
    check_shell(&["sh"]);
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
fn words_arrive_as_they_are_from_bash() {
    if Command::new("bash").args(["-c", ":"]).status().is_err() {
        eprintln!("SKIPPED: there is no bash");
        return;
    }
    // Which is what it is where it is called sh.
    check_shell(&["bash", "--posix"]);
    check_shell(&["bash"]);
}

struct Case {
    line: String,
    words: Vec<String>,
    arguments: Vec<String>,
}

fn check_shell(shell: &[&str]) {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let mut random = Random(number("REGATTA_TEST_SEED", 1));
    for (template, shown) in PLACES {
        // Under its own name bash wants apostrophes in pairs there; it is not what lines are handed to.
        if shell == ["bash"] && template.contains("\"${unset") {
            continue;
        }
        let cases: Vec<Case> =
            (0..number("REGATTA_TEST_CASES", 100)).map(|_| case(template, *shown, &mut random)).collect();
        // One argument of a program is at most 128 KiB on Linux.
        for cases in cases.chunks(250) {
            check_cases(shell, template, cases);
        }
    }
}

fn case(template: &str, shown: Shown, random: &mut Random) -> Case {
    let count = if matches!(shown, One(_) | Dollar) { 1 } else { 1 + random.below(3) };
    let mut words: Vec<String> = (0..count).map(|_| word(random)).collect();
    if shown == Dollar {
        words[0] = format!("({}", words[0]);
    }
    let list = Value::Words(words.iter().map(String::as_str).collect());
    let line = Template::parse(template).render(&Values::new(TEST_COMMAND).with("IDLIST", list));
    let arguments = match shown {
        Each => words.clone(),
        Joined(front) | One(front) => vec![format!("{front}{}", words.join(" "))],
        Dollar => vec![format!("${}", words[0])],
        Ok => vec!["ok".to_owned()],
    };
    Case { line, words, arguments }
}

fn check_cases(shell: &[&str], template: &str, cases: &[Case]) {
    // The third stream gets out of all substitutions and pipes.
    let mut script = "exec 3>&1\nshow() { printf '%s\\0' \"$#\" \"$@\" >&3; }\n".to_owned();
    for case in cases {
        script.push_str(&case.line);
        script.push('\n');
    }
    let output = Command::new(shell[0])
        .args(&shell[1..])
        .args(["-c", &script])
        .stdin(Stdio::null())
        .output()
        .expect("the shell runs");
    let mut shown = output.stdout.split(|b| *b == 0);
    for case in cases {
        let expected: Vec<_> =
            std::iter::once(case.arguments.len().to_string()).chain(case.arguments.clone()).collect();
        let got: Vec<_> =
            shown.by_ref().take(expected.len()).map(|b| String::from_utf8_lossy(b).into_owned()).collect();
        let (line, words) = (&case.line, &case.words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(got, expected, "{shell:?} (left) of {template:?} with {words:?}:\n{line}\n{said}");
    }
    let rest: Vec<_> = shown.collect();
    assert_eq!(rest, [b""], "{shell:?} showed more than it should of {template:?}");
}

const SIGNS: &[char] = &[
    ' ', ' ', '\'', '\'', '"', '\\', '\\', '$', '`', '\n', '\t', '\r', '!', '#', '~', '*', '?', '[', ']', '{', '}',
    '(', ')', '<', '>', '|', '&', ';', '=', '^', '%', '@', ',', ':', '.', '-', '_', '/', '+', 'a', 'n', 'x', 'Z', '0',
    '1', 'é', '日', '\u{a0}', '\u{85}', '\u{1}', '\u{7f}', '\u{88}', '\u{fffd}', '😀',
];

/// Anything but NUL; sometimes such a name as people have.
fn word(random: &mut Random) -> String {
    match random.below(8) {
        0 => "package.test_module.TestCase.test_x(scenario[a,b])"[..random.below(51)].to_owned(),
        1 => (0..random.below(6)).map(|_| any_char(random)).collect(),
        _ => (0..random.below(9)).map(|_| SIGNS[random.below(SIGNS.len())]).collect(),
    }
}

fn any_char(random: &mut Random) -> char {
    let limit = [0x80, 0x800, 0x11_0000][random.below(3)];
    let code = 1 + random.below(limit - 1);
    u32::try_from(code).ok().and_then(char::from_u32).unwrap_or('\u{d7ff}')
}

/// Sebastiano Vigna's splitmix64: a seed names its words for ever, which no crate promises.
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
}
