//! Runs that were cut off, at any point, and what becomes of them.

use std::sync::Barrier;

use super::*;
use crate::attachment::Attachment;
use crate::event::{Pause, Sink};
use crate::repository::sandbox::{Sandbox, end, test};

/// Leave what a regatta leaves that was killed after these: `a!` in the words of the sandbox, `~a!` for an attempt.
fn killed(sandbox: &Sandbox, run: &str, specs: &[&str]) {
    let mut inserter = sandbox.repository.inserter(run);
    for (n, spec) in specs.iter().enumerate() {
        let is_attempt = spec.starts_with('~');
        let mut test = test(spec.trim_start_matches('~'));
        let body = format!("log {n}").into_bytes().into();
        test.attachments = vec![Attachment { name: "log".into(), mime: None, body }];
        if is_attempt { inserter.attempt(&test) } else { inserter.test(&test) }.unwrap();
    }
    inserter.pause(Pause::Idle).unwrap();
    // Its end is not told, and what it would do then is not done.
    std::mem::forget(inserter);
}

/// `a success`, `b fail log 3`: the tests of a run, with the log of those that failed.
fn shown(sandbox: &Sandbox, id: u64) -> Vec<String> {
    let mut shown = Vec::new();
    let mut log = String::new();
    for event in sandbox.repository.run(id).unwrap() {
        let event = event.unwrap();
        log += &event.file.map_or(String::new(), |file| String::from_utf8_lossy(&file.bytes).into_owned());
        if let Some(status) = event.status.filter(|status| status.is_final()) {
            assert_eq!(event.tags, ["worker-0"], "{:?}", event.id);
            let log = std::mem::take(&mut log);
            let log = if status == Status::Fail { format!(" {log}") } else { String::new() };
            shown.push(format!("{} {}{log}", event.id.unwrap(), status.as_str()));
        }
    }
    shown
}

fn time(sandbox: &Sandbox, id: &str) -> Option<f64> {
    sandbox.repository.times(&[id.into()]).unwrap().into_values().next()
}

#[test]
fn what_was_left_becomes_a_partial_run() {
    let sandbox = Sandbox::new();
    sandbox.run(&["old!", "a!", "b!"], false);
    killed(&sandbox, "r1", &["a", "c!", "c2?", "new"]);
    assert_eq!(sandbox.repository.unfinished_runs().unwrap(), ["r1"]);
    assert_eq!(sandbox.repository.recover("r1").unwrap(), Some(1));
    assert_eq!(shown(&sandbox, 1), ["a success", "c fail log 1", "c2 fail log 2", "new success"]);
    assert_eq!(sandbox.failing(), ["old", "b", "c", "c2"]);
    assert_eq!((time(&sandbox, "new"), time(&sandbox, "c"), time(&sandbox, "c2")), (Some(0.25), Some(0.25), None));
    assert_eq!((sandbox.read("next-stream"), sandbox.names("regatta")), ("2\n".into(), vec!["lock".into()]));
    assert_eq!(sandbox.repository.recover("r1").unwrap(), None, "once");
    assert!(sandbox.repository.unfinished_runs().unwrap().is_empty());
}

#[test]
fn what_has_no_results_goes() {
    let sandbox = Sandbox::new();
    killed(&sandbox, "r1", &["listed="]);
    fs::create_dir_all(sandbox.path("regatta")).unwrap();
    fs::write(sandbox.path("regatta/r1.jsonl"), "{}\n").unwrap();
    fs::write(sandbox.path("regatta/r2.v1"), "time: 2024-01-01 00:00:00.000000Z\ntest: a\n").unwrap();
    fs::write(sandbox.path("regatta/7.attempts"), "of run 7").unwrap();
    assert_eq!(sandbox.repository.unfinished_runs().unwrap(), ["r1", "r2"]);
    for run in ["r1", "r2", "r3"] {
        assert_eq!(sandbox.repository.recover(run).unwrap(), None);
    }
    assert_eq!(
        (sandbox.names("regatta"), sandbox.repository.count().unwrap()),
        (vec!["7.attempts".into(), "lock".into()], 0)
    );
}

