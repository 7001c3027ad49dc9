//! Databases as Python makes them: few and many ids, random updates against a model, and what goes wrong.

use std::collections::HashMap;
use std::fs;

use proptest::prelude::*;

use super::*;

struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    /// A database as Python's `dbm.sqlite3` makes it: with a journal that is written ahead.
    fn new() -> Self {
        let sandbox = Self { dir: tempfile::tempdir().unwrap() };
        let database = Connection::open(sandbox.path()).unwrap();
        database.pragma_update(None, "journal_mode", "wal").unwrap();
        database.execute(TABLE, ()).unwrap();
        database.close().unwrap();
        sandbox
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("times #?%20ü.dbm")
    }

    fn sqlite(&self) -> Sqlite {
        Sqlite::new(self.path())
    }

    #[track_caller]
    fn update(&self, times: &[(&str, f64)]) {
        let mut ids = IdTable::default();
        let mut seconds = vec![];
        for (id, time) in times {
            let number = ids.intern(id.as_bytes()) as usize;
            seconds.resize(ids.len(), None);
            seconds[number] = Some(*time);
        }
        self.sqlite().update(&ids, &seconds).unwrap();
    }

    fn read(&self, names: &[&str]) -> Vec<Option<f64>> {
        self.sqlite().read(&table(names)).unwrap()
    }

    fn names(&self) -> usize {
        fs::read_dir(self.dir.path()).unwrap().count()
    }
}

fn table(names: &[&str]) -> IdTable {
    let mut ids = IdTable::default();
    for name in names {
        ids.intern(name.as_bytes());
    }
    ids
}

#[test]
fn times_are_bytes_as_python_s() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.read(&["a"]), [None]);
    sandbox.update(&[("a", 0.25), ("it's ó", 1e-5)]);
    sandbox.update(&[("a", 3.0), ("", 1.0)]);
    assert_eq!(sandbox.read(&["a", "it's ó", "none", ""]), [Some(3.0), Some(1e-5), None, Some(1.0)]);
    assert_eq!(sandbox.names(), 1, "no journal is left");
    let database = Connection::open(sandbox.path()).unwrap();
    let kinds: String = database
        .query_row("SELECT group_concat(DISTINCT typeof(key) || ' ' || typeof(value)) FROM Dict", (), |row| row.get(0))
        .unwrap();
    assert_eq!(kinds, "blob blob");
    let mode: String = database.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn few_of_many_are_looked_up_and_what_is_no_time_is_none() {
    let sandbox = Sandbox::new();
    let names: Vec<String> = (0..5000).map(|n| format!("test.number.{n}")).collect();
    let times: Vec<(&str, f64)> = names.iter().zip(0..).map(|(name, n)| (&**name, f64::from(n))).collect();
    sandbox.update(&times);
    Connection::open(sandbox.path())
        .unwrap()
        .execute_batch(
            "REPLACE INTO Dict VALUES (CAST('test.number.7' AS BLOB), 'x'); INSERT INTO Dict VALUES ('text', 5)",
        )
        .unwrap();
    assert_eq!(sandbox.read(&["test.number.4999", "test.number.7", "none", "text"]), [Some(4999.0), None, None, None]);
    let all: Vec<&str> = names.iter().map(|name| &**name).collect();
    assert_eq!(sandbox.read(&all).iter().flatten().count(), 4999);
}

#[test]
fn a_database_that_is_held_is_an_error_that_says_so() {
    let sandbox = Sandbox::new();
    sandbox.update(&[("a", 0.25)]);
    let holder = Connection::open(sandbox.path()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = sandbox.sqlite().update(&table(&["a"]), &[Some(1.0)]).unwrap_err();
    assert!(matches!(error, RepositoryError::Times { locked: true, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("another program holds it"));
    assert_eq!(sandbox.read(&["a"]), [Some(0.25)], "it can be read meanwhile");
    drop(holder);
    sandbox.update(&[("a", 1.0)]);
    assert_eq!(sandbox.read(&["a"]), [Some(1.0)]);
}

#[test]
fn a_damaged_database_is_an_error_and_stays_as_it_is() {
    let sandbox = Sandbox::new();
    for damaged in
        [&b"SQLite format 3\0and nothing of the kind"[..], &[b"SQLite format 3\0", &[0xff; 8000][..]].concat()]
    {
        fs::write(sandbox.path(), damaged).unwrap();
        for error in [
            sandbox.sqlite().read(&table(&["a"])).map(drop).unwrap_err(),
            sandbox.sqlite().update(&table(&["a"]), &[Some(1.0)]).unwrap_err(),
        ] {
            assert!(matches!(error, RepositoryError::Times { locked: false, .. }), "{error:?}");
            assert!(error.hint().unwrap().contains("away"), "{error:?}");
        }
        assert_eq!(fs::read(sandbox.path()).unwrap(), damaged);
    }
}

#[test]
fn without_a_time_nothing_is_opened_and_without_the_table_it_is_made() {
    let sandbox = Sandbox::new();
    Connection::open(sandbox.path()).unwrap().execute_batch("DROP TABLE Dict; CREATE TABLE Other (x)").unwrap();
    assert_eq!(sandbox.read(&["a"]), [None]);
    sandbox.update(&[("a", 0.5)]);
    assert_eq!(sandbox.read(&["a"]), [Some(0.5)]);
    fs::remove_file(sandbox.path()).unwrap();
    sandbox.sqlite().update(&table(&["a"]), &[None]).unwrap();
    assert_eq!(sandbox.names(), 0);
}

#[test]
fn a_name_for_an_unchanging_database_hides_no_sign() {
    let sandbox = Sandbox::new();
    sandbox.update(&[("a", 0.5)]);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    assert_eq!(read(&immutable(&sandbox.path()), flags, &table(&["a"])).unwrap(), [Some(0.5)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn updates_are_a_map_s(runs in prop::collection::vec(prop::collection::hash_map("[ab'é]{0,2}", 0.0..1e9_f64, 0..9), 0..5)) {
        let sandbox = Sandbox::new();
        let mut model = HashMap::new();
        for run in runs {
            let times: Vec<(&str, f64)> = run.iter().map(|(id, time)| (&**id, *time)).collect();
            sandbox.update(&times);
            model.extend(run);
        }
        let names: Vec<&str> = model.keys().map(String::as_str).collect();
        let expect: Vec<Option<f64>> = names.iter().map(|name| Some(model[*name])).collect();
        prop_assert_eq!(sandbox.read(&names), expect);
    }
}
