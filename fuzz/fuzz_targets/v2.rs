//! Any bytes as a subunit v2 stream.

#![no_main]

#[path = "../checks.rs"]
#[expect(dead_code, reason = "the other target's check")]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::v2(input));
