//! Runs stored one after the other, as files, and what happens when storing cannot be done.

use std::path::Path;

use super::out::BUFFER;
use super::*;
use crate::repository::sandbox::{Sandbox, end, test};

#[test]
fn runs_are_numbered_and_know_the_one_before() {
    let sandbox = Sandbox::new();
    let first = sandbox.run(&["a", "b!", "c?", "listed="], false);
    assert_eq!((first.id, first.previous), (Some(0), None));
    let second = sandbox.run(&[], false);
    let previous = second.previous.unwrap();
    assert_eq!((second.id, previous.tests, previous.failures), (Some(1), 3, 2));
    assert_eq!(previous.elapsed().unwrap().num_milliseconds(), 250);
    assert_eq!(sandbox.read("next-stream"), "2\n");
    assert_eq!((sandbox.read("0").matches("test: ").count(), &*sandbox.read("1")), (6, ""));
    let names = ["0", "1", "failing", "format", "next-stream", "regatta", "times.dbm.dat", "times.dbm.dir"];
    assert_eq!(sandbox.names(""), names);
    assert_eq!(sandbox.names("regatta"), ["lock"]);
    assert!(!sandbox.read("0").contains("listed"));
}

#[test]
fn files_are_private_as_testr_s() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    sandbox.run(&["a!"], false);
    for (name, mode) in [("0", 0o600), ("failing", 0o600), ("regatta", 0o700), ("regatta/lock", 0o600)] {
        assert_eq!(fs::metadata(sandbox.path(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
}

#[test]
fn a_full_run_replaces_failing_and_a_partial_one_keeps_what_it_did_not_run() {
    let sandbox = Sandbox::new();
    sandbox.run(&["a!", "b!", "c!", "d!", "ok"], false);
    assert_eq!(sandbox.failing(), ["a", "b", "c", "d"]);
    sandbox.run(&["new!", "c!", "b", "x*"], true);
    assert_eq!(sandbox.failing(), ["a", "c", "d", "new"]);
    // What passed and failed again comes last, as in testr.
    sandbox.run(&["a", "a!", "c!", "c", "d*"], true);
    assert_eq!(sandbox.failing(), ["new", "a"]);
    sandbox.run(&[], true);
    assert_eq!(sandbox.failing(), ["new", "a"]);
    sandbox.run(&["z!", "y!", "z", "z!", "hung?"], false);
    assert_eq!(sandbox.failing(), ["y", "z", "hung"]);
}

#[test]
fn failing_holds_the_very_records_of_the_runs() {
    let sandbox = Sandbox::new();
    sandbox.run(&["a!", "ok", "b!"], false);
    let records = |run: &str, id: &str| -> String {
        let text = sandbox.read(run);
        let found: Vec<&str> =
            text.split_inclusive("tags: -worker-0\n").filter(|r| r.contains(&format!("\ntest: {id}\n"))).collect();
        found.concat()
    };
    assert_eq!(sandbox.read("failing"), records("0", "a") + &records("0", "b"));
    sandbox.run(&["c!", "a!"], true);
    assert_eq!(sandbox.read("failing"), records("1", "a") + &records("0", "b") + &records("1", "c"));
}

#[test]
fn an_id_that_is_written_in_another_way_is_still_the_same_test() {
    let sandbox = Sandbox::new();
    sandbox.run(&["a\nb!", "c!"], false);
    assert_eq!(sandbox.failing(), ["a\\x0ab", "c"]);
    sandbox.run(&["a\nb"], true);
    assert_eq!(sandbox.failing(), ["c"]);
    sandbox.run(&[" !"], true);
    let blank = sandbox.failing();
    assert_eq!(blank.len(), 2, "{blank:?}");
    sandbox.run(&[" !"], true);
    assert_eq!(sandbox.failing(), blank);
    let ids = ["a\nb".into(), "a\\x0ab".into()];
    assert_eq!(sandbox.repository.times(&ids).unwrap().into_iter().collect::<Vec<_>>(), [(ids[0].clone(), 0.25)]);
}

#[test]
fn times_are_python_s_and_only_of_tests_that_ended() {
    let sandbox = Sandbox::new();
    sandbox.run(&["a", "b!", "c?"], false);
    let ids = ["a".into(), "b".into(), "c".into(), "d".into()];
    let times = sandbox.repository.times(&ids).unwrap();
    // 2 and 250002 microseconds, each rounded for itself.
    assert_eq!((times.len(), times[&ids[0]], times[&ids[1]]), (2, 0.25, 0.25));
}

#[test]
fn times_in_another_format_are_left_alone_and_ours_are_kept_beside_them() {
    let sandbox = Sandbox::new();
    let times = |ids: &[&str]| {
        let ids: Vec<_> = ids.iter().map(|id| crate::test_id::TestId::from(*id)).collect();
        let mut times: Vec<_> =
            sandbox.repository.times(&ids).unwrap().into_iter().map(|(id, time)| (id.to_string(), time)).collect();
        times.sort_by(|a, b| a.0.cmp(&b.0));
        times
    };
    sandbox.run(&["old", "a"], false);
    for name in ["times.dbm.dat", "times.dbm.dir"] {
        fs::remove_file(sandbox.path(name)).unwrap();
    }
    fs::write(sandbox.path("times.dbm.db"), "theirs").unwrap();
    let told = sandbox.repository.unsupported_times().unwrap();
    assert_eq!((told.format, told.instead), (crate::repository::Format::Ndbm, sandbox.path("regatta/times.dbm")));
    assert_eq!(times(&["a", "old", "none"]), [("a".to_owned(), 0.25), ("old".to_owned(), 0.25)], "from the run");

    sandbox.run(&["a"], true);
    assert_eq!(sandbox.read("times.dbm.db"), "theirs");
    assert!(!sandbox.path("times.dbm.dat").exists());
    assert_eq!(sandbox.names("regatta"), ["lock", "times.dbm.dat", "times.dbm.dir"]);
    assert!(sandbox.repository.unsupported_times().is_none(), "it was said once");
    for _ in 0..3 {
        sandbox.run(&[], true);
    }
    assert_eq!(times(&["a", "old"]), [("a".to_owned(), 0.25)], "what is only in old runs is not looked for");
}

#[test]
fn what_was_not_finished_stays_if_it_has_results() {
    let sandbox = Sandbox::new();
    let mut inserter = sandbox.repository.inserter("r1");
    inserter.test(&test("a!")).unwrap();
    assert_eq!(sandbox.read("regatta/r1.v1"), "", "it waits for a flush");
    inserter.pause(Pause::Idle).unwrap();
    assert!(sandbox.read("regatta/r1.v1").contains("failure: a"));
    inserter.test(&test("b")).unwrap();
    drop(inserter);
    assert!(sandbox.read("regatta/r1.v1").contains("successful: b"));
    drop(sandbox.repository.inserter("r2"));
    let mut listed = sandbox.repository.inserter("r3");
    listed.test(&test("a=")).unwrap();
    drop(listed);
    assert_eq!(sandbox.names("regatta"), ["r1.v1"]);
    assert_eq!(sandbox.read("next-stream"), "0\n");
}

#[test]
fn one_inserter_stores_several_runs() {
    let sandbox = Sandbox::new();
    let mut inserter = sandbox.repository.inserter("run");
    for round in 0..3 {
        inserter.test(&test("a")).unwrap();
        let mut end = end(false);
        inserter.finish(&mut end).unwrap();
        assert_eq!(end.id, Some(round));
    }
    drop(inserter);
    assert_eq!(sandbox.names("regatta"), ["lock"]);
}

#[test]
fn many_inserters_at_once_get_numbers_of_their_own() {
    let sandbox = Sandbox::new();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let repository = &sandbox.repository;
            scope.spawn(move || {
                let mut inserter = repository.inserter(&format!("run-{n}"));
                inserter.test(&test(&format!("t{n}!"))).unwrap();
                inserter.finish(&mut end(true)).unwrap();
            });
        }
    });
    assert_eq!(sandbox.repository.count().unwrap(), 8);
    let mut failing = sandbox.failing();
    failing.sort();
    assert_eq!(failing, ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"]);
    let ids: Vec<_> = failing.iter().map(|id| crate::test_id::TestId::from(&**id)).collect();
    assert_eq!(sandbox.repository.times(&ids).unwrap().len(), 8);
}

#[test]
fn a_run_whose_number_was_never_counted_is_not_overwritten() {
    let sandbox = Sandbox::new();
    sandbox.run(&["a"], false);
    fs::write(sandbox.path("1"), "test: crashed\nfailure: crashed\n").unwrap();
    let end = sandbox.run(&["b"], false);
    assert_eq!((end.id, end.previous.unwrap().failures), (Some(2), 1));
    assert_eq!(sandbox.read("next-stream"), "3\n");
    assert!(sandbox.read("1").contains("crashed"));
}

#[test]
fn a_run_without_a_number_is_kept_in_sight_with_a_way_out() {
    for (next, why) in [(Some("junk\n"), "holds \"junk"), (Some(""), "holds \"\""), (None, "No such file")] {
        let sandbox = Sandbox::new();
        sandbox.run(&["old!"], false);
        match next {
            Some(content) => fs::write(sandbox.path("next-stream"), content).unwrap(),
            None => fs::remove_file(sandbox.path("next-stream")).unwrap(),
        }
        fs::write(sandbox.path("7"), "").unwrap();
        let mut inserter = sandbox.repository.inserter("r1");
        inserter.test(&test("a!")).unwrap();
        let error = inserter.finish(&mut end(false)).unwrap_err();
        assert!(error.to_string().ends_with(".testrepository/unstored-r1.v1"), "{error}");
        let source = error.source.to_string();
        assert!(source.contains("next-stream") && source.contains(why), "{source}");
        assert!(source.contains("makes it run 8: mv ") && source.contains(" && echo 9 > "), "{source}");
        assert!(sandbox.read("unstored-r1.v1").contains("failure: a"));
        assert_eq!(sandbox.failing(), ["old"]);
        assert_eq!(sandbox.names("regatta"), ["lock"]);
    }
}

#[test]
fn results_go_elsewhere_when_the_repository_takes_none() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("regatta"), "in the way").unwrap();
    let mut inserter = sandbox.repository.inserter("r1");
    inserter.test(&test("a")).unwrap();
    inserter.test(&test("b!")).unwrap();
    let mut end = end(false);
    let error = inserter.finish(&mut end).unwrap_err();
    assert_eq!((end.id, &*sandbox.read("next-stream")), (None, "0\n"));
    assert!(error.source.to_string().contains("cannot create"), "{}", error.source);
    let text = take_elsewhere(&error);
    assert!(text.contains("successful: a") && text.contains("failure: b"), "{text}");
}

