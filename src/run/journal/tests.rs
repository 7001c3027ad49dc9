//! The journal by itself: its format, its files, its lock.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::*;

struct Folder {
    root: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("regatta/journal")
    }

    fn journal(&self, run: &str) -> Journal {
        Journal::create(&self.path(), &about(run)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(self.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn state(&self, run: &str) -> State {
        State::read(self.read(&format!("{run}.jsonl")).as_bytes()).unwrap().1
    }
}

fn about(run: &str) -> About {
    About {
        run_id: run.into(),
        directory: "/project".into(),
        program: "/bin/regatta".into(),
        templates: [("instance_dispose".to_owned(), "dispose $INSTANCE_IDS".to_owned())].into(),
        env: [("REGATTA_X".to_owned(), "y".to_owned())].into(),
    }
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn stamp(text: &str) -> Stamp {
    text.parse().unwrap()
}

/// The lines without what is another one each time.
fn lines(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        for changing in ["at", "host", "boot", "start"] {
            assert!(line.remove(changing).is_some() || changing != "at", "{line:?}");
        }
        serde_json::to_string(&line).unwrap()
    };
    text.lines().map(line).collect()
}

#[test]
fn a_journal_reads_as_its_page_says() {
    let folder = Folder::new();
    let mut journal = folder.journal("r1");
    let (_, output) = journal.provision_output(1).unwrap();
    assert_eq!(output, folder.path().join("r1.provision-1"));
    journal.instance("i1", 0).unwrap();
    journal.instance("i\n2", 1).unwrap();
    journal.provision_done(1).unwrap();
    journal.callout_started(7, "instance_execute", std::process::id(), true).unwrap();
    journal.callout_ended(7).unwrap();
    journal.left_behind(&ids(&["i1"])).unwrap();
    journal.disposed(&ids(&["i1"])).unwrap();
    journal.kept(&ids(&["i\n2"]), stamp("2030-01-02T03:04:05Z")).unwrap();
    journal.close().unwrap();
    let expected = [
        r#"{"directory":"/project","env":{"REGATTA_X":"y"},"format":1,"program":"/bin/regatta","run":"r1","templates":{"instance_dispose":"dispose $INSTANCE_IDS"}}"#,
        r#"{"file":"r1.provision-1","n":1,"record":"provision"}"#,
        r#"{"id":"i1","index":0,"record":"instance"}"#,
        r#"{"id":"i\n2","index":1,"record":"instance"}"#,
        r#"{"n":1,"record":"provisioned"}"#,
        &format!(
            r#"{{"key":"instance_execute","number":7,"pid":{},"record":"started","session":true}}"#,
            std::process::id()
        ),
        r#"{"number":7,"record":"ended"}"#,
        r#"{"ids":["i1"],"record":"orphaned"}"#,
        r#"{"ids":["i1"],"record":"disposed"}"#,
        r#"{"ids":["i\n2"],"lease":"r1.lease","record":"kept","until":"2030-01-02T03:04:05Z"}"#,
        r#"{"record":"closed"}"#,
    ];
    assert_eq!(lines(&folder.read("r1.jsonl")), expected);
    let state = folder.state("r1");
    assert!(state.is_closed && state.callouts.is_empty() && state.provisions.is_empty());
    let left: Vec<_> = state.instances.iter().map(|(id, held)| (&**id, held.index, held.standing)).collect();
    assert_eq!(left, [("i\n2", 1, Standing::Kept(stamp("2030-01-02T03:04:05Z")))]);
    assert_eq!(folder.names(), ["r1.jsonl", "r1.lease"]);
}

#[test]
fn a_run_that_leaves_nothing_leaves_no_file() {
    let folder = Folder::new();
    let mut journal = folder.journal("r1");
    journal.provision_output(1).unwrap();
    journal.instance("i1", 0).unwrap();
    journal.disposed(&ids(&["i1"])).unwrap();
    assert_eq!(folder.names(), ["r1.jsonl", "r1.lease", "r1.provision-1"]);
    journal.close().unwrap();
    assert!(folder.names().is_empty());
}

#[test]
fn the_state_in_memory_is_that_on_disk() {
    let folder = Folder::new();
    let mut journal = folder.journal("r1");
    journal.provision_output(3).unwrap();
    journal.instance("i1", 0).unwrap();
    journal.instance("i2", 1).unwrap();
    journal.callout_started(1, "instance_provision", std::process::id(), false).unwrap();
    journal.left_behind(&ids(&["i2", "unknown"])).unwrap();
    assert_eq!(&folder.state("r1"), journal.state());
    let callout = &journal.state().callouts[&1];
    assert_eq!(callout.start, machine::process(std::process::id()).map(|process| process.start));
}

#[test]
fn lines_that_cannot_be_read_are_passed_over() {
    let folder = Folder::new();
    let mut journal = folder.journal("r1");
    for (n, id) in ["i1", "i2", "i3"].into_iter().enumerate() {
        journal.instance(id, n).unwrap();
    }
    let text = folder.read("r1.jsonl");
    let at = r#""at":"2026-01-01T00:00:00Z""#;
    let more = format!(
        "{{{at},\"record\":\"teleported\",\"ids\":[\"i1\"]}}\n\n\0\0\0\nnot json\n\
         {{{at},\"record\":\"disposed\",\"ids\":[\"i2\"],\"newer\":1}}\n{{{at},\"record\":\"disposed\",\"ids\":[\"i3\""
    );
    let (_, state) = State::read(format!("{text}{more}").as_bytes()).unwrap();
    assert_eq!(state.instances.keys().collect::<Vec<_>>(), ["i1", "i3"]);
    let length = text.find('\n').unwrap();
    for cut in 0..=text.len() {
        let state = State::read(&text.as_bytes()[..cut]);
        assert_eq!(state.is_some(), cut >= length, "cut at {cut}");
    }
    let newer = text.replacen("\"format\":1", "\"format\":9,\"more\":{}", 1);
    assert_eq!(State::read(newer.as_bytes()).unwrap().1.instances.len(), 3);
}

#[test]
fn names_that_would_lead_elsewhere_are_not_taken() {
    let folder = Folder::new();
    for run in ["", "../r1", "a/b", ".hidden", "a b", "a\nb"] {
        let error = Journal::create(&folder.path(), &about(run)).unwrap_err();
        assert_eq!(error.to_string(), format!("{run:?} cannot name a run"));
    }
    let journal = folder.journal("r1");
    let header = folder.read("r1.jsonl").replace("\"r1\"", "\"../r1\"");
    assert_eq!(State::read(header.as_bytes()), None);
    let at = r#""at":"2026-01-01T00:00:00Z""#;
    let taken = r#"{"run":"r0","lease":"../r0.lease"}"#;
    let lines = format!("{}{{{at},\"record\":\"instance\",\"id\":\"i\",\"index\":0,\"taken\":{taken}}}\n", {
        folder.read("r1.jsonl")
    });
    assert_eq!(State::read(lines.as_bytes()).unwrap().1.instances["i"].lease, "r1.lease");
    journal.close().unwrap();
}

#[test]
fn all_is_private_to_the_user() {
    let folder = Folder::new();
    let mut journal = folder.journal("r1");
    journal.provision_output(1).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path()), 0o700);
    for name in folder.names() {
        assert_eq!(mode(&folder.path().join(&name)), 0o600, "{name}");
    }
    // As after a careless copy.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder.journal("r2");
    assert_eq!(mode(&folder.path()), 0o700);
}

