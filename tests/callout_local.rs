//! `callouts/local`, run as regatta and testr run it: what is printed, what arrives, what is left behind.
//!
//! Nothing here sleeps to wait for something: commands say through a FIFO that they have come so far.
//! `REGATTA_TEST_SH` names another shell to run the script with, such as `bash` or `busybox sh`.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

#[path = "callout_local/host.rs"]
mod host;
#[path = "callout_local/killing.rs"]
mod killing;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use host::{DAEMON, Host, SCRIPT, assert_all_ended, available, describe, expect, expect_error, signal, skipped};

// --- ids and blocks of ports

#[test]
fn provision_prints_the_ids_and_nothing_else() {
    let host = Host::new();
    let ids = host.provision(3);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3);
    for (id, port) in ids.iter().zip([20000, 20100, 20200]) {
        assert!(id.starts_with("local-"), "{id}");
        // Blocks lie higher where somebody's servers use these.
        assert!(host.port(id) >= port);
        assert_eq!(fs::metadata(host.instance(id)).unwrap().permissions().mode() & 0o777, 0o700);
        host.ok(&["ready", id]);
        host.ok(&["check", id]);
    }
    let lines = host.ok(&["list"]);
    assert_eq!(lines.lines().count(), 3);
    assert!(lines.contains(&format!("{} live {} 100\n", ids[0], host.port(&ids[0]))), "{lines}");
    assert_eq!(fs::metadata(host.root()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn provisions_at_once_share_no_id_and_no_port() {
    let host = Host::new();
    let spawn = |_| host.callout(&["provision", "8"]).stdout(Stdio::piped()).spawn().unwrap();
    let children: Vec<_> = (0..4).map(spawn).collect();
    let mut ids = BTreeSet::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", describe(&output));
        ids.extend(String::from_utf8(output.stdout).unwrap().lines().map(String::from));
    }
    assert_eq!(ids.len(), 32);
    assert_eq!(ids.iter().map(|id| host.port(id)).collect::<BTreeSet<_>>().len(), 32);
    assert_eq!(host.locks().len(), 32);
}

#[test]
fn blocks_stay_with_their_instances_while_others_come_and_go() {
    let host = Host::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let ids = host.provision(2);
                    for id in &ids {
                        let lock = host.root().join(format!(".ports/{}", host.port(id)));
                        assert_eq!(fs::read_to_string(lock).unwrap().trim_end(), host.instance(id).to_str().unwrap());
                    }
                    host.ok(&["dispose", &ids[0], &ids[1]]);
                }
            });
        }
    });
    assert_eq!(host.locks(), Vec::<String>::new());
    assert_eq!(host.ok(&["list"]), "");
}

#[test]
fn a_lock_whose_instance_is_gone_is_taken_over() {
    let host = Host::new();
    let first = host.one();
    let port = host.port(&first);
    fs::remove_dir_all(host.instance(&first)).unwrap();
    let second = host.one();
    assert_eq!(host.port(&second), port);
    assert_ne!(first, second, "an id is not used again");
    host.ok(&["dispose", &first]);
    assert_eq!(host.locks(), [port.to_string()], "the late disposal took the new owner's lock");
}

#[test]
fn what_a_killed_provision_left_unfinished_is_swept_away() {
    let host = Host::new();
    let id = host.one();
    let port = host.port(&id);
    fs::remove_file(host.instance(&id).join("state")).unwrap();
    let next = host.one();
    assert!(!host.instance(&id).exists());
    assert_eq!(host.port(&next), port);
}

#[test]
fn ports_in_use_are_passed_over() {
    let host = Host::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // The first block is the one that holds the port; there is room for four more behind it.
    let first = listener.local_addr().unwrap().port().min(65_000);
    let provision = |blocks: u32| {
        let limit = u32::from(first) + blocks * 100;
        let mut command = host.callout(&["provision", "1"]);
        command.env("REGATTA_LOCAL_PORT_FIRST", first.to_string());
        command.env("REGATTA_LOCAL_PORT_LIMIT", limit.to_string());
        command
    };
    if listener.local_addr().unwrap().port() < first + 100 {
        let error = expect_error(&mut provision(1), 1);
        assert!(error.contains("all blocks of ports"), "{error}");
        assert_eq!(host.ok(&["list"]), "", "the instance that got no ports is gone");
        // Other programs on this host may hold ports of the next blocks, so there are a few.
        let id = expect(&mut provision(5), 0);
        assert!(host.port(id.trim()) > first);
    }
}

// --- what reaches the command, and what comes back

