//! The table of faults (`docs/faults.md`) names only tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Names of the functions in a Rust file, or in all files of a folder. A
/// scenario of the rig has its file's name in front.
fn functions(path: &Path, names: &mut BTreeSet<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            functions(&entry.unwrap().path(), names);
        }
        return;
    }
    if path.extension().is_none_or(|extension| extension != "rs") {
        return;
    }
    let is_scenario = path.parent().unwrap().ends_with("rig/scenarios");
    let stem = path.file_stem().unwrap().to_str().unwrap();
    for line in fs::read_to_string(path).unwrap().lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("pub ").unwrap_or(line);
        let Some(name) = line
            .strip_prefix("fn ")
            .and_then(|l| l.split(['(', '<']).next())
        else {
            continue;
        };
        names.insert(if is_scenario {
            format!("{stem}_{name}")
        } else {
            name.to_owned()
        });
    }
}

#[test]
fn every_test_in_the_table_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut known = BTreeSet::new();
    functions(&root.join("src"), &mut known);
    functions(&root.join("tests"), &mut known);
    let page = fs::read_to_string(root.join("docs/faults.md")).unwrap();
    // The part after the table has figures, which name commands.
    let (table, _) = page.split_once("\n## ").unwrap();
    let mut rows = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let Some(tests) = row.split('|').nth(3) else {
            continue;
        };
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        // The table's head and its headings.
        if named.is_empty() {
            let is_heading = row.starts_with("| **") || row.starts_with("| fault ");
            assert!(is_heading, "no test shows this: {row}");
            continue;
        }
        rows += 1;
        for name in named {
            let is_script = root.join(name.split(' ').next().unwrap()).is_file();
            assert!(
                known.contains(name) || is_script,
                "there is no test {name}: {row}"
            );
        }
    }
    assert!(rows > 30, "{rows} rows with tests");
}
