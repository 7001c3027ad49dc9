//! Any text as a configuration file.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = regatta::config::Config::parse(text, std::path::Path::new(".testr.conf"));
});