/// What is in the file that the error says has the results. It is removed.
#[track_caller]
fn take_elsewhere(error: &SinkError) -> String {
    let (_, path) = error.what.split_once("its results are in ").unwrap_or_else(|| panic!("{error}"));
    assert!(Path::new(path).starts_with(std::env::temp_dir()), "{path}");
    let text = fs::read_to_string(path).unwrap();
    fs::remove_file(path).unwrap();
    text
}

#[test]
fn on_a_full_disk_results_go_elsewhere() {
    // Linux has a device that is always full.
    let Ok(full) = OpenOptions::new().read(true).write(true).open("/dev/full") else { return };
    for large in [false, true] {
        let sandbox = Sandbox::new();
        let mut inserter = sandbox.repository.inserter("r1");
        inserter.test(&test("a")).unwrap();
        inserter.run.as_mut().unwrap().out.file = full.try_clone().unwrap();
        if large {
            let mut test = test("large!");
            test.attachments[0].body = vec![b'Q'; 3 * BUFFER].into();
            inserter.test(&test).unwrap();
        }
        inserter.pause(Pause::Idle).unwrap();
        inserter.test(&test("b!")).unwrap();
        let error = inserter.finish(&mut end(false)).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
        let text = take_elsewhere(&error);
        let ids: Vec<_> = Records::new(text.as_bytes()).map(|record| record.unwrap().id).collect();
        assert_eq!(ids, if large { vec![&b"a"[..], b"large", b"b"] } else { vec![&b"a"[..], b"b"] });
        assert_eq!(text.matches('Q').count(), if large { 3 * BUFFER } else { 0 });
        assert_eq!((sandbox.repository.count().unwrap(), sandbox.names("regatta").len()), (0, 0));
    }
}

