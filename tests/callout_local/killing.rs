//! Ending what runs on an instance: signals to execute, kill and fence, and what must be spared.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::host::{DAEMON, Host, SCRIPT, alive, assert_all_ended, describe, expect, expect_error, signal};

#[test]
fn signals_to_execute_end_the_command() {
    let host = Host::new();
    let id = host.one();
    for (name, number) in [("TERM", 15), ("INT", 2), ("HUP", 1)] {
        let line = format!("trap 'echo passed on; exit 3' {name}; sleep 1000 >/dev/null & echo $$ $! >\"$F\"; wait");
        let (child, pids) = host.start(&id, &line);
        let record = host.instance(&id).join(format!("pids/{}", child.id()));
        assert!(record.exists());
        signal(name, child.id());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(128 + number), "{}", describe(&output));
        assert_eq!(output.stdout, b"passed on\n");
        assert_all_ended(pids.split(' ').next().unwrap());
        assert!(!record.exists());
        host.ok(&["kill", &id]);
    }
}

#[test]
fn signals_are_not_lost_however_early_they_come() {
    let host = Host::new();
    let id = host.one();
    for _ in 0..20 {
        // The first thing the command does is to have a signal sent to the script that starts it.
        let mut command = host.callout(&["execute", &id, "--", "sh", "-c", "kill -TERM $PPID; exec sleep 1000"]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(143), "{}", describe(&output));
    }
}

#[test]
fn kill_ends_daemons_and_their_children_and_the_instance_stays() {
    let host = Host::new();
    let [id, other] = [host.one(), host.one()];
    let (mut child, pids) = host.start(&id, DAEMON);
    let (mut neighbour, neighbours) = host.start(&other, "sleep 1000 & echo $! $$ >\"$F\"; wait");
    assert!(child.wait().unwrap().success());
    assert_eq!(pids.split_whitespace().count(), 4);
    assert!(pids.split_whitespace().all(alive));
    assert_eq!(host.ok(&["kill", &id]), "");
    assert_all_ended(&pids);
    assert!(neighbours.split_whitespace().all(alive), "kill reached another instance");
    assert_eq!(host.ok(&["execute", &id, "--", "echo", "usable"]), "usable\n");
    host.ok(&["check", &id]);
    host.ok(&["kill", &other]);
    assert_eq!(neighbour.wait().unwrap().code(), Some(143));
}

#[test]
fn an_id_that_begins_like_another_is_another() {
    let host = Host::new();
    let ids = host.provision(10);
    let (short, long) = (&ids[0], &ids[9]);
    assert!(long.starts_with(short.as_str()));
    let (mut child, pids) = host.start(long, "sleep 1000 & echo $! $$ >\"$F\"; wait");
    host.ok(&["kill", short]);
    assert!(pids.split_whitespace().all(alive));
    host.ok(&["kill", long]);
    child.wait().unwrap();
}

#[test]
fn what_ignores_term_is_killed() {
    let host = Host::new();
    let id = host.one();
    // The shell may see its child go before it is killed itself, and must not end in good order then.
    let line = "trap '' TERM HUP INT; sleep 1000 & echo $! $$ >\"$F\"; wait; sleep 1000";
    let (child, pids) = host.start(&id, line);
    expect(host.callout(&["kill", &id]).env("REGATTA_LOCAL_GRACE", "1"), 0);
    assert_all_ended(&pids);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(137));
}

#[test]
fn what_a_killed_execute_leaves_is_found() {
    let host = Host::new();
    let id = host.one();
    // Nothing here has an environment: the session is what is left to know them by.
    let (mut child, pids) = host.start(&id, "env -i sleep 1000 & echo $! $$ >\"$F\"; exec env -i sleep 1000");
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(pids.split_whitespace().all(alive));
    host.ok(&["kill", &id]);
    assert_all_ended(&pids);
    assert_eq!(fs::read_dir(host.instance(&id).join("pids")).unwrap().count(), 0);
}

#[test]
fn fence_ends_all_at_once_and_the_instance_is_dead() {
    let host = Host::new();
    let id = host.one();
    let line = "trap 'echo asked politely' TERM; setsid sleep 1000 & echo $! $$ >\"$F\"; wait; wait";
    let (child, pids) = host.start(&id, line);
    assert_eq!(host.ok(&["fence", &id]), "");
    assert_all_ended(&pids);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(137));
    assert_eq!(output.stdout, b"");
    for verb in ["check", "ready"] {
        assert!(expect_error(&mut host.callout(&[verb, &id]), 1).contains("dead"));
    }
    let error = expect_error(&mut host.callout(&["execute", &id, "--", "echo", "no"]), 69);
    assert!(error.contains(&format!("instance {id} is dead")), "{error}");
    assert_eq!(fs::read_to_string(host.instance(&id).join("state")).unwrap(), "dead\n");
    host.ok(&["fence", &id]);
    host.ok(&["dispose", &id]);
}

#[test]
fn a_recorded_pid_that_another_process_has_now_is_left_alone() {
    let host = Host::new();
    let id = host.one();
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = stranger.id();
    let record = host.instance(&id).join(format!("pids/{pid}"));
    fs::write(&record, format!("1\n{pid} 1\n")).unwrap();
    let output = host.callout(&["fence", &id]).output().unwrap();
    let survived = stranger.try_wait().unwrap().is_none();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(survived, "{}", describe(&output));
    assert!(output.status.success(), "{}", describe(&output));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, format!("callouts/local: not the process that was started, so left alone: {pid}\n"));
    assert!(!record.exists());
}

#[test]
fn instances_within_instances() {
    let host = Host::new();
    let outer = host.one();
    let run = |line: &str| host.ok(&["execute", &outer, "--", "sh", "-c", line, SCRIPT]);
    let said = run("id=$(sh \"$0\" provision 1) && sh \"$0\" execute $id -- sh -c '
        setsid sleep 1000 >/dev/null 2>&1 & echo $REGATTA_INSTANCE_ID $REGATTA_PORT_BASE $!'");
    let words: Vec<_> = said.split_whitespace().collect();
    let [inner, port, pid] = words[..] else { panic!("{said}") };
    assert_ne!(inner, outer);
    assert_ne!(port, host.port(&outer).to_string());
    assert!(alive(pid));
    // From within, the callers are spared and the rest is ended.
    let said = run("setsid sleep 1000 >/dev/null 2>&1 & d=$!; sh \"$0\" list
        REGATTA_LOCAL_ROOT=${TMPDIR%/*/*} sh \"$0\" kill $REGATTA_INSTANCE_ID && echo survived $d");
    assert!(said.contains(inner), "{said}");
    let (_, daemon) = said.trim_end().rsplit_once("survived ").expect("the caller was killed");
    assert_all_ended(&format!("{pid} {daemon}"));
    host.ok(&["dispose", &outer]);
    // The inner instance went with the outer one, and its lock is free to be taken over.
    assert_eq!(host.locks(), [port]);
    host.provision(2);
    assert_eq!(host.locks().len(), 2);
}
