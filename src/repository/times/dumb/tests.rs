//! Data files as data, random updates against a model, and damage.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn dumb(&self) -> Dumb {
        Dumb::new(&self.dir.path().join("times.dbm"))
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.dir.path().join(format!("times.dbm{suffix}"))
    }

    fn file(&self, suffix: &str) -> Vec<u8> {
        fs::read(self.path(suffix)).unwrap()
    }

    fn write(&self, suffix: &str, content: &[u8]) {
        fs::write(self.path(suffix), content).unwrap();
    }

    fn update(&self, times: &[(&str, f64)]) {
        let mut ids = IdTable::default();
        let mut seconds = vec![];
        for (id, time) in times {
            let number = ids.intern(id.as_bytes()) as usize;
            seconds.resize(ids.len(), None);
            seconds[number] = Some(*time);
        }
        self.dumb().update(&ids, &seconds, self.dir.path()).unwrap();
        assert!(!self.path(".dir.new").exists());
    }

    fn read(&self, names: &[&str]) -> Vec<Option<f64>> {
        let mut ids = IdTable::default();
        for name in names {
            ids.intern(name.as_bytes());
        }
        self.dumb().read(&ids).unwrap()
    }
}

#[test]
fn new_times_begin_blocks_and_the_index_is_python_s() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.read(&["a"]), [None]);
    sandbox.update(&[("a", 0.25), ("it's ó", 1e-5)]);
    assert_eq!(sandbox.file(".dir"), b"'a', (0, 4)\n\"it's \xc3\xb3\", (512, 5)\n");
    assert!(!sandbox.path(".bak").exists(), "there was no index before");
    let dat = sandbox.file(".dat");
    assert_eq!((&dat[..5], &dat[512..]), (&b"0.25\0"[..], &b"1e-05"[..]));
    assert_eq!(sandbox.read(&["a", "it's ó", "b"]), [Some(0.25), Some(1e-5), None]);
}

#[test]
fn a_changed_time_leaves_the_old_one_whole_until_the_index_names_it() {
    let sandbox = Sandbox::new();
    sandbox.update(&[("a", 0.25), ("b", 1.0)]);
    let old_dir = sandbox.file(".dir");
    sandbox.update(&[("a", 12.5), ("c", 3.0)]);
    assert_eq!(sandbox.file(".dir"), b"'a', (256, 4)\n'b', (512, 3)\n'c', (1024, 3)\n");
    assert_eq!(sandbox.file(".bak"), old_dir);
    assert_eq!(&sandbox.file(".dat")[..4], b"0.25");
    sandbox.update(&[("a", 7.0)]);
    assert_eq!(sandbox.file(".dir"), b"'a', (0, 3)\n'b', (512, 3)\n'c', (1024, 3)\n");
    assert_eq!(sandbox.file(".dat").len(), 1027, "no new block was needed");
    assert_eq!(sandbox.read(&["a", "b", "c"]), [Some(7.0), Some(1.0), Some(3.0)]);
}

#[test]
fn without_a_time_the_files_are_made_as_testr_makes_them_and_not_touched_again() {
    let sandbox = Sandbox::new();
    sandbox.update(&[]);
    assert_eq!((sandbox.file(".dat"), sandbox.file(".dir")), (vec![], vec![]));
    sandbox.update(&[("a", 1.0)]);
    let before = sandbox.file(".dir");
    sandbox.update(&[]);
    assert!(sandbox.file(".dir") == before && !sandbox.file(".dat").is_empty());
}

#[test]
fn what_is_no_time_is_none_and_is_replaced() {
    let sandbox = Sandbox::new();
    sandbox.write(".dat", b"nan...inf...1.5.....2.5");
    sandbox.write(".dir", b"'a', (0, 3)\n'b', (6, 3)\n'c', (10, 4)\n'd', (20, 3)\n'e', (20, 99)\n'f', (3, 0)\n");
    assert_eq!(sandbox.read(&["a", "b", "c", "d", "e", "f"]), [None, None, None, Some(2.5), None, None]);
    sandbox.update(&[("a", 1.0), ("f", 2.0)]);
    assert_eq!(sandbox.read(&["a", "d", "f"]), [Some(1.0), Some(2.5), Some(2.0)]);
}

#[test]
fn a_key_that_comes_twice_has_its_last_value() {
    let sandbox = Sandbox::new();
    sandbox.write(".dat", b"1.02.03.0");
    sandbox.write(".dir", b"'a', (0, 3)\n'b', (3, 3)\n'a', (6, 3)\n");
    assert_eq!(sandbox.read(&["a", "b"]), [Some(3.0), Some(2.0)]);
    sandbox.update(&[("b", 4.0)]);
    assert_eq!(sandbox.read(&["a", "b"]), [Some(3.0), Some(4.0)]);
    sandbox.update(&[("a", 5.0)]);
    assert_eq!(sandbox.read(&["a", "b"]), [Some(5.0), Some(4.0)]);
    assert_eq!(sandbox.file(".dir").split(|b| *b == b'\n').count(), 3, "two lines and the end");
}

