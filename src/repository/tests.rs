//! Repositories as files: what is refused, and in which words.

use std::fs;
use std::path::Path;

use super::*;

fn with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join(".testrepository");
    fs::create_dir(&base).unwrap();
    for (name, content) in files {
        fs::write(base.join(name), content).unwrap();
    }
    dir
}

#[test]
fn a_new_repository_is_testr_s() {
    let dir = tempfile::tempdir().unwrap();
    let repository = Repository::init(dir.path()).unwrap();
    let base = dir.path().join(".testrepository");
    assert_eq!(fs::read(base.join("format")).unwrap(), b"1\n");
    assert_eq!(fs::read(base.join("next-stream")).unwrap(), b"0\n");
    assert_eq!(fs::read_dir(&base).unwrap().count(), 2);
    assert_eq!(repository.count().unwrap(), 0);
    assert_eq!(repository.latest_id().unwrap_err().to_string(), "No tests in repository");
    let error = Repository::init(dir.path()).unwrap_err();
    assert!(error.to_string().ends_with(".testrepository: File exists"), "{error}");
    assert!(Repository::open(dir.path()).is_ok());
}

#[test]
fn no_repository_is_an_error_that_says_how_to_make_one() {
    let dir = tempfile::tempdir().unwrap();
    let error = Repository::open(dir.path()).unwrap_err();
    assert_eq!(error.to_string(), format!("no repository found in {}", dir.path().display()));
    assert!(error.hint().unwrap().contains("regatta init"));
    // The place is named as it was typed.
    let error = Repository::open(Path::new("~/no such place")).unwrap_err();
    assert_eq!(error.to_string(), "no repository found in ~/no such place");
}

#[test]
fn any_other_format_is_refused() {
    for content in ["2\n", "1", "1\n\n", " 1\n", ""] {
        let dir = with(&[("format", content)]);
        let error = Repository::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(".testrepository/format") && error.contains(&format!("{content:?}")), "{error}");
    }
}

#[test]
fn next_stream_is_a_number_with_white_space_around_it() {
    let count = |content: &str| {
        let dir = with(&[("format", "1\n"), ("next-stream", content)]);
        Repository::open(dir.path()).unwrap().count().map_err(|error| error.to_string())
    };
    for (content, number) in [("0\n", 0), ("7", 7), (" +12 \r\n\n", 12)] {
        assert_eq!(count(content), Ok(number));
    }
    for content in ["foo\n", "", "-1\n", "1 2\n", "1.0"] {
        let error = count(content).unwrap_err();
        assert!(error.contains("next-stream") && error.contains(&format!("{content:?}")), "{error}");
    }
    let dir = with(&[("format", "1\n")]);
    let error = Repository::open(dir.path()).unwrap().count().unwrap_err();
    assert!(error.to_string().ends_with("next-stream"), "{error}");
}

#[test]
fn a_missing_run_is_an_error_and_no_failing_file_is_nothing_failing() {
    let dir = with(&[("format", "1\n"), ("next-stream", "5\n")]);
    let repository = Repository::open(dir.path()).unwrap();
    let latest = repository.latest_id().unwrap();
    let error = repository.run(latest).unwrap_err();
    assert!(
        error.to_string().starts_with("no such run: ") && error.to_string().contains(".testrepository/4"),
        "{error}"
    );
    assert!(repository.counts(latest).is_err());
    assert_eq!(repository.failing().unwrap().count(), 0);
    assert!(repository.failing_ids().unwrap().is_empty());
    assert!(repository.times(&["a".into()]).unwrap().is_empty());
    assert_eq!(fs::read_dir(dir.path().join(".testrepository")).unwrap().count(), 2, "reading makes no file");
}

#[test]
fn failing_ids_are_in_the_order_of_the_file_each_once() {
    let text = "test: b\nfailure: b\ntest: a\nerror: a\ntest: c\nsuccess: c\ntest: b\nfailure: b\ntest: d\n";
    let dir = with(&[("format", "1\n"), ("failing", text)]);
    let ids = Repository::open(dir.path()).unwrap().failing_ids().unwrap();
    assert_eq!(ids, ["b".into(), "a".into(), "d".into()]);
}