#[test]
fn arguments_arrive_as_they_were() {
    let host = Host::new();
    let id = host.one();
    let args =
        ["a b", "", "it's", "\"q\"", "two\nlines", "$HOME `id` $(id)", "*", "~", "\\", "a=b", "--", "-n", "é", "\t"];
    let words = [&["execute", &id, "/some/file", "--", "printf", "%s\\0"], &args[..]].concat();
    assert_eq!(host.ok(&words), args.map(|a| format!("{a}\0")).concat());
}

#[test]
fn exit_statuses_are_the_commands() {
    let host = Host::new();
    let id = host.one();
    for status in [0, 1, 2, 77, 126, 127, 255] {
        expect(&mut host.callout(&["execute", &id, "--", "sh", "-c", &format!("exit {status}")]), status);
    }
    for (name, number) in [("TERM", 15), ("KILL", 9), ("INT", 2)] {
        let mut command = host.callout(&["execute", &id, "--", "sh", "-c", &format!("kill -{name} $$")]);
        assert_eq!(expect_error(&mut command, 128 + number), "", "stderr is the command's");
    }
    expect(&mut host.callout(&["execute", &id, "--", "no-such-command"]), 127);
    expect(&mut host.callout(&["execute", &id, "--", "/etc/passwd"]), 126);
    assert_eq!(fs::read_dir(host.instance(&id).join("pids")).unwrap().count(), 0);
}

#[test]
fn stdout_is_the_commands_bytes_and_stderr_apart() {
    let host = Host::new();
    let id = host.one();
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    let bytes: Vec<u8> = (0..10 << 20).map(|_| next()).collect();
    let file = host.path("bytes");
    fs::write(&file, &bytes).unwrap();
    let words = ["execute", &id, "--", "sh", "-c", "echo apart >&2; cat \"$0\"", file.to_str().unwrap()];
    let output = host.callout(&words).output().unwrap();
    assert!(output.stdout == bytes, "{} bytes of {} came, or others", output.stdout.len(), bytes.len());
    assert_eq!(output.stderr, b"apart\n");
}

#[test]
fn stdin_is_at_its_end() {
    let host = Host::new();
    let id = host.one();
    let mut command = host.callout(&["execute", &id, "--", "sh", "-c", "cat; readlink /proc/self/fd/0"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Held open, so that a command that reads it would wait for ever.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"not for the command").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "/dev/null\n");
    drop(stdin);
}

#[test]
fn the_environment_is_the_instances_and_the_directory_the_callers() {
    let host = Host::new();
    let id = host.one();
    let here = host.instance(&id);
    let line = r#"printf '%s\n' "$HOME" "$TMPDIR" "$REGATTA_INSTANCE_ID" "$REGATTA_INSTANCE_DIR" "$REGATTA_PORT_BASE" \
        "$REGATTA_PORT_COUNT" "$PWD" "${REGATTA_COMMAND-none}" "$REGATTA" "${XDG_CACHE_HOME-none}"; umask; mktemp"#;
    let mut command = host.callout(&["execute", &id]);
    command.env("REGATTA_COMMAND", line).env("REGATTA", "/the/regatta").env("XDG_CACHE_HOME", "/x").current_dir("/usr");
    let text = expect(&mut command, 0);
    let lines: Vec<_> = text.lines().collect();
    let path = |name: &str| here.join(name).to_str().unwrap().to_owned();
    assert_eq!(lines[..2], [path("home"), path("tmp")]);
    assert_eq!(lines[2..4], [id.as_str(), here.to_str().unwrap()]);
    assert_eq!(lines[4..6], [host.port(&id).to_string().as_str(), "100"]);
    assert_eq!(lines[6..10], ["/usr", "none", "/the/regatta", "none"]);
    let umask = Command::new("sh").args(["-c", "umask"]).output().unwrap().stdout;
    assert_eq!(lines[10], String::from_utf8(umask).unwrap().trim_end());
    assert!(lines[11].starts_with(&path("tmp")), "{text}");
}

#[test]
fn regatta_command_is_run_by_a_shell_on_the_instance() {
    let host = Host::new();
    let id = host.one();
    let run = |line: &str| {
        // The words are there too, as the shell outside has left them.
        let mut command = host.callout(&["execute", &id, "file", "--", "false"]);
        expect(command.env("REGATTA_COMMAND", line), 0)
    };
    assert_eq!(run("A=1 B=${C:-2} sh -c 'echo $A$B'"), "12\n");
    assert_eq!(run("printf 'b\\na\\n' | sort"), "a\nb\n");
    assert_eq!(run("echo one\necho two"), "one\ntwo\n");
    assert_eq!(run("echo \"`echo $TMPDIR`\""), format!("{}\n", host.instance(&id).join("tmp").display()));
    let long = format!("echo {}", "x".repeat(200_000));
    fs::write(host.path("line"), long).unwrap();
    let mut command = host.callout(&["execute", &id, "--", "false"]);
    assert_eq!(expect(command.env("REGATTA_COMMAND_FILE", host.path("line")), 0).len(), 200_001);
}