#[test]
fn symlinks_are_not_followed() {
    let folder = Folder::new();
    let elsewhere = folder.root.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::create_dir(folder.root.path().join("regatta")).unwrap();
    symlink(&elsewhere, folder.path()).unwrap();
    let error = Journal::create(&folder.path(), &about("r1")).unwrap_err();
    assert!(error.to_string().ends_with("which is no directory"), "{error}");

    fs::remove_file(folder.path()).unwrap();
    fs::create_dir(folder.path()).unwrap();
    let target = elsewhere.join("target");
    for name in ["r1.jsonl", "r1.lease"] {
        symlink(&target, folder.path().join(name)).unwrap();
        Journal::create(&folder.path(), &about("r1")).expect_err(name);
        let _ = fs::remove_file(folder.path().join("r1.jsonl"));
        fs::remove_file(folder.path().join(name)).ok();
    }
    symlink(&target, folder.path().join("r1.0.new")).unwrap();
    let mut journal = folder.journal("r1");
    symlink(&target, folder.path().join("r1.provision-1")).unwrap();
    journal.provision_output(1).unwrap_err();
    assert!(!target.exists());
    assert!(files::open(&folder.path().join("r1.provision-1")).is_err());
}

#[test]
fn a_run_has_one_journal() {
    let folder = Folder::new();
    let journal = folder.journal("r1");
    let error = Journal::create(&folder.path(), &about("r1")).unwrap_err();
    assert!(matches!(error, JournalError::Exists { .. }), "{error}");
    assert_eq!(folder.names(), ["r1.jsonl", "r1.lease"]);
    journal.close().unwrap();
}

