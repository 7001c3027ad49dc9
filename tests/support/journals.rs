//! Journals, as regattas leave them that died: made here, and let go.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use regatta::run::journal::{About, Journal};

use super::Sandbox;

/// What the journal of a run says whose callouts are the sandbox's.
pub(crate) fn about(sandbox: &Sandbox, run: &str) -> About {
    let templates = [
        ("instance_execute", "execute $INSTANCE_ID $FILES -- $COMMAND"),
        ("instance_dispose", "dispose $INSTANCE_IDS"),
        ("instance_collect", "echo logs of $INSTANCE_ID >$DEST/log"),
        ("instance_shell", "echo shell on $INSTANCE_ID of $REGATTA_RUN_ID; cat; exit 7"),
    ];
    About {
        run_id: run.into(),
        directory: sandbox.path("project"),
        program: env!("CARGO_BIN_EXE_regatta").into(),
        templates: templates.map(|(key, line)| (key.to_owned(), line.to_owned())).into(),
        env: Default::default(),
    }
}

/// The journal of a run with these instances. The run lives until this is dropped, and is dead then.
pub(crate) fn journal(sandbox: &Sandbox, run: &str, ids: &[&str]) -> Journal {
    let dir = sandbox.path("project/.testrepository/regatta/journal");
    let mut journal = Journal::create(&dir, &about(sandbox, run)).unwrap();
    for (n, id) in ids.iter().enumerate() {
        journal.instance(id, n).unwrap();
    }
    journal
}

/// Change what a journal says.
pub(crate) fn edit(sandbox: &Sandbox, run: &str, from: &str, to: &str) {
    let path = sandbox.path(&format!("project/.testrepository/regatta/journal/{run}.jsonl"));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

/// What this machine, or its start, is called in a journal.
pub(crate) fn said(sandbox: &Sandbox, run: &str, field: &str) -> String {
    let text = sandbox.read(&format!("project/.testrepository/regatta/journal/{run}.jsonl"));
    let header: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    format!("\"{field}\":{}", header[field])
}

/// The names in the folder of journals.
pub(crate) fn names(sandbox: &Sandbox) -> Vec<String> {
    let dir = sandbox.path("project/.testrepository/regatta/journal");
    let mut names: Vec<_> =
        fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A session that goes on, as a callout's whose regatta died.
pub(crate) struct Session {
    child: Child,
    /// The number of its leader, and so its own.
    pub(crate) pid: u32,
}

impl Session {
    /// One that has this run's id in its environment, and does this.
    pub(crate) fn new(run: &str, script: &str) -> Self {
        let mut command = Command::new("setsid");
        command.args(["/bin/sh", "-c", &format!("echo $$; {script}")]);
        let mut child = command.env("REGATTA_RUN_ID", run).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { pid: line.trim().parse().unwrap(), child }
    }

    /// Wait for its leader's end.
    pub(crate) fn lose_leader(&mut self) {
        self.child.wait().unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Its group, which is all of it here; there is none where the program has done its work.
        let group = format!("-{}", self.pid);
        let _ = Command::new("/bin/kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}
