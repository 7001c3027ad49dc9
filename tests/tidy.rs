//! Keeps the rules of the architecture page (`src/lib.rs`) by reading the sources.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of the crate, each with the rooms it may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("pattern", &[]),
    ("test_id", &["pattern"]),
    ("attachment", &[]),
    ("event", &["test_id", "attachment"]),
    ("template", &[]),
    ("config", &["template"]),
    ("schedule", &["test_id"]),
    ("wire", &["event", "attachment"]),
    ("merge", &["event", "test_id", "wire"]),
    ("summary", &["event"]),
    ("run", &["attachment", "config", "event", "merge", "schedule", "summary", "template", "test_id", "wire"]),
    ("repository", &["attachment", "event", "summary", "test_id", "wire"]),
    ("report", &["attachment", "event", "summary", "test_id", "wire"]),
    ("error", &["config", "event", "repository", "run", "test_id"]),
    ("cli", &[]),
    (
        "commands",
        &[
            "cli",
            "config",
            "error",
            "event",
            "merge",
            "report",
            "repository",
            "run",
            "schedule",
            "summary",
            "test_id",
            "wire",
        ],
    ),
];

/// Rooms and files without a clock, a file, a process, an environment or a runtime.
const PURE: &[&str] = &["config", "template", "pattern", "schedule", "merge", "summary", "wire", "run/supervisor"];

/// What a pure file never names.
const IMPURE: &[&str] =
    &["tokio", "std::fs", "std::process", "std::env", "Instant::now", "SystemTime::now", "Utc::now"];

/// The longest that a file may be, in lines, its tests included.
const LONGEST: usize = 600;

struct Source {
    path: PathBuf,
    /// `run/supervisor.rs` is in the room `run`.
    room: String,
    text: String,
}

impl Source {
    /// The text without comments, strings' contents aside: what the compiler would see.
    fn code(&self) -> String {
        let lines = self.text.lines().map(|line| line.split("//").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Tests read settings from the environment and print figures, as those in `tests` do.
    fn is_test(&self) -> bool {
        self.path.components().any(|part| part.as_os_str() == "tests")
    }

    fn is_below(&self, place: &str) -> bool {
        let inside = self.path.strip_prefix("src").unwrap().with_extension("");
        inside.starts_with(place)
    }
}

fn rust_files(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![PathBuf::from(directory)];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let source = |path: PathBuf| {
        let inside = path.strip_prefix("src").unwrap().with_extension("");
        let room = inside.iter().next().unwrap().to_str().unwrap().to_owned();
        Source { text: fs::read_to_string(&path).unwrap(), room, path }
    };
    rust_files("src").into_iter().map(source).collect()
}

/// Fail with all complaints at once.
fn report(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn rooms_name_only_rooms_below_them() {
    let rules: BTreeMap<&str, &[&str]> = MAY_NAME.iter().copied().collect();
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|s| !["lib", "main"].contains(&s.room.as_str())) {
        let Some(allowed) = rules.get(source.room.as_str()) else {
            complaints.push(format!("{}: the room {} has no rule", source.path.display(), source.room));
            continue;
        };
        for (n, line) in source.code().lines().enumerate() {
            for named in line.split("crate::").skip(1) {
                let room: String = named.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if room != source.room && !room.is_empty() && !allowed.contains(&room.as_str()) {
                    complaints.push(format!("{}:{}: {} names {room}", source.path.display(), n + 1, source.room));
                }
            }
        }
    }
    report(&complaints);
}

#[test]
fn the_rules_have_no_cycle() {
    let rules: BTreeMap<&str, &[&str]> = MAY_NAME.iter().copied().collect();
    fn walk<'r>(rules: &BTreeMap<&'r str, &[&'r str]>, path: &mut Vec<&'r str>, room: &'r str) {
        assert!(!path.contains(&room), "a cycle: {path:?} -> {room}");
        path.push(room);
        for next in rules[room] {
            walk(rules, path, next);
        }
        path.pop();
    }
    for (room, _) in MAY_NAME {
        walk(&rules, &mut Vec::new(), room);
    }
}

#[test]
fn pure_files_are_pure() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|s| !s.is_test() && PURE.iter().any(|place| s.is_below(place))) {
        for (n, line) in source.code().lines().enumerate() {
            for name in IMPURE.iter().filter(|name| line.contains(**name)) {
                complaints.push(format!("{}:{}: a pure file names {name}", source.path.display(), n + 1));
            }
        }
        if !source.text.lines().take_while(|line| line.starts_with("//!")).any(|line| line.contains("(pure)"))
            && source.path.file_name().is_some_and(|name| name == "mod.rs" || source.path.components().count() == 2)
        {
            complaints.push(format!("{}: its page does not say (pure)", source.path.display()));
        }
    }
    report(&complaints);
}

