//! Tables, a construct at a time: what is found, what the engine is given, and what is said of faults.

use super::emit::{Haystack, emit};
use super::parse::parse;
use super::{Anchor, Pattern};

fn search<'t>(pattern: &str, text: &'t str) -> Option<&'t str> {
    Pattern::new(pattern, Anchor::Anywhere).unwrap().find(text).unwrap()
}

#[track_caller]
fn check(rows: &[(&str, &str, Option<&str>)]) {
    for (pattern, text, expected) in rows {
        assert_eq!(search(pattern, text), *expected, "{pattern:?} in {text:?}");
    }
}

#[track_caller]
fn fails(rows: &[(&str, &str)]) {
    for (pattern, expected) in rows {
        assert_eq!(Pattern::new(pattern, Anchor::Anywhere).unwrap_err().to_string(), *expected, "{pattern:?}");
    }
}

fn translated(pattern: &str, haystack: Haystack) -> String {
    emit(&parse(pattern).unwrap(), haystack).unwrap()
}

#[test]
fn everyday_patterns_are_left_to_the_engine_that_never_goes_back() {
    for (pattern, expected) in [
        ("one$", r"one\z"),
        (r"^db\.", r"\Adb\x{2E}"),
        (r"\bslow\b", r"\bslow\b"),
        (r"([^\.]+\.)+", r"(?:[\x{0}-\x{2D}\x{2F}-\x{7F}]+\x{2E})+"),
        (r"(?P<module>\w+)", r"[0-9A-Z\x{5F}a-z]+"),
        ("(?i)Io.*", "[Ii][Oo](?s:.)*"),
        ("(?x) a b # c", "ab"),
    ] {
        assert_eq!(translated(pattern, Haystack::Plain), expected, "{pattern:?}");
    }
}

#[test]
fn all_that_is_hidden_in_a_pattern_stays_in_it() {
    let start = |pattern: &str, text| Pattern::new(pattern, Anchor::Start).unwrap().find(text).unwrap().map(str::len);
    assert_eq!(start("(?x)a|b # a comment", "ba"), Some(1));
    assert_eq!(start("(?m)^b", "a\nb"), None, "match is at the start of the text");
    assert_eq!(start("x|b", "ab"), None);
    assert_eq!(start("(?#)", "ab"), Some(0));
}

#[test]
fn ends_and_starts() {
    check(&[
        ("a$", "a\n", Some("a")),
        ("a$", "a\n\n", None),
        (r"a\Z", "a\n", None),
        (r"a\Z", "ba", Some("a")),
        ("(?m)a$", "a\nb", Some("a")),
        ("(?m)^b", "a\nb", Some("b")),
        ("^b", "a\nb", None),
        ("(?s)a.b", "a\nb", Some("a\nb")),
        ("a.b", "a\nb", None),
        ("(?:^)*a", "ba", Some("a")),
        (r"\B", "", None),
        (r"\b.", "\u{301}a", Some("a")),
    ]);
}

#[test]
fn classes() {
    check(&[
        ("[[]a]", "[a]", Some("[a]")),
        ("[]]", "a]", Some("]")),
        ("[^]]+", "a]", Some("a")),
        ("[a&&b]+", "x&b", Some("&b")),
        ("[+--]+", "+,-", Some("+,-")),
        ("[a~~b]+", "~a", Some("~a")),
        ("[a-]+", "-a", Some("-a")),
        (r"[\w-]+", "a-b", Some("a-b")),
        (r"[^\W\d]+", "1ab2", Some("ab")),
        (r"[\b]", "a\u{8}", Some("\u{8}")),
        (r"[\ud800-\uffff]", "\u{e000}", Some("\u{e000}")),
        (r"\s", "\u{1c}", Some("\u{1c}")),
        (r"(?a)\s", "\u{1c}", None),
        (r"(?a)\w", "é", None),
        (r"\w+", "é²٣_", Some("é²٣_")),
        (r"\w", "\u{301}\u{200d}", None),
    ]);
}

#[test]
fn case_is_that_of_python() {
    check(&[
        ("(?i)straße", "STRAẞE", Some("STRAẞE")),
        ("(?i)[i]+", "Iİı", Some("Iİı")),
        ("(?i)[^k]", "\u{212a}", None),
        ("(?ai)k", "\u{212a}", None),
        ("a(?i:b)c", "aBc", Some("aBc")),
        ("a(?i:b)c", "aBC", None),
        ("(?i)a(?-i:b)", "AB", None),
    ]);
}