#[test]
fn it_is_locked_for_as_long_as_it_lives() {
    let folder = Folder::new();
    let journal = folder.journal("r1");
    let other = files::open(&folder.path().join("r1.jsonl")).unwrap().unwrap();
    assert!(other.try_lock().is_err());
    drop(journal);
    assert!(other.try_lock().is_ok());
}

/// While journals are made, another thread takes each one that is not locked: there is never one.
#[test]
fn nobody_ever_sees_one_unlocked() {
    let folder = Folder::new();
    drop(folder.journal("first").close());
    let over = Arc::new(AtomicBool::new(false));
    let (path, stop) = (folder.path(), Arc::clone(&over));
    let looker = std::thread::spawn(move || {
        let mut seen = 0;
        while !stop.load(Ordering::Relaxed) {
            for entry in fs::read_dir(&path).unwrap() {
                let path = entry.unwrap().path();
                let Ok(Some(file)) = files::open(&path) else { continue };
                let is_journal = path.extension().is_some_and(|e| e == "jsonl");
                let is_free = file.try_lock().is_ok() && files::is_still(&path, &file);
                seen += u32::from(is_journal);
                assert!(!(is_journal && is_free), "{}", path.display());
                // As who cleans up does.
                if is_free && path.extension().is_some_and(|e| e == "new") {
                    let _ = files::remove(&path);
                }
            }
        }
        seen
    });
    for n in 0..300 {
        folder.journal(&format!("r{n}")).close().unwrap();
    }
    over.store(true, Ordering::Relaxed);
    looker.join().unwrap();
}

#[test]
fn what_could_not_be_written_is_written_with_the_next_record() {
    let folder = Folder::new();
    let mut journal = folder.journal("r1");
    let full = File::options().append(true).open("/dev/full").unwrap();
    let good = std::mem::replace(&mut journal.log.file, full);
    let error = journal.instance("i1", 0).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    journal.instance("i2", 1).unwrap_err();
    // A disk that gets full in the middle of a line.
    (&good).write_all(&journal.log.unwritten.drain(..10).collect::<Vec<_>>()).unwrap();
    journal.log.file = good;
    assert!(folder.state("r1").instances.is_empty());
    journal.disposed(&ids(&["i1"])).unwrap();
    assert_eq!(folder.state("r1").instances.keys().collect::<Vec<_>>(), ["i2"]);
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn a_lease_is_renewed_and_lasts_as_long_as_instances_are_kept() {
    let folder = Folder::new();
    let mut journal = folder.journal("r1");
    let lease = journal.lease().to_owned();
    let old = SystemTime::now() - Duration::from_secs(3600);
    let age = || File::options().append(true).open(&lease).unwrap().set_modified(old).unwrap();
    age();
    journal.renew().unwrap();
    assert!(modified(&lease) > old);
    let until = stamp("2040-01-01T00:00:00Z");
    journal.renew_until(until).unwrap();
    assert_eq!(modified(&lease), SystemTime::from(until));
    journal.renew().unwrap();
    assert!(modified(&lease) < SystemTime::from(until));
    journal.instance("i1", 0).unwrap();
    journal.kept(&ids(&["i1"]), until).unwrap();
    assert_eq!(modified(&lease), SystemTime::from(until));
    journal.renew().unwrap();
    journal.close().unwrap();
    assert_eq!(modified(&lease), SystemTime::from(until));
}

#[test]
fn instances_may_be_kept_for_ever() {
    let folder = Folder::new();
    let mut journal = folder.journal("r1");
    journal.instance("i1", 0).unwrap();
    journal.kept(&ids(&["i1"]), Stamp::MAX_UTC).unwrap();
    journal.close().unwrap();
    assert_eq!(folder.state("r1").instances["i1"].standing, Standing::Kept(Stamp::MAX_UTC));
}

#[test]
fn the_environment_is_only_what_has_to_do_with_regatta() {
    let is_own = |name: &String| OWN_VARIABLES.contains(&name.as_str());
    assert!(environment().keys().all(|name| name.starts_with("REGATTA_") && !is_own(name)));
}

#[test]
fn a_path_that_is_no_text_is_kept_exactly() {
    use std::os::unix::ffi::OsStringExt;
    let folder = Folder::new();
    let directory = PathBuf::from(std::ffi::OsString::from_vec(b"/a\xff".to_vec()));
    let about = About { directory: directory.clone(), ..about("r1") };
    let journal = Journal::create(&folder.path(), &about).unwrap();
    assert_eq!(State::read(folder.read("r1.jsonl").as_bytes()).unwrap().0.directory, directory);
    journal.close().unwrap();
}