#[test]
fn crates_are_named_where_they_belong() {
    let only = [
        ("subunit::", &["wire"][..]),
        ("clap::", &["cli", "main"]),
        ("clap_complete::", &["cli"]),
        ("clap_mangen::", &["cli"]),
        ("indicatif::", &["report"]),
        ("configparser::", &["config"]),
        ("fancy_regex::", &["pattern", "test_id"]),
        ("tokio::", &["run", "commands"]),
        ("println!", &["main", "report"]),
        ("eprintln!", &["main", "report"]),
        ("print!", &["main", "report"]),
        ("io::stdout", &["main", "report"]),
        ("io::stderr", &["main", "report"]),
    ];
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (n, line) in source.code().lines().enumerate() {
            for (name, rooms) in &only {
                let outside = line.match_indices(name).any(|(at, _)| {
                    // Part of a longer name, as `report::subunit::`, is another thing.
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                });
                if outside && !rooms.contains(&source.room.as_str()) {
                    complaints.push(format!("{}:{}: {} names {name}", source.path.display(), n + 1, source.room));
                }
            }
        }
    }
    report(&complaints);
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut complaints = Vec::new();
    for path in rust_files("src").into_iter().chain(rust_files("tests")).chain(rust_files("benches")) {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        if lines > LONGEST {
            complaints.push(format!("{}: {lines} lines; the longest may have {LONGEST}", path.display()));
        }
        if !text.starts_with("//!") {
            complaints.push(format!("{}: does not begin with what it is for (//!)", path.display()));
        }
    }
    report(&complaints);
}

#[test]
fn callouts_can_be_executed_and_say_what_they_need() {
    use std::os::unix::fs::PermissionsExt;

    let mut complaints = Vec::new();
    for entry in fs::read_dir("callouts").unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        if fs::metadata(&path).unwrap().permissions().mode() & 0o111 == 0 {
            complaints.push(format!("{}: cannot be executed", path.display()));
        }
        if !text.starts_with("#!/bin/sh\n#") {
            complaints.push(format!("{}: is no sh script with a header", path.display()));
        }
        for word in ["Needs", "instance_provision", "instance_execute", "instance_dispose"] {
            if !text.contains(word) {
                complaints.push(format!("{}: its header has no {word}", path.display()));
            }
        }
    }
    report(&complaints);
}

#[test]
fn the_readme_names_every_option_and_key() {
    let readme = fs::read_to_string("README.md").unwrap();
    let mut complaints = Vec::new();
    for (command, _) in regatta::cli::commands() {
        let help = regatta::cli::help(Some(&command)).unwrap();
        let options = help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2);
        let name = |word: &str| word.split(['[', '=', ',']).next().unwrap_or_default().to_owned();
        for option in options.map(name) {
            let option = option.trim_end_matches(|c: char| !c.is_alphanumeric());
            if !readme.contains(option) {
                complaints.push(format!("README.md does not name {option}, of {command}"));
            }
        }
        if !readme.contains(&format!("`{command}")) {
            complaints.push(format!("README.md does not name the command {command}"));
        }
    }
    // A key that is an option too stands there as that.
    let is_named = |key: &str| readme.contains(key) || readme.contains(&format!("--{}", key.replace('_', "-")));
    for line in fs::read_to_string(".testr.conf.example").unwrap().lines() {
        let key = line.trim_start_matches('#').split('=').next().unwrap_or_default().trim();
        if line.contains('=') && key.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !is_named(key) {
            complaints.push(format!("README.md does not name the key {key}"));
        }
    }
    report(&complaints);
}

#[test]
fn the_changelog_knows_this_version() {
    let changelog = fs::read_to_string("CHANGELOG.md").unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert!(changelog.contains(&format!("## {version}")), "CHANGELOG.md has no section for {version}");
    assert!(Path::new("Cargo.lock").exists(), "Cargo.lock belongs to the project");
}
