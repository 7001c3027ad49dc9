//! A content type as testr writes it into a stored run: `text/plain;charset=utf8`.
//!
//! testr takes it apart with Python's `email`, drops what that does not understand, and writes type, subtype and
//! sorted parameters. Called by [`super::write`] only.

use std::collections::BTreeMap;

use super::escape::escaped;

/// The content type in a form that python-subunit reads: one `/`, no blanks, no control characters.
///
/// None is `application/octet-stream`; what is no content type is `text/plain`, as for Python. A `/`, which Python's
/// reader fails on in a parameter, is written as `_` there, and so is a blank.
pub(super) fn content_type(mime: Option<&str>) -> String {
    let Some(mime) = mime else { return "application/octet-stream".into() };
    let mut rest = mime;
    let full = until(&mut rest, ';').trim().to_lowercase();
    let (main, sub) = match full.split_once('/') {
        Some((main, sub)) if !sub.contains('/') => (safe(main), safe(sub)),
        _ => ("text".into(), "plain".into()),
    };
    let mut parameters = BTreeMap::new();
    while !rest.is_empty() {
        let key = rest.find(['=', ';']).unwrap_or(rest.len());
        let (name, more) = rest.split_at(key);
        rest = more;
        let mut value = String::new();
        if let Some(more) = rest.strip_prefix('=') {
            rest = more.trim_start();
            value = parameter(&mut rest);
        }
        until(&mut rest, ';');
        let name = name.trim().to_lowercase();
        if name == "charset" {
            value.truncate(value.find(',').unwrap_or(value.len()));
        }
        if !name.is_empty() {
            parameters.entry(safe(&name)).or_insert_with(|| safe(&value));
        }
    }
    let parameters: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let separator = if parameters.is_empty() { "" } else { ";" };
    format!("{main}/{sub}{separator}{}", parameters.join(","))
}

/// A parameter's value: in quotes, or up to a blank or a semicolon.
fn parameter(rest: &mut &str) -> String {
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([' ', '\t', ';']).unwrap_or(rest.len());
        let (value, more) = rest.split_at(end);
        *rest = more;
        return value.to_owned();
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            _ => value.push(character),
        }
    }
    *rest = characters.as_str();
    value
}

/// What comes before `separator`, which is taken off `rest` too.
fn until<'a>(rest: &mut &'a str, separator: char) -> &'a str {
    let (before, after) = rest.split_once(separator).unwrap_or((rest, ""));
    *rest = after;
    before
}

fn safe(part: &str) -> String {
    escaped(part, |character| (character.is_whitespace() || character == '/').then_some('_')).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mime: &str, expected: &str) {
        assert_eq!(content_type(Some(mime)), expected);
    }

    #[test]
    fn content_types_are_written_as_testr_does() {
        assert_eq!(content_type(None), "application/octet-stream");
        check("text/plain;charset=utf8", "text/plain;charset=utf8");
        check("text/plain; charset=\"utf8\"", "text/plain;charset=utf8");
        check("TEXT/Plain;Charset=UTF8", "text/plain;charset=UTF8");
        check("", "text/plain");
        check("foo", "text/plain");
        check("a/b/c", "text/plain");
        check("text/", "text/");
        check("text/plain; charset", "text/plain;charset=");
        check("text/x-traceback;charset=\"utf8\",language=\"python\"", "text/x-traceback;charset=utf8");
        check(
            "text/x-traceback; language=\"python\"; charset=\"utf8\"",
            "text/x-traceback;charset=utf8,language=python",
        );
        check("text/plain;charset=utf8,x=1", "text/plain;charset=utf8");
        check("text/plain;a=b;a=c", "text/plain;a=b");
        check("a/b; c=d e", "a/b;c=d");
        check("application/octet-stream;", "application/octet-stream");
        check("image/svg+xml;q=0.5;B=x", "image/svg+xml;b=x,q=0.5");
    }

    #[test]
    fn what_python_fails_on_is_written_otherwise() {
        check("a/b;x=\"p q/r\"", "a/b;x=p_q_r");
        check("text/plain\n;charset=a\u{1}b", "text/plain;charset=a\\x01b");
        check("a b/c", "a_b/c");
        check("a/b;x=\"unclosed \\", "a/b;x=unclosed_");
    }
}
