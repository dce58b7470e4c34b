//! The manual pages and shell completions in `packaging/manual/` match the
//! command line. They are kept in the repository, because generating them needs
//! a build for the building machine, and most packages are built for another
//! one.
//!
//! `AFFECTD_WRITE_MANUAL=1 cargo test --test program manual` generates them
//! again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use affectd::commands::Cli;
use clap::CommandFactory;
use clap_complete::{Shell, generate_to};

fn files(directory: &Path) -> BTreeMap<String, String> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

fn generate(directory: &Path) {
    clap_mangen::generate_to(Cli::command(), directory).unwrap();
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut Cli::command(), "affectd", directory).unwrap();
    }
}

#[test]
fn manual_and_completions_match_the_command_line() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/manual");
    if std::env::var_os("AFFECTD_WRITE_MANUAL").is_some() {
        fs::remove_dir_all(&kept).unwrap();
        fs::create_dir(&kept).unwrap();
        generate(&kept);
    }
    let fresh = tempfile::tempdir().unwrap();
    generate(fresh.path());

    let (kept, fresh) = (files(&kept), files(fresh.path()));
    assert!(fresh.len() > 10, "{:?}", fresh.keys());
    let differing: Vec<_> = fresh
        .keys()
        .chain(kept.keys())
        .filter(|name| fresh.get(*name) != kept.get(*name))
        .collect();
    assert!(
        differing.is_empty(),
        "packaging/manual is not up to date in {differing:?}: \
         run AFFECTD_WRITE_MANUAL=1 cargo test --test program manual"
    );
}
