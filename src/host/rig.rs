//! Makes the loop hang or panic, so that `scripts/test-rig` can test the
//! watchdogs and the kernel's clean-up. Only in builds with the feature `rig`.

use std::time::Duration;

/// Does what the file named by `AFFECTD_RIG` says, if there is one: `stick` or
/// `panic`.
///
/// # Panics
/// If the file says `panic`.
pub fn obey() {
    let Some(path) = std::env::var_os("AFFECTD_RIG") else {
        return;
    };
    match std::fs::read_to_string(path).unwrap_or_default().trim() {
        "stick" => loop {
            std::thread::sleep(Duration::from_secs(60));
        },
        "panic" => panic!("the rig told the loop to panic"),
        _ => {}
    }
}
