//! A hash of all settings, which shows at a glance which machines have the same
//! settings.

use super::Board;
use crate::digest::sha256_hex;

impl Board {
    /// The SHA-256 of all settings in 64 hexadecimal digits, with the defaults
    /// of keys that the file does not have, but without `id` and `name`.
    /// Another version of affectd may give another hash for the same file.
    #[must_use]
    pub fn settings_sha256(&self) -> String {
        let settings = Self {
            id: None,
            name: String::new(),
            // The place of a key in the file is not a setting.
            claims: Vec::new(),
            warnings: Vec::new(),
            ..self.clone()
        };
        // The text for debugging has every field of every section, so that a new
        // key cannot be forgotten here.
        sha256_hex(format!("{settings:?}").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn digest(text: &str) -> String {
        let text = format!("{text}\n[decide]\nenter = 0.6\n");
        let board = Board::parse(&text, Path::new("/etc/affectd")).unwrap();
        board.settings_sha256()
    }

    #[test]
    fn settings_count_and_their_place_and_the_name_do_not() {
        let camera = "[capture]\nsource = '/dev/video0'";
        let first = digest(camera);
        assert_eq!(first.len(), 64);
        let same = [
            format!("# A comment.\nname = 'x'\nid = 'robot-7'\n\n{camera}"),
            format!("{camera}\nstall_timeout_ms = 800"),
            format!("{camera}\n[events]").replace("[events]", ""),
        ];
        for text in same {
            assert_eq!(digest(&text), first, "{text}");
        }
        let others = [
            camera.replace('0', "1"),
            format!("{camera}\n[events]"),
            format!("{camera}\nfps = 5"),
            format!("{camera}\n[gpio]\nchip = 'c'"),
        ];
        for text in others {
            assert_ne!(digest(&text), first, "{text}");
        }
    }
}
