//! The fuzz targets' checks, on their seeds and on random changes of them, where there is no fuzzer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "the checks are shared with the fuzz targets")]

#[path = "../fuzz/checks.rs"]
mod checks;

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus-seeds").join(target);
    let mut files: Vec<_> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A change at a place: another byte there, a byte less, or a piece of a seed put in.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Remove(Index),
    Insert(Index, Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<Index>;
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (place(), 0..8u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        place().prop_map(Change::Remove),
        (place(), place(), place()).prop_map(|(at, seed, from)| Change::Insert(at, seed, from)),
    ]
}

fn changed(seeds: &[Vec<u8>], seed: Index, changes: &[Change]) -> Vec<u8> {
    let mut bytes = seed.get(seeds).clone();
    for change in changes {
        let at = |index: &Index, bytes: &[u8]| index.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        if bytes.is_empty() {
            break;
        }
        match change {
            Change::Set(index, byte) => {
                let at = at(index, &bytes);
                bytes[at] = *byte;
            }
            Change::Flip(index, bit) => {
                let at = at(index, &bytes);
                bytes[at] ^= 1 << bit;
            }
            Change::Remove(index) => {
                bytes.remove(at(index, &bytes));
            }
            Change::Insert(index, seed, from) => {
                let piece = seed.get(seeds);
                let at = at(index, &bytes);
                bytes.splice(at..at, piece[from.index(piece.len())..].iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn the_seeds_hold() {
    for seed in seeds("v2") {
        for cut in 0..16 {
            checks::v2(&[&[cut], &seed[1..]].concat());
        }
    }
    for seed in seeds("v1") {
        for end in 0..=seed.len() {
            checks::v1(&seed[..end]);
        }
    }
    for seed in seeds("config") {
        for end in 0..=seed.len() {
            checks::config(&seed[..end]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn changed_streams_hold(seed in any::<Index>(), changes in vec(change(), 0..8)) {
        checks::v2(&changed(&seeds("v2"), seed, &changes));
    }

    #[test]
    fn changed_runs_hold(seed in any::<Index>(), changes in vec(change(), 0..8)) {
        checks::v1(&changed(&seeds("v1"), seed, &changes));
    }

    #[test]
    fn changed_configurations_hold(seed in any::<Index>(), changes in vec(change(), 0..8)) {
        checks::config(&changed(&seeds("config"), seed, &changes));
    }
}