#[test]
fn a_file_that_was_cut_anywhere_keeps_its_whole_records() {
    let sandbox = Sandbox::new();
    killed(&sandbox, "r1", &["a!", "b", "c!"]);
    let whole = fs::read(sandbox.path("regatta/r1.v1")).unwrap();
    let records: Vec<Record> = Records::new(&*whole).map(Result::unwrap).collect();
    // A record is whole without the line that takes the tags back.
    let ends: Vec<u64> = records.iter().map(|record| record.range.end - b"tags: -worker-0\n".len() as u64).collect();
    fs::remove_file(sandbox.path("regatta/r1.v1")).unwrap();
    for cut in 0..=whole.len() {
        fs::write(sandbox.path("regatta/r1.v1"), &whole[..cut]).unwrap();
        let kept = ends.iter().filter(|end| **end <= cut as u64).count();
        let recovered = sandbox.repository.recover("r1").unwrap();
        assert_eq!(recovered.is_some(), kept > 0, "cut at {cut}");
        if let Some(id) = recovered {
            let end = usize::try_from(records[kept - 1].range.end).unwrap();
            assert_eq!(fs::read(sandbox.path(&id.to_string())).unwrap(), whole[..end], "cut at {cut}");
            assert_eq!(shown(&sandbox, id), ["a fail log 0", "b success", "c fail log 2"][..kept], "cut at {cut}");
        }
    }
    assert_eq!(sandbox.failing(), ["a", "c"]);
}

#[test]
fn a_failure_that_was_undecided_is_one() {
    let sandbox = Sandbox::new();
    sandbox.run(&["old!"], false);
    let specs = ["~a!", "~b!", "~c?", "d", "~a!", "b", "~e\n!", "~e\n!"];
    for mended in [false, true] {
        killed(&sandbox, "r1", &specs);
        let expected = ["d success", "b success", "a fail log 4", "e\\x0a fail log 7"];
        if mended {
            // As if the recovery itself had been cut off, in the middle of what it adds.
            let (path, file) = (sandbox.path("regatta/r1.v1"), sandbox.path("regatta/whole"));
            let mut bytes = fs::read(&path).unwrap();
            bytes.extend_from_slice(&fs::read(&file).unwrap()[bytes.len()..][..250]);
            fs::write(&path, bytes).unwrap();
            fs::remove_file(file).unwrap();
        }
        let id = sandbox.repository.recover("r1").unwrap().unwrap();
        assert_eq!(shown(&sandbox, id), expected);
        assert_eq!(sandbox.failing(), ["old", "a", "e\\x0a"]);
        let attempts = format!("{id}.attempts");
        assert!(sandbox.names("regatta").contains(&attempts), "{:?}", sandbox.names("regatta"));
        let mut logs = Vec::new();
        read_failures(File::open(sandbox.path("regatta").join(attempts)).unwrap(), |test| {
            logs.push(io::read_to_string(test.attachments[0].body.read()?)?);
            Ok(())
        })
        .unwrap();
        assert_eq!(logs, ["log 0", "log 1", "log 4", "log 6", "log 7"]);
        fs::copy(sandbox.path(&id.to_string()), sandbox.path("regatta/whole")).unwrap();
    }
}

#[test]
fn only_attempts_are_results_too() {
    let sandbox = Sandbox::new();
    let mut inserter = sandbox.repository.inserter("r1");
    inserter.attempt(&test("a!")).unwrap();
    drop(inserter);
    assert_eq!(sandbox.names("regatta"), ["r1.attempts", "r1.v1"]);
    assert_eq!(sandbox.repository.recover("r1").unwrap(), Some(0));
    assert_eq!(sandbox.failing(), ["a"]);
}