#[test]
fn assignments_before_the_command_may_be_words() {
    let host = Host::new();
    let id = host.one();
    let line = "echo \"$A$B $PATH\"";
    let words = ["execute", &id, "--", "A=1", "B=x  y", "PATH=/nowhere:/usr/bin:/bin", "sh", "-c", line];
    assert_eq!(host.ok(&words), "1x  y /nowhere:/usr/bin:/bin\n");
    expect_error(&mut host.callout(&["execute", &id, "--", "A=1"]), 64);
    expect_error(&mut host.callout(&["execute", &id, "--"]), 64);
}

#[test]
fn commands_can_be_interrupted() {
    let host = Host::new();
    let id = host.one();
    // A shell cannot trap what was ignored when it began.
    let line = "trap 'echo caught; exit' INT; kill -INT $$; echo ignored";
    assert_eq!(host.ok(&["execute", &id, "--", "sh", "-c", line]), "caught\n");
}

// --- giving back

#[test]
fn dispose_leaves_nothing() {
    let host = Host::new();
    let ids = host.provision(2);
    let (mut child, pids) = host.start(&ids[0], DAEMON);
    let line = "cd \"$HOME\"; mkdir -p a/b; touch a/b/c; chmod 500 a/b a; sleep 1000 & echo $$ $! >\"$F\"; wait";
    let (mut running, more) = host.start(&ids[1], line);
    child.wait().unwrap();
    assert_eq!(host.ok(&["dispose", &ids[0], &ids[1]]), "");
    assert_all_ended(&pids);
    assert_all_ended(&more);
    assert_eq!(running.wait().unwrap().code(), Some(143));
    let left: Vec<_> = fs::read_dir(host.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [".ports"]);
    assert_eq!(host.locks(), Vec::<String>::new());
}

#[test]
fn dispose_twice_or_of_the_unknown_is_no_error() {
    let host = Host::new();
    let error = expect_error(&mut host.callout(&["dispose", "local-0000-1"]), 0);
    assert!(error.contains("nothing to dispose of"), "{error}");
    assert!(!host.root().exists());
    let id = host.one();
    for _ in 0..2 {
        host.ok(&["dispose", &id, &id]);
    }
}

#[test]
fn dispose_tries_every_id() {
    let host = Host::new();
    let ids = host.provision(2);
    let error = expect_error(&mut host.callout(&["dispose", &ids[0], "../root", "unknown", &ids[1]]), 1);
    assert!(error.contains("not an id: ../root"), "{error}");
    assert_eq!(host.ok(&["list"]), "");
}

#[test]
fn words_that_are_no_ids_are_refused() {
    let host = Host::new();
    host.one();
    fs::create_dir(host.path("outside")).unwrap();
    for word in ["../outside", "", ".", "..", ".ports", "/etc", "a/b", "a b", "$(id)", "-rf", "*", "a\nb"] {
        for verb in ["check", "kill", "fence", "renew", "shell"] {
            expect_error(&mut host.callout(&[verb, word]), 64);
        }
        expect_error(&mut host.callout(&["execute", word, "--", "true"]), 64);
        expect_error(&mut host.callout(&["dispose", word]), 1);
    }
    assert!(host.path("outside").exists());
    assert_eq!(host.ok(&["list"]).lines().count(), 1);
}

#[test]
fn a_root_that_is_not_ours_alone_is_refused() {
    let host = Host::new();
    fs::create_dir(host.path("elsewhere")).unwrap();
    symlink(host.path("elsewhere"), host.root()).unwrap();
    let words: [&[&str]; 4] = [&["provision", "1"], &["execute", "a", "--", "true"], &["dispose", "a"], &["list"]];
    for args in words {
        for root in [host.root(), host.path("root//")] {
            let error = expect_error(host.callout(args).env("REGATTA_LOCAL_ROOT", root), 1);
            assert!(error.contains("is a symbolic link; refused"), "{error}");
        }
    }
    fs::remove_file(host.root()).unwrap();
    assert_eq!(fs::read_dir(host.path("elsewhere")).unwrap().count(), 0);

    fs::create_dir(host.root()).unwrap();
    fs::set_permissions(host.root(), PermissionsExt::from_mode(0o770)).unwrap();
    assert!(expect_error(&mut host.callout(&["provision", "1"]), 1).contains("others may enter"));

    // Only the superuser can make another user's directory to look at.
    if chown(host.root(), Some(65_534), None).is_ok() {
        assert!(expect_error(&mut host.callout(&["provision", "1"]), 1).contains("belongs to another user"));
        chown(host.root(), Some(0), None).unwrap();
    }
}

