//! A board file: it is read, or all its errors are listed with their lines.
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
