//! Journals as dead regattas leave them, and what is done about them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use super::*;
use crate::event::Stamp;
use crate::run::journal::{About, Journal};
use crate::run::signals::Signals;

/// A project with a folder for journals, and callouts that write what they were called with into a log.
struct Project {
    root: tempfile::TempDir,
}

const DISPOSE: &str = "echo \"dispose \"$INSTANCE_IDS\" $REGATTA_RUN_ID\" >>log; [ ! -e broken ]";

impl Project {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("journal")
    }

    fn about(&self, run: &str) -> About {
        let templates = [
            ("instance_dispose", DISPOSE),
            ("instance_kill", "echo \"kill $INSTANCE_ID $REGATTA_INSTANCE_INDEX\" >>log; exit 1"),
        ];
        About {
            run_id: run.into(),
            directory: self.root.path().into(),
            program: "/bin/regatta".into(),
            templates: templates.map(|(key, line)| (key.to_owned(), line.to_owned())).into(),
            env: [("REGATTA_X".to_owned(), "it's $x".to_owned())].into(),
        }
    }

    /// The journal of a run that is under way; it is dead when this is dropped.
    fn journal(&self, run: &str) -> Journal {
        Journal::create(&self.dir(), &self.about(run)).unwrap()
    }

    fn one(&self) -> Abandoned {
        let mut all = abandoned(&self.dir()).unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.root.path().join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn edit(&self, run: &str, edit: impl FnOnce(String) -> String) {
        let path = self.dir().join(format!("{run}.jsonl"));
        fs::write(&path, edit(fs::read_to_string(&path).unwrap())).unwrap();
    }
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn clean(abandoned: &mut Abandoned, which: Which<'_>) -> Cleaned {
    let cleaned = run(abandoned.clean_up(which, &mut Signals::none())).unwrap();
    assert!(cleaned.troubles.is_empty(), "{:?}", cleaned.troubles);
    cleaned
}

fn far() -> Stamp {
    "2100-01-01T00:00:00Z".parse().unwrap()
}

#[test]
fn what_was_left_is_killed_and_given_back_with_one_call() {
    let project = Project::new();
    let mut journal = project.journal("r1");
    for (n, id) in ["i2", "i10", "kept", "over", "gone", "orphan"].into_iter().enumerate() {
        journal.instance(id, n).unwrap();
    }
    journal.disposed(&ids(&["gone"])).unwrap();
    journal.left_behind(&ids(&["orphan"])).unwrap();
    journal.kept(&ids(&["kept"]), far()).unwrap();
    journal.kept(&ids(&["over"]), "2001-01-01T00:00:00Z".parse().unwrap()).unwrap();
    assert!(abandoned(&project.dir()).unwrap().is_empty(), "it lives");
    drop(journal);

    let mut left = project.one();
    assert!(left.was_cut_short());
    assert_eq!(left.origin(), Origin::Here);
    assert_eq!(left.due(), ["i10", "i2", "orphan", "over"].map(str::to_owned).into());
    assert!(abandoned(&project.dir()).unwrap().is_empty(), "somebody sees to it");
    let cleaned = clean(&mut left, Which::Due);
    assert_eq!(cleaned.disposed, ["i10", "i2", "orphan", "over"]);
    let mut log = project.log();
    log[..2].sort();
    assert_eq!(log, ["kill i10 1", "kill i2 0", "dispose i10 i2 orphan over r1"]);
    drop(left);

    let mut left = project.one();
    assert_eq!(left.state().instances.keys().collect::<Vec<_>>(), ["kept"]);
    assert!(left.due().is_empty());
    assert!(clean(&mut left, Which::Due).disposed.is_empty());
    left.results_are_safe().unwrap();
    assert_eq!(clean(&mut left, Which::All).disposed, ["kept"]);
    assert!(files::names(&project.dir()).is_empty(), "nothing is left to remember");
}

#[test]
fn results_come_before_the_journal_goes() {
    let project = Project::new();
    project.journal("r1").instance("i1", 0).unwrap();
    let mut left = project.one();
    clean(&mut left, Which::Due);
    drop(left);
    let mut left = project.one();
    assert!(left.was_cut_short() && left.due().is_empty());
    left.results_are_safe().unwrap();
    assert!(files::names(&project.dir()).is_empty());
}

#[test]
fn a_callout_finds_the_environment_and_the_directory_of_its_run() {
    let project = Project::new();
    let line = "env | grep -c RECORDED >>log; echo \"$REGATTA_X $(pwd) $REGATTA $REGATTA_INSTANCE_IDS\" >>log";
    let mut about = project.about("r1");
    about.templates.insert("instance_dispose".into(), line.into());
    Journal::create(&project.dir(), &about).unwrap().instance("i 1", 0).unwrap();
    clean(&mut project.one(), Which::Due);
    let here = project.root.path().canonicalize().unwrap();
    assert_eq!(project.log()[1..], ["0".to_owned(), format!("it's $x {} /bin/regatta i 1", here.display())]);
}

#[test]
fn a_failed_disposal_leaves_orphans_that_are_tried_again_or_forgotten() {
    let project = Project::new();
    let broken = project.root.path().join("broken");
    fs::write(&broken, "").unwrap();
    let mut journal = project.journal("r1");
    journal.instance("i1", 0).unwrap();
    journal.instance("i2", 1).unwrap();
    drop(journal);
    let mut left = project.one();
    left.results_are_safe().unwrap();
    for _ in 0..2 {
        let cleaned = clean(&mut left, Which::Due);
        assert_eq!((cleaned.left, cleaned.disposed), (ids(&["i1", "i2"]), vec![]));
        let failure = cleaned.failure.unwrap().to_string();
        assert!(failure.starts_with("instance_dispose failed while disposing of what was left behind: exit status 1"));
        drop(left);
        left = project.one();
        assert!(left.state().instances.values().all(|held| held.standing == Standing::Orphan));
    }
    left.forget(&ids(&["i1"])).unwrap();
    fs::remove_file(&broken).unwrap();
    assert_eq!(clean(&mut left, Which::Due).disposed, ["i2"]);
    assert_eq!(project.log().iter().filter(|line| line.starts_with("kill")).count(), 2, "only what was in use");
    assert!(files::names(&project.dir()).is_empty());
}

#[test]
fn without_a_way_to_give_them_back_instances_are_dropped() {
    let project = Project::new();
    let about = About { templates: Default::default(), ..project.about("r1") };
    Journal::create(&project.dir(), &about).unwrap().instance("i1", 0).unwrap();
    assert_eq!(clean(&mut project.one(), Which::Due).dropped, ["i1"]);
}

#[test]
fn a_directory_that_is_gone_is_no_reason_to_run_elsewhere() {
    let project = Project::new();
    let about = About { directory: project.root.path().join("gone"), ..project.about("r1") };
    Journal::create(&project.dir(), &about).unwrap().instance("i1", 0).unwrap();
    assert_eq!(clean(&mut project.one(), Which::Due).left, ["i1"]);
    assert!(project.log().is_empty());
}

#[test]
fn what_provision_printed_last_is_found() {
    let project = Project::new();
    let mut journal = project.journal("r1");
    for (n, printed, told) in [(1, "i1 i2\n", &["i1"][..]), (2, "i3\ni4", &["i3", "i4"]), (3, "i4\ti5\r\n\n", &[])] {
        let (mut out, _) = journal.provision_output(n).unwrap();
        out.write_all(printed.as_bytes()).unwrap();
        for id in told {
            journal.instance(id, 0).unwrap();
        }
        if n == 2 {
            journal.provision_done(n).unwrap();
            // The same name may come again.
            journal.disposed(&ids(&["i4"])).unwrap();
        }
    }
    drop(journal);
    let mut left = project.one();
    assert_eq!(left.due(), ["i1", "i2", "i3", "i4", "i5"].map(str::to_owned).into());
    assert_eq!(clean(&mut left, Which::Due).disposed, ["i1", "i2", "i3", "i4", "i5"]);
    assert_eq!(files::names(&project.dir()), ["r1.jsonl", "r1.lease"]);
}

#[test]
fn a_file_that_the_journal_should_not_name_is_not_read() {
    let project = Project::new();
    drop(project.journal("r1"));
    fs::write(project.root.path().join("secret"), "i1").unwrap();
    project.edit("r1", |text| {
        text + "{\"at\":\"2026-01-01T00:00:00Z\",\"record\":\"provision\",\"n\":1,\"file\":\"../secret\"}\n"
    });
    assert!(project.one().due().is_empty());
}

#[test]
fn other_machines_and_other_starts_are_told_apart() {
    let project = Project::new();
    for run in ["r1", "r2", "r3"] {
        drop(project.journal(run));
    }
    project.edit("r1", |text| text.replace(&machine::boot(), "another"));
    project.edit("r2", |text| text.replace(&format!("\"host\":\"{}\"", machine::host()), "\"host\":\"another\""));
    fs::copy(project.dir().join("r3.jsonl"), project.dir().join("copy.jsonl")).unwrap();
    fs::write(project.dir().join("r4.new"), "half a head").unwrap();
    fs::write(project.dir().join("r4.lease"), "").unwrap();
    fs::write(project.dir().join("junk.jsonl"), "junk\n").unwrap();
    let origins: Vec<_> = abandoned(&project.dir()).unwrap().iter().map(Abandoned::origin).collect();
    assert_eq!(origins, [Origin::OtherBoot, Origin::OtherHost, Origin::Here]);
    let names = files::names(&project.dir());
    assert!(!names.iter().any(|name| name.starts_with("r4")), "{names:?}");
    assert!(abandoned(&project.root.path().join("nothing")).unwrap().is_empty());
}

#[test]
fn a_cut_line_is_ended_before_the_next() {
    let project = Project::new();
    project.journal("r1").instance("i1", 0).unwrap();
    project.edit("r1", |text| text + "{\"at\":\"2026-01-01T00:00:00Z\",\"record\":\"dis");
    clean(&mut project.one(), Which::Due);
    assert!(project.one().state().instances.is_empty());
}

/// A session as a callout's: `sh`, with a child that outlives its TERM.
struct Session(Child);

impl Session {
    fn new(run: &str, script: &str) -> Self {
        let mut command = Command::new("/usr/bin/setsid");
        command.args(["/bin/sh", "-c", script]).env("REGATTA_RUN_ID", run).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_callout_that_still_runs_is_ended_with_its_session() {
    let project = Project::new();
    let mut journal = project.journal("r1");
    journal.instance("i1", 0).unwrap();
    let mut session = Session::new("r1", "(trap '' TERM; echo $$; exec sleep 600) & wait");
    let pid: u32 = session.line().parse().unwrap();
    journal.callout_started(4, "instance_execute", pid, true).unwrap();
    drop(journal);
    let members = || machine::processes().into_values().filter(|p| p.session == pid && !p.is_zombie).count();
    assert_eq!(members(), 2);
    let cleaned = clean(&mut project.one(), Which::Due);
    assert_eq!((cleaned.ended, members()), (1, 0));
    assert_eq!(project.log(), ["kill i1 0", "dispose i1 r1"]);
    assert!(project.one().state().callouts.is_empty());
}

#[test]
fn a_process_that_only_has_the_number_is_left_alone() {
    let project = Project::new();
    let mut journal = project.journal("r1");
    let mut session = Session::new("r2", "echo $$; exec sleep 600");
    let pid: u32 = session.line().parse().unwrap();
    journal.callout_started(1, "instance_execute", pid, true).unwrap();
    let start = machine::process(pid).unwrap().start;
    drop(journal);
    project.edit("r1", |text| text.replace(&format!("\"start\":{start}"), "\"start\":1"));
    assert_eq!(clean(&mut project.one(), Which::Due).ended, 0);
    assert!(session.0.try_wait().unwrap().is_none());
}

#[test]
fn a_kept_instance_becomes_one_other_runs() {
    let project = Project::new();
    let mut first = project.journal("r1");
    for (n, id) in ["i1", "i2", "i3"].into_iter().enumerate() {
        first.instance(id, n).unwrap();
    }
    first.left_behind(&ids(&["i3"])).unwrap();
    first.kept(&ids(&["i1", "i2"]), far()).unwrap();
    let lease = first.lease().to_owned();
    first.close().unwrap();

    let other = About { templates: Default::default(), ..project.about("r9") };
    assert!(reusable(&project.dir(), &other).unwrap().is_empty(), "made by other callouts");
    let mut found = reusable(&project.dir(), &project.about("r2")).unwrap();
    assert_eq!(found.iter().map(|kept| &*kept.id).collect::<Vec<_>>(), ["i1", "i2"]);
    assert!(reusable(&project.dir(), &project.about("r3")).unwrap().is_empty(), "somebody else has the choice");
    let mut second = project.journal("r2");
    second.adopt(found.remove(0), 5).unwrap();
    drop(found);
    let found = reusable(&project.dir(), &project.about("r3")).unwrap();
    assert_eq!(found.iter().map(|kept| &*kept.id).collect::<Vec<_>>(), ["i2"]);
    drop(found);

    // It watches the lease that it was told first, which is not cut short for the one that stays kept.
    let renewed = |journal: &Journal| {
        File::options().append(true).open(&lease).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        journal.renew().unwrap();
        fs::metadata(&lease).unwrap().modified().unwrap() > SystemTime::UNIX_EPOCH
    };
    assert!(renewed(&second));
    let mut left = project.one();
    assert_eq!(clean(&mut left, Which::All).disposed, ["i2", "i3"]);
    drop(left);
    assert_eq!(files::names(&project.dir()), ["r1.lease", "r2.jsonl", "r2.lease"], "it has the lease still");
    assert!(renewed(&second));
    second.disposed(&ids(&["i1"])).unwrap();
    second.close().unwrap();
    assert!(files::names(&project.dir()).is_empty());
}

#[test]
fn a_run_that_died_while_it_took_an_instance_over_disposes_of_it_once() {
    let project = Project::new();
    let mut first = project.journal("r1");
    first.instance("i1", 0).unwrap();
    first.kept(&ids(&["i1"]), far()).unwrap();
    first.close().unwrap();
    let before = fs::read_to_string(project.dir().join("r1.jsonl")).unwrap();
    let mut second = project.journal("r2");
    let kept = reusable(&project.dir(), &project.about("r2")).unwrap().remove(0);
    second.adopt(kept, 0).unwrap();
    drop(second);
    // As if it had died between the two records.
    fs::write(project.dir().join("r1.jsonl"), before).unwrap();
    fs::set_permissions(project.dir().join("r1.jsonl"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for mut left in abandoned(&project.dir()).unwrap().into_iter().filter(|left| left.header().run == "r2") {
        clean(&mut left, Which::Due);
    }
    assert_eq!(project.log(), ["kill i1 0", "dispose i1 r2"]);
    assert!(reusable(&project.dir(), &project.about("r3")).unwrap().is_empty());
}

#[test]
fn a_disposal_that_takes_too_long_is_ended() {
    let project = Project::new();
    let mut about = project.about("r1");
    about.templates.insert("instance_dispose".into(), "exec sleep 600".into());
    Journal::create(&project.dir(), &about).unwrap().instance("i1", 0).unwrap();
    let mut left = project.one();
    let shell = left.lines().dispose(&ids(&["i1"])).unwrap().in_shell();
    let limit = Duration::from_millis(10);
    let mut troubles = Vec::new();
    let endings = run(left.call("instance_dispose", vec![shell], limit, &mut Signals::none(), &mut troubles)).unwrap();
    assert_eq!(endings[0].to_string(), "it took longer than its limit, 0.01 s, and was ended (killed by signal 15)");
    assert!(troubles.is_empty() && left.state().callouts.is_empty());
}