#[test]
fn escapes_and_braces() {
    check(&[
        (r"\x41\u0042\U00000043\104\0", "ABCD\0", Some("ABCD\0")),
        (r"(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)\10", "abcdefghijj", Some("abcdefghijj")),
        (r"(a)\1\061", "aa1", Some("aa1")),
        (r"\-\é\ ", "-é ", Some("-é ")),
        ("a{,2}", "aaa", Some("aa")),
        ("a{,}", "aaa", Some("aaa")),
        ("a{b}{", "a{b}{", Some("a{b}{")),
        ("a{1,b}", "a{1,b}", Some("a{1,b}")),
        ("}]{}", "}]{}", Some("}]{}")),
    ]);
}

#[test]
fn groups_looks_and_repeats() {
    check(&[
        (r"(?P<a>x)(?P=a)", "xx", Some("xx")),
        ("(a)?(?(1)b|c)", "ab", Some("ab")),
        ("^(a)?(?(1)b|c)", "ac", None),
        (r"(?!.*slow)(^api\.)", "api.slow", None),
        (r"(?<=a\.)b", "a.b", Some("b")),
        ("a*+a", "aa", None),
        ("(?>a|ab)c", "abc", None),
        ("(?:a|ab){2}+", "aba", None),
        ("(?:a*)*b", "aab", Some("aab")),
        ("(?=|(B))B(?(1)x|y)", "By", Some("By")),
        (r"(?=|B())\S\1|", "B1", Some("")),
        ("|a", "a", Some("")),
        ("(b)?a(?(1)|(?:))", "a", Some("a")),
        ("(b)?a(?(1)(?s:))", "a", Some("a")),
        (r"(?<!(?:-.+?|b){0}\b)$", "b\n", Some("")),
        (r"(b){0}a(?:\1|c)", "ac", Some("ac")),
        ("(?:()|)c(?(1)_|)", "c", Some("c")),
        ("(?:(a)|a)b(?(1)x|y)", "aby", Some("aby")),
        ("(a)?(?(1)|b+)*+b", "bb", None),
    ]);
}

#[test]
fn a_fault_is_named_with_its_position() {
    fails(&[
        ("a(b", "this ( is never closed, at position 1"),
        ("ab)", "this ) closes nothing, at position 2"),
        ("ü[b", "this [ is never closed, at position 1"),
        ("*a", "there is nothing to repeat, at position 0"),
        ("a|^*", "there is nothing to repeat, at position 3"),
        ("a**", "a repeat of a repeat needs a group, at position 2"),
        ("a{2,1}", "the most is less than the least of this repeat, at position 2"),
        (r"a\q", r"there is no escape \q, at position 1"),
        (r"[\Z]", r"there is no escape \Z, at position 1"),
        (r"a\", "there is nothing after this backslash, at position 1"),
        (r"\x1", r"the escape \x1 needs more digits, at position 0"),
        (r"\400", r"the octal escape \400 is above \377, at position 0"),
        (r"(a)\2", "there is no group 2, at position 4"),
        ("(?P<1>a)", "\"1\" cannot be the name of a group, at position 4"),
        ("(?P=a)", "there is no group named \"a\" before this, at position 4"),
        ("(?P<a>)(?P<a>)", "there are two groups named \"a\", at position 11"),
        ("[z-a]", "z-a is not a range of characters, at position 1"),
        ("a(?i)", "flags for the whole pattern have to stand at its start, at position 1"),
        ("(?z)", "there is no group that begins with (?z, at position 1"),
        ("(?iz)", "there is no flag 'z', at position 3"),
        ("(?<=a+)b", "a look-behind has to be of one length, at position 0"),
        ("(?x)\n a\n b)", "this ) closes nothing, at position 10 (line 3, column 3)"),
    ]);
}

#[test]
fn what_the_engine_would_match_differently_is_refused() {
    let refused = |what: &str, at: usize| format!("regatta has no {what}, at position {at}");
    let empty = "repeat of what prefers to be empty, such as (|a)* or (a*?)+";
    fails(&[
        ("(|a)*", &refused(empty, 4)),
        ("x(a*?)+", &refused(empty, 6)),
        (r"((a)|b?)*\2", &refused("reference to a group inside a repeat of what can be empty", 8)),
        (r"(?i)(a)\1", &refused("backreference without regard to case", 7)),
        ("((?(1)a|b))", &refused("condition on a group inside of that group", 4)),
        (r"\N{EM DASH}", &refused(r"\N{name of a character} (write the character itself, or \u and its number)", 0)),
    ]);
    // Where nothing else is left, being empty is no choice.
    check(&[("(a|)*", "aab", Some("aa")), ("(?:a?b?)+c", "abbac", Some("abbac"))]);
}

#[test]
fn matching_without_an_end_is_an_error() {
    let pattern = Pattern::new(r"^(?:(a)|a)+b\1$", Anchor::Anywhere).unwrap();
    assert!(pattern.find(&("a".repeat(40) + "b")).is_err());
}
