//! `callouts/chaos` over `callouts/local`: each fault does what it says, and says that it did.
//!
//! Nothing here sleeps to wait for something. `REGATTA_TEST_SH` names another shell to run the scripts with.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

#[path = "callout_chaos/bench.rs"]
mod bench;
#[expect(dead_code, reason = "tests of callouts/local use the rest")]
#[path = "callout_local/host.rs"]
mod host;
#[path = "callout_chaos/streams.rs"]
mod streams;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use bench::{Bench, CHAOS};
use host::{available, expect, expect_error, skipped};

/// How often things are tried with another seed, so that each kind of draw is among them.
const SEEDS: std::ops::Range<u32> = 1..7;

// --- what is not broken

#[test]
fn what_is_not_broken_is_the_wrapped_scripts() {
    let bench = Bench::new().set("RATE", "0");
    let ids = bench.ok(&["provision", "2"]);
    let ids: Vec<_> = ids.lines().collect();
    assert_eq!(ids.len(), 2);
    let line = "printf '%s\\n' \"$@\" \"${REGATTA_CHAOS_DIR-hidden}\"; exit 7";
    let mut command = bench.chaos(&["execute", ids[0], "/some/file", "--", "sh", "-c", line, "sh", "a b", "", "*"]);
    assert_eq!(expect(&mut command, 7), "a b\n\n*\nhidden\n");
    for verb in ["ready", "check", "kill", "renew", "fence"] {
        assert_eq!(bench.ok(&[verb, ids[1]]), "");
    }
    expect_error(&mut bench.chaos(&["check", ids[1]]), 1);
    let dest = bench.host.path("dest");
    bench.ok(&["collect", ids[1], dest.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(dest.join("state")).unwrap(), "dead\n");
    assert_eq!(bench.ok(&["list"]).lines().count(), 2);
    bench.ok(&[&["dispose"], &ids[..]].concat());
    assert_eq!(bench.host.ok(&["list"]), "");
    assert_eq!(bench.log(), Vec::<String>::new());
    let calls = bench.read("calls");
    let expected = format!("provision 1 2\nexecute 1 {} /some/file\nready 1 {}\n", ids[0], ids[1]);
    assert!(calls.starts_with(&expected), "{calls}");
    assert!(calls.ends_with(&format!(
        "check 2 {}\ncollect 1 {} {}\nlist 1\ndispose 1 {}\n",
        ids[1],
        ids[1],
        dest.display(),
        ids.join(" ")
    )));
}

#[test]
fn settings_that_are_wrong_are_told() {
    let bench = Bench::new();
    let error = expect_error(bench.chaos(&["list"]).env_remove("REGATTA_CHAOS_DIR"), 64);
    assert!(error.contains("REGATTA_CHAOS_DIR is not set"), "{error}");
    let error = expect_error(bench.chaos(&["list"]).env("REGATTA_CHAOS_FAULTS", "hang hung"), 64);
    assert!(error.contains("there is no fault hung"), "{error}");
    for number in ["x", "-1", "1.5", "007"] {
        let error = expect_error(bench.chaos(&["list"]).env("REGATTA_CHAOS_SEED", number), 64);
        assert!(error.contains(number), "{error}");
    }
    expect_error(&mut bench.chaos(&[]), 64);
}

// --- the draw

/// The log of so many calls, in which one in two is broken. What is wrapped does nothing.
fn drawn(shell: &str, seed: &str, calls: usize) -> Vec<String> {
    let bench = Bench::with_shell(shell).set("SEED", seed).set("RATE", "50").set("CALLOUT", "true");
    for _ in 0..calls {
        bench.chaos(&["provision", "5"]).output().unwrap();
        bench.chaos(&["dispose", "a"]).env("REGATTA_CHAOS_PAUSE", "0").output().unwrap();
    }
    bench.log()
}

#[test]
fn the_draw_is_a_function_of_seed_verb_and_number_in_every_shell() {
    let expected =
        ["provision 1 fail - asked=5 made=5", "dispose 3 dispose-half a", "provision 4 repeated - asked=5 made=5"];
    for shell in ["dash", "bash", "bash --posix", "busybox sh"] {
        if available(shell.split(' ').next().unwrap()) {
            let log = drawn(shell, "7", 6);
            assert_eq!(log, expected, "{shell}");
        } else {
            skipped(&format!("{shell} is not installed"));
        }
    }
    assert_ne!(drawn("sh", "8", 6), expected);
}

#[test]
fn rate_limit_faults_and_verbs_bound_what_happens() {
    let bench = Bench::new().set("CALLOUT", "true").set("RATE", "30");
    for _ in 0..60 {
        bench.chaos(&["check", "a"]).output().unwrap();
    }
    assert!((8..=28).contains(&bench.log().len()), "{} of 60 at 30 per cent", bench.log().len());

    let bench = Bench::new().set("CALLOUT", "true").set("LIMIT", "2");
    for status in [1, 1, 0, 0] {
        expect(&mut bench.chaos(&["check", "a"]), status);
    }
    assert_eq!(bench.log(), ["check 1 check-lies-dead a", "check 2 check-lies-dead a"]);
    assert_eq!(bench.read("planted"), "2\n");

    let bench = Bench::new().set("CALLOUT", "true").set("FAULTS", "kill-fails ready:slow").set("VERBS", "kill check");
    for (verb, status) in [("check", 0), ("kill", 1), ("ready", 0), ("dispose", 0)] {
        expect(&mut bench.chaos(&[verb, "a"]), status);
    }
    fs::write(bench.state("off"), "").unwrap();
    expect(&mut bench.chaos(&["kill", "a"]), 0);
}

#[test]
fn calls_at_once_draw_different_numbers() {
    let bench = Bench::new().set("CALLOUT", "true");
    let children: Vec<_> =
        (0..12).map(|_| bench.chaos(&["check", "a"]).stderr(Stdio::null()).spawn().unwrap()).collect();
    for mut child in children {
        child.wait().unwrap();
    }
    let numbers: BTreeSet<_> = bench.log().iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(numbers.len(), 12);
}

// --- the verbs without a stream

#[test]
fn provision_fails_or_makes_another_number_or_repeats_or_is_slow() {
    for seed in SEEDS {
        let provision = |fault: &str, count: &str, status| {
            let bench = Bench::new().set("FAULTS", fault).set("SEED", &seed.to_string()).set("PAUSE", "0");
            let text = expect(&mut bench.chaos(&["provision", count]), status);
            let ids: Vec<String> = text.split_whitespace().map(String::from).collect();
            let made = bench.host.ok(&["list"]).lines().count();
            assert_eq!(bench.log().len(), 1);
            (ids, made)
        };
        assert_eq!(provision("provision:fail", "3", 1), (vec![], 0));
        let (ids, made) = provision("ids-then-fail", "3", 1);
        assert!(ids.len() == made && (1..=3).contains(&made), "{ids:?}");
        let (ids, made) = provision("too-few", "3", 0);
        assert!(ids.len() == made && (1..=2).contains(&made), "{ids:?}");
        let (ids, made) = provision("too-many", "3", 0);
        assert!(ids.len() == made && (4..=5).contains(&made), "{ids:?}");
        let (ids, made) = provision("repeated", "3", 0);
        assert!(ids.len() == 4 && made == 3 && ids[3] == ids[0], "{ids:?}");
        let (ids, made) = provision("provision:slow", "3", 0);
        assert!(ids.len() == 3 && made == 3, "{ids:?}");
    }
    let bench = Bench::new().set("FAULTS", "too-few");
    assert_eq!(bench.ok(&["provision", "1"]).lines().count(), 1, "one cannot be fewer");
    assert_eq!(bench.log(), Vec::<String>::new());
}

#[test]
fn ready_fails_a_few_times_first() {
    let mut seen = BTreeSet::new();
    for seed in SEEDS {
        let bench = Bench::new().set("SEED", &seed.to_string()).set("LIMIT", "1");
        let id = bench.host.one();
        let mut failed = 0;
        while !bench.chaos(&["ready", &id]).output().unwrap().status.success() {
            failed += 1;
        }
        assert_eq!(bench.log(), [format!("ready 1 slow {id} times={failed}")]);
        seen.insert(failed);
    }
    assert!(seen.len() > 1 && *seen.first().unwrap() >= 1 && *seen.last().unwrap() <= 4, "{seen:?}");
}

#[test]
fn check_lies_and_kill_and_collect_do_nothing() {
    let bench = Bench::new();
    let id = bench.host.one();
    let (mut child, pids) = bench.host.start(&id, "echo $$ >\"$F\"; exec sleep 1000");
    let dest = bench.host.path("dest");
    expect_error(&mut bench.chaos(&["check", &id]), 1);
    expect_error(&mut bench.chaos(&["kill", &id]), 1);
    expect_error(&mut bench.chaos(&["collect", &id, dest.to_str().unwrap()]), 1);
    assert!(host::alive(pids.trim()) && !dest.exists());
    bench.host.ok(&["check", &id]);
    bench.host.ok(&["kill", &id]);
    child.wait().unwrap();
    let expected = ["check 1 check-lies-dead", "kill 1 kill-fails", "collect 1 collect-fails"];
    assert_eq!(bench.log(), expected.map(|line| format!("{line} {id}")));
}

#[test]
fn dispose_fails_or_does_half_or_is_late() {
    let left = |fault: &str, status| {
        let bench = Bench::new().set("FAULTS", fault).set("PAUSE", "0");
        let ids = bench.host.provision(3);
        expect(&mut bench.chaos(&["dispose", &ids[0], &ids[1], &ids[2]]), status);
        assert_eq!(bench.log(), [format!("dispose 1 {fault} {}", ids.join(" "))]);
        ids.iter().map(|id| bench.host.instance(id).exists()).collect::<Vec<_>>()
    };
    assert_eq!(left("dispose-fails", 1), [true, true, true]);
    assert_eq!(left("dispose-half", 1), [false, true, true]);
    assert_eq!(left("dispose-late", 0), [false, false, false]);
}

#[test]
fn shellcheck_has_no_complaint() {
    if !available("shellcheck") {
        assert!(std::env::var_os("CI").is_none(), "shellcheck is not installed");
        skipped("shellcheck is not installed");
        return;
    }
    expect(Command::new("shellcheck").args(["--shell=sh", CHAOS]), 0);
}
