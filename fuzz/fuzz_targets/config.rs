//! Any text as a configuration file.

#![no_main]

#[path = "../checks.rs"]
#[expect(dead_code, reason = "shared by all targets")]
mod checks;

libfuzzer_sys::fuzz_target!(|text: &[u8]| checks::config(text));
