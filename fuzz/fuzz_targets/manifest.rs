//! A model's manifest.
#![no_main]

use affectd::observe::manifest::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Err(error) = Manifest::parse(text, "model.toml".as_ref())
    {
        assert!(error.to_string().contains("model.toml"));
    }
});
