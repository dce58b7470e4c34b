//! A board file: good, or all that is wrong with it by line.
#![no_main]

use affectd::board::Board;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(problems) = Board::parse(text, "/etc/affectd".as_ref()) {
        assert!(!problems.is_empty());
        let lines = text.split('\n').count();
        assert!(problems.iter().all(|p| (1..=lines).contains(&p.line)));
    }
});