// --- the other verbs

#[test]
fn collect_copies_all_but_what_is_temporary() {
    let host = Host::new();
    let id = host.one();
    let line = "echo kept >\"$HOME/log\"; echo kept >\"$REGATTA_INSTANCE_DIR/.core\"; echo gone >\"$TMPDIR/scratch\"";
    host.ok(&["execute", &id, "--", "sh", "-c", line]);
    host.ok(&["fence", &id]);
    let dest = host.path("new/dest");
    assert_eq!(host.ok(&["collect", &id, dest.to_str().unwrap()]), "");
    assert_eq!(fs::read_to_string(dest.join("home/log")).unwrap(), "kept\n");
    assert_eq!(fs::read_to_string(dest.join(".core")).unwrap(), "kept\n");
    assert_eq!(fs::read_to_string(dest.join("state")).unwrap(), "dead\n");
    assert!(!dest.join("tmp").exists());
}

#[test]
fn shell_reads_its_stdin_in_the_instances_environment() {
    let host = Host::new();
    let id = host.one();
    let mut command = host.callout(&["shell", &id]);
    let mut child = command.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"echo \"$HOME\"\nexit 5\n").unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, format!("{}\n", host.instance(&id).join("home").display()));
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn renew_touches_the_lease() {
    let host = Host::new();
    let id = host.one();
    let lease = host.instance(&id).join("lease");
    assert_eq!(fs::read_to_string(&lease).unwrap(), "60\n");
    let long_ago = SystemTime::UNIX_EPOCH;
    fs::File::options().write(true).open(&lease).unwrap().set_modified(long_ago).unwrap();
    expect(host.callout(&["renew", &id]).env("REGATTA_TTL", "30"), 0);
    assert_ne!(fs::metadata(&lease).unwrap().modified().unwrap(), long_ago);
    assert_eq!(fs::read_to_string(&lease).unwrap(), "30\n");
}

#[test]
fn wrong_usage_is_64() {
    let host = Host::new();
    let lines: [&[&str]; 8] = [
        &[],
        &["nonsense"],
        &["provision"],
        &["provision", "x"],
        &["provision", "1", "2"],
        &["execute"],
        &["check"],
        &["collect", "a"],
    ];
    for args in lines {
        assert!(expect_error(&mut host.callout(args), 64).starts_with("usage: "));
    }
}

#[test]
fn nothing_to_dispose_of_is_no_error() {
    // testr calls the callout so when it provisioned nothing.
    let status = Host::new().callout(&["dispose"]).status().unwrap();
    assert!(status.success());
}

#[test]
fn it_runs_in_every_shell() {
    for shell in ["dash", "bash", "bash --posix", "busybox sh"] {
        if !available(shell.split(' ').next().unwrap()) {
            skipped(&format!("{shell} is not installed"));
            continue;
        }
        let host = Host::with_shell(shell);
        let ids = host.provision(2);
        assert_eq!(host.ok(&["execute", &ids[0], "f", "--", "A=a b", "sh", "-c", "echo \"$A\""]), "a b\n", "{shell}");
        let error = expect_error(&mut host.callout(&["execute", &ids[0], "--", "sh", "-c", "kill -9 $$"]), 137);
        assert_eq!(error, "", "{shell}");
        let (mut child, pids) = host.start(&ids[0], DAEMON);
        child.wait().unwrap();
        host.ok(&["kill", &ids[0]]);
        assert_all_ended(&pids);
        let (child, pids) = host.start(&ids[1], "sleep 1000 & echo $$ $! >\"$F\"; wait");
        signal("TERM", child.id());
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143), "{shell}");
        assert_all_ended(&pids);
        host.ok(&["fence", &ids[1]]);
        host.ok(&["dispose", &ids[0], &ids[1]]);
        assert_eq!(host.locks(), Vec::<String>::new(), "{shell}");
    }
}

#[test]
fn shellcheck_has_no_complaint() {
    if !available("shellcheck") {
        assert!(std::env::var_os("CI").is_none(), "shellcheck is not installed");
        skipped("shellcheck is not installed");
        return;
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut scripts = vec![PathBuf::from(SCRIPT)];
    for entry in fs::read_dir(manifest.join("examples/demo/tests")).unwrap() {
        scripts.push(entry.unwrap().path());
    }
    expect(Command::new("shellcheck").args(["--shell=sh", "-x", "-P", "SCRIPTDIR"]).args(scripts), 0);
}