#[test]
fn a_missing_file_loses_only_what_was_in_it() {
    let sandbox = Sandbox::new();
    sandbox.update(&[("a", 1.0), ("b", 2.0)]);
    fs::remove_file(sandbox.path(".dat")).unwrap();
    assert_eq!(sandbox.read(&["a", "b"]), [None, None]);
    sandbox.update(&[("b", 3.0)]);
    assert_eq!(sandbox.read(&["a", "b"]), [None, Some(3.0)], "the place of a must not be b's now");
    fs::remove_file(sandbox.path(".dir")).unwrap();
    assert_eq!(sandbox.read(&["a", "b"]), [None, None]);
    sandbox.update(&[("a", 4.0)]);
    assert_eq!(sandbox.read(&["a", "b"]), [Some(4.0), None]);
}

#[test]
fn what_is_far_apart_is_read_and_written_too() {
    let sandbox = Sandbox::new();
    sandbox.update(&[("a", 1.0)]);
    let far = 3 << 20;
    let dat = OpenOptions::new().write(true).open(sandbox.path(".dat")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&dat, b"9.0", far).unwrap();
    let mut dir = sandbox.file(".dir");
    dir.extend_from_slice(
        format!("'far', ({far}, 3)\n'beyond', ({}, 3)\n'end', (18446744073709551615, 3)", far * 9).as_bytes(),
    );
    sandbox.write(".dir", &dir);
    let names = ["far", "a", "beyond", "end"];
    assert_eq!(sandbox.read(&names), [Some(9.0), Some(1.0), None, None]);
    sandbox.update(&[("a", 2.0), ("far", 8.0), ("new", 7.0)]);
    assert_eq!(sandbox.read(&names), [Some(8.0), Some(2.0), None, None]);
    assert_eq!(sandbox.read(&["new"]), [Some(7.0)]);
}

#[test]
fn many_windows_are_one_file() {
    let sandbox = Sandbox::new();
    let names: Vec<String> = (0..5000).map(|n| format!("test.number.{n}")).collect();
    for round in 0..3_u32 {
        let times: Vec<(&str, f64)> =
            names.iter().zip(0_u32..).map(|(name, n)| (&**name, f64::from(n * (round + 1)) / 8.0)).collect();
        sandbox.update(&times);
        let read = sandbox.read(&names.iter().map(|n| &**n).collect::<Vec<_>>());
        assert!(read.iter().zip(&times).all(|(read, (_, time))| *read == Some(*time)));
    }
    assert!(sandbox.file(".dat").len() <= 5000 * 512);
}

/// What is done to the files between two updates.
#[derive(Clone, Debug)]
enum Step {
    Update(Vec<(u8, f64)>),
    CutDat(u16),
    CutDir(u16),
}

fn steps() -> impl Strategy<Value = Step> {
    let seconds = prop_oneof![Just(0.0), Just(0.25), 0.0..1e-3, -1e9..1e9];
    prop_oneof![
        6 => prop::collection::vec((0..30_u8, seconds), 0..20).prop_map(Step::Update),
        1 => any::<u16>().prop_map(Step::CutDat),
        1 => any::<u16>().prop_map(Step::CutDir),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_is_a_map_and_damage_makes_it_smaller_never_wrong(steps in prop::collection::vec(steps(), 1..12)) {
        let sandbox = Sandbox::new();
        let names: Vec<String> = (0..30).map(|n| format!("t'{n}\u{e0}")).collect();
        let all: Vec<&str> = names.iter().map(|n| &**n).collect();
        let mut model: HashMap<&str, f64> = HashMap::new();
        for step in steps {
            let mut is_damaged = true;
            match step {
                Step::Update(times) => {
                    let times: Vec<(&str, f64)> = times.into_iter().map(|(n, t)| (all[usize::from(n)], t)).collect();
                    sandbox.update(&times);
                    model.extend(times);
                    is_damaged = false;
                }
                Step::CutDat(by) => cut(&sandbox.path(".dat"), by % 1500),
                Step::CutDir(by) => cut(&sandbox.path(".dir"), by % 60),
            }
            for (name, read) in all.iter().zip(sandbox.read(&all)) {
                if is_damaged && read.is_none() {
                    model.remove(name);
                }
                prop_assert_eq!(read, model.get(name).copied(), "{}", name);
            }
        }
    }
}

fn cut(path: &Path, by: u16) {
    if let Ok(file) = OpenOptions::new().write(true).open(path) {
        let len = file.metadata().unwrap().len();
        file.set_len(len.saturating_sub(u64::from(by))).unwrap();
    }
}