#[test]
fn attempts_go_with_the_run_and_there_is_no_file_without_any() {
    let sandbox = Sandbox::new();
    let mut inserter = sandbox.repository.inserter("r1");
    fs::create_dir(sandbox.path("regatta")).unwrap();
    for name in ["0.attempts", "1.attempts", "2.attempts"] {
        fs::write(sandbox.path("regatta").join(name), "of a run that is gone").unwrap();
    }
    for round in 0..3 {
        if round == 1 {
            inserter.attempt(&test("a!")).unwrap();
        }
        inserter.test(&test("a")).unwrap();
        inserter.finish(&mut end(false)).unwrap();
    }
    assert_eq!(sandbox.names("regatta"), ["1.attempts", "lock"]);
    assert!(fs::read(sandbox.path("regatta/1.attempts")).unwrap().starts_with(b"\xb3"));
}

/// Leave what a regatta leaves that was killed while it stored `r1` as run 1, after so many steps.
fn killed_while_storing(sandbox: &Sandbox, specs: &[&str], partial: bool, steps: usize) {
    killed(sandbox, "r1", specs);
    let path = |name: &str| sandbox.path(name);
    let number = if partial { "1 partial\n" } else { "1 full\n" };
    fs::write(path("regatta/r1.number"), &number[..if steps == 0 { 3 } else { number.len() }]).unwrap();
    if steps > 1 {
        fs::rename(path("regatta/r1.v1"), path("1")).unwrap();
    }
    if steps > 2 {
        fs::write(path("next-stream"), "2\n").unwrap();
    }
    if steps > 3 {
        let other = Sandbox::new();
        other.run(&["old!", "b!"], false);
        other.run(&["a!", "b", "c!"], partial);
        fs::copy(other.path("failing"), path("failing")).unwrap();
    }
    if steps > 4 {
        fs::rename(path("regatta/r1.attempts"), path("regatta/1.attempts")).unwrap();
    }
}

#[test]
fn storing_that_was_cut_off_is_done_to_its_end() {
    for (partial, failing) in [(false, &["a", "c"][..]), (true, &["old", "a", "c"])] {
        for steps in 0..=5 {
            let sandbox = Sandbox::new();
            sandbox.run(&["old!", "b!"], false);
            killed_while_storing(&sandbox, &["a!", "~b!", "b", "c!"], partial, steps);
            assert_eq!(sandbox.repository.recover("r1").unwrap(), Some(1), "{steps} steps");
            // Before it had its number it was not known to be whole.
            let expected = if steps < 2 { &["old", "a", "c"][..] } else { failing };
            assert_eq!(sandbox.failing(), expected, "{steps} steps");
            assert_eq!(shown(&sandbox, 1), ["a fail log 0", "b success", "c fail log 3"]);
            assert_eq!(sandbox.names("regatta"), ["1.attempts", "lock"], "{steps} steps");
            assert_eq!((sandbox.read("next-stream"), time(&sandbox, "c")), ("2\n".into(), Some(0.25)));
            assert_eq!(sandbox.repository.recover("r1").unwrap(), None);
        }
    }
}

#[test]
fn what_a_later_run_found_out_is_newer() {
    let sandbox = Sandbox::new();
    killed(&sandbox, "r1", &["a!", "b!"]);
    fs::write(sandbox.path("regatta/r1.number"), "0 full\n").unwrap();
    fs::rename(sandbox.path("regatta/r1.v1"), sandbox.path("0")).unwrap();
    assert_eq!(sandbox.run(&["a", "c!"], false).id, Some(1));
    assert_eq!(sandbox.repository.recover("r1").unwrap(), Some(0));
    assert_eq!((sandbox.failing(), sandbox.read("next-stream")), (vec!["c".into()], "2\n".into()));
    assert!(!sandbox.path("regatta/r1.number").exists());
}

#[test]
fn many_at_once_make_one_run() {
    let sandbox = Sandbox::new();
    killed(&sandbox, "r1", &["a!", "~b!"]);
    let barrier = Barrier::new(4);
    let recovered: Vec<Option<u64>> = std::thread::scope(|scope| {
        let recover = || {
            barrier.wait();
            sandbox.repository.recover("r1").unwrap()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(recover)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(recovered.iter().flatten().collect::<Vec<_>>(), [&0]);
    assert_eq!((sandbox.repository.count().unwrap(), sandbox.failing()), (1, vec!["a".into(), "b".into()]));
}
