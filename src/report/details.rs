//! What a failed test attached, as testr shows it below the failure.
//!
//! First the names and types of what is no text, then each text (`name: {{{` ... `}}}`), last the traceback, which
//! has no frame. Files are in the order of their names.

use std::fmt::Write as _;
use std::io::{self, Read};

use crate::attachment::Attachment;

/// The file that says why a test failed.
const TRACEBACK: &str = "traceback";

/// The text below a failure; ends with a line end unless it is empty.
///
/// # Errors
/// When a file that was put on disk cannot be read back.
pub fn format(attachments: &[Attachment]) -> io::Result<String> {
    let mut sorted: Vec<&Attachment> = attachments.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut binary = String::new();
    let mut empty = String::new();
    let mut texts: Vec<String> = Vec::new();
    let mut traceback = None;
    for attachment in sorted {
        let name = &attachment.name;
        let mime = attachment.mime.as_deref().unwrap_or("application/octet-stream");
        if !is_text(mime) {
            // Writing to a string cannot fail.
            let _ = writeln!(binary, "  {name} ({})", show_type(mime));
            continue;
        }
        let text = read(attachment, mime)?;
        let text = text.trim();
        if text.is_empty() {
            let _ = writeln!(empty, "  {name}");
        } else if &**name == TRACEBACK {
            traceback = Some(format!("{text}\n"));
        } else if text.contains('\n') {
            texts.push(format!("{name}: {{{{{{\n{text}\n}}}}}}\n"));
        } else {
            texts.push(format!("{name}: {{{{{{{text}}}}}}}"));
        }
    }
    if texts.last().is_some_and(|last| !last.ends_with('\n')) {
        texts.push(String::new());
    }
    texts.extend(traceback);
    let mut shown = String::new();
    for (title, names) in [("Binary content", &binary), ("Empty attachments", &empty)] {
        if !names.is_empty() {
            let _ = write!(shown, "{title}:\n{names}");
        }
    }
    if !shown.is_empty() && !texts.is_empty() {
        shown.push('\n');
    }
    shown.push_str(&texts.join("\n"));
    Ok(shown)
}

fn is_text(mime: &str) -> bool {
    mime.split('/').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text"))
}

/// The parameters of a content type, in the order of their names.
fn parameters(mime: &str) -> Vec<(String, &str)> {
    let pairs = mime.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let mut found: Vec<_> =
        pairs.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'))).collect();
    found.sort();
    found
}

/// A content type as testr writes it: `image/png; x="y"`.
fn show_type(mime: &str) -> String {
    let mut shown = mime.split(';').next().unwrap_or_default().trim().to_owned();
    for (name, value) in parameters(mime) {
        let _ = write!(shown, "; {name}=\"{value}\"");
    }
    shown
}

/// The text of a file in the character set of its type; without one that is Latin-1, as in testr.
fn read(attachment: &Attachment, mime: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    attachment.body.read()?.read_to_end(&mut bytes)?;
    let charset = parameters(mime).into_iter().find(|(name, _)| name == "charset");
    let charset = charset.map(|(_, value)| value.to_ascii_lowercase());
    Ok(match charset.as_deref() {
        None | Some("iso-8859-1" | "iso8859-1" | "latin-1" | "latin1") => {
            bytes.iter().map(|b| char::from(*b)).collect()
        }
        Some(_) => String::from_utf8_lossy(&bytes).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str, &[u8])], expected: &str) {
        let attachments: Vec<Attachment> = files
            .iter()
            .map(|(name, mime, bytes)| Attachment {
                name: (*name).into(),
                mime: (!mime.is_empty()).then(|| (*mime).into()),
                body: bytes.to_vec().into(),
            })
            .collect();
        assert_eq!(format(&attachments).unwrap(), expected);
    }

    const UTF8: &str = "text/plain;charset=utf8";

    // The expected texts were read off real testr 0.0.22.
    #[test]
    fn failures_look_as_in_testr() {
        check(&[], "");
        check(&[("traceback", UTF8, b"returncode 3")], "returncode 3\n");
        check(&[("log", "text/plain", b"x")], "log: {{{x}}}\n");
        check(
            &[("traceback", UTF8, b"Boom\n"), ("log", UTF8, b"line 1\nline 2\n"), ("core", "", b"\0\xff")],
            "Binary content:\n  core (application/octet-stream)\n\nlog: {{{\nline 1\nline 2\n}}}\n\nBoom\n",
        );
        check(
            &[("a", "application/x-foo; q=1;charset=\"utf8\"", b"x"), ("z", "image/png;x=y", b"x")],
            "Binary content:\n  a (application/x-foo; charset=\"utf8\"; q=\"1\")\n  z (image/png; x=\"y\")\n",
        );
        check(&[("log", UTF8, b" \n"), ("traceback", UTF8, b"Boom")], "Empty attachments:\n  log\n\nBoom\n");
        check(&[("a", UTF8, b"1"), ("b", UTF8, b"2"), ("traceback", UTF8, b"3")], "a: {{{1}}}\nb: {{{2}}}\n\n3\n");
        check(&[("a", "text/plain", b"\xe9"), ("b", UTF8, "é".as_bytes())], "a: {{{é}}}\nb: {{{é}}}\n");
    }
}
