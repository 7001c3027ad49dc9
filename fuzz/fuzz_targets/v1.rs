//! Any bytes as a subunit v1 stream.

#![no_main]

#[path = "../checks.rs"]
#[expect(dead_code, reason = "the other target's check")]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::v1(input));