#[test]
fn when_nothing_takes_the_results_the_error_says_which_are_there() {
    let Ok(full) = OpenOptions::new().read(true).write(true).open("/dev/full") else { return };
    let sandbox = Sandbox::new();
    let mut inserter = sandbox.repository.inserter("r1");
    inserter.test(&test("a")).unwrap();
    inserter.pause(Pause::Idle).unwrap();
    let run = inserter.run.as_mut().unwrap();
    // As if it had been moved before.
    (run.out.file, run.trouble) = (full, Some(RepositoryError::Empty { path: "r".into() }));
    inserter.test(&test("b")).unwrap();
    let error = inserter.pause(Pause::Idle).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("regatta/r1.v1; the results before this are in it"), "{error}");
    inserter.pause(Pause::Idle).unwrap();
    assert!(inserter.finish(&mut end(false)).unwrap_err().to_string().contains("regatta/r1.v1"));
    assert_eq!(sandbox.repository.count().unwrap(), 0);
    assert!(sandbox.read("regatta/r1.v1").contains("successful: a"));
}

#[test]
fn a_large_attachment_goes_through() {
    let sandbox = Sandbox::new();
    let mut inserter = sandbox.repository.inserter("r1");
    let mut large = test("a!");
    large.attachments[0].body = vec![b'Q'; 3 * BUFFER + 7].into();
    for id in ["b!", "c!"] {
        inserter.test(&test(id)).unwrap();
        inserter.test(&large).unwrap();
    }
    inserter.finish(&mut end(false)).unwrap();
    assert_eq!(sandbox.failing(), ["b", "a", "c"]);
    assert_eq!(sandbox.read("0").matches('Q').count(), 2 * (3 * BUFFER + 7));
    assert_eq!(sandbox.read("failing").matches('Q').count(), 3 * BUFFER + 7, "once, since it is one test");
}

#[test]
fn results_are_put_on_the_disk_about_once_a_second() {
    let sandbox = Sandbox::new();
    let mut inserter = sandbox.repository.inserter("r1");
    let at = |ms| Stamp::from_timestamp_millis(ms).unwrap();
    inserter.event(&RunEvent::RunStarted { at: at(10_000), retries: false }).unwrap();
    let mut is_safe_after = |ms, pause| {
        inserter.event(&RunEvent::Test { event: Default::default(), at: at(ms) }).unwrap();
        inserter.test(&test("a")).unwrap();
        inserter.pause(pause).unwrap();
        !inserter.run.as_ref().unwrap().is_dirty
    };
    assert!(!is_safe_after(10_999, Pause::Idle));
    assert!(is_safe_after(11_000, Pause::Idle));
    assert!(!is_safe_after(11_500, Pause::Idle));
    assert!(!is_safe_after(5_000, Pause::Idle), "a clock that is slow");
    assert!(is_safe_after(5_000, Pause::Overdue));
}
