//! Compares documents with what they describe: the README's examples run, links
//! have a target, and lists are complete.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::pictures::{affectd, photo, stderr, stdout};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code blocks of a document in this language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = document.split(&fence).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

/// Ends a process that a test started, however the test ends.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // Both calls fail only if the process has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 200, "{lines} lines");
}

/// The README's client in Python prints what a real daemon sends.
#[test]
fn the_readmes_client_reads_events() {
    const SOCKET: &str = "/run/affectd/events.sock";
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("events.sock");
    let clients = blocks(&read("README.md"), "python");
    let [client] = clients.as_slice() else {
        panic!("{} blocks of Python", clients.len());
    };
    assert!(client.contains(SOCKET), "{client}");
    assert!(client.lines().count() <= 11, "{client}");
    let client = client.replace(SOCKET, socket.to_str().unwrap());

    let board = folder.path().join("board.toml");
    let picture = photo("astronaut.jpg");
    fs::write(
        &board,
        format!(
            "[capture]\nsource = {:?}\nrepeat = true\n[events]\nsocket = {:?}\nperiod_ms = 100\n",
            picture.to_str().unwrap(),
            socket.to_str().unwrap(),
        ),
    )
    .unwrap();
    let daemon = Command::new(env!("CARGO_BIN_EXE_affectd"))
        .args(["run", "--board"])
        .arg(&board)
        .current_dir(root())
        .stderr(Stdio::null())
        .spawn();
    let _daemon = Started(daemon.unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    while !socket.exists() {
        assert!(Instant::now() < deadline, "no socket");
        std::thread::sleep(Duration::from_millis(10));
    }

    let python = Command::new("python3")
        .args(["-c", &client])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is missing; install it with: scripts/ensure-build-deps test");
    let mut python = Started(python);
    let printed = BufReader::new(python.0.stdout.take().unwrap()).lines();
    let face = printed
        .map(Result::unwrap)
        .find(|line| line.starts_with("happy "))
        .expect("the client ended before it had printed a happy face");
    let confidence: f64 = face.split_once(' ').unwrap().1.parse().unwrap();
    assert!((0.5..=1.0).contains(&confidence), "{face}");
}

/// The README's board file is valid, and `check` prints the errors that the
/// README shows.
#[test]
fn the_readmes_board_file_is_valid() {
    let readme = read("README.md");
    let folder = tempfile::tempdir().unwrap();
    let board = folder.path().join("robot.toml");
    let blocks = blocks(&readme, "toml");
    let [text] = blocks.as_slice() else {
        panic!("{} blocks of TOML", blocks.len());
    };
    fs::write(&board, text).unwrap();
    let output = affectd(["check".as_ref(), board.as_os_str()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("ok      board file"));

    let broken = text
        .replace("size =", "sise =")
        .replace("chip = \"pinctrl-bcm2711\"\n", "");
    fs::write(&board, broken).unwrap();
    let output = affectd(["check".as_ref(), board.as_os_str()]);
    let errors = stderr(&output).replace(&format!("{}/", folder.path().display()), "");
    assert!(
        readme.contains(errors.trim_end()),
        "the README has other errors than\n{errors}"
    );
}

#[test]
fn the_index_of_scripts_is_complete() {
    let index = read("scripts/README.md");
    for entry in fs::read_dir(root().join("scripts")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_file() && !name.contains('.') {
            assert!(index.contains(&format!("[`{name}`]({name})")), "{name}");
        }
    }
}

#[test]
fn both_changelogs_begin_with_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = read("CHANGELOG.md");
    let heading = changelog.lines().find(|line| line.starts_with("## "));
    assert_eq!(heading, Some(&*format!("## {version}")));
    let packaged = read("packaging/debian/changelog");
    assert!(packaged.starts_with(&format!("affectd ({version})")));
    for document in ["README.md", "boards/README.md"] {
        let text = read(document);
        for part in text.split("affectd_").skip(1) {
            assert!(part.starts_with(version), "{document}: affectd_{part}");
        }
    }
}

/// The texts between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn files_and_functions_of_the_architecture_exist() {
    for document in ["docs/architecture.md", "CONTRIBUTING.md"] {
        let text = read(document);
        let is_path = |word: &&str| {
            let is_one = !word.contains([' ', '*']) && !word.contains("NEW");
            is_one
                && ["src/", "tests/", "boards/", "scripts/", "examples/"]
                    .iter()
                    .any(|folder| word.starts_with(folder))
        };
        let paths: Vec<_> = quoted(&text).filter(is_path).collect();
        assert!(paths.len() > 5, "{document}: {paths:?}");
        for path in paths {
            assert!(
                root().join(path).exists(),
                "{document}: {path} does not exist"
            );
        }
    }
    let text = read("docs/architecture.md");
    let (_, way) = text.split_once("## The way of a frame").unwrap();
    let rows: Vec<Vec<_>> = way
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|row| quoted(row).collect())
        .collect();
    assert!(rows.len() >= 8, "{rows:?}");
    for row in rows {
        let [function, file] = row[..] else {
            panic!("{row:?}");
        };
        let code = read(file);
        let is_there = [format!("fn {function}("), format!("fn {function}<")];
        assert!(
            is_there.iter().any(|start| code.contains(start)),
            "{file} has no function {function}"
        );
    }
}

/// The Markdown files of the repository.
fn documents() -> Vec<PathBuf> {
    let mut documents = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = folder.join(&name);
            if entry.file_type().unwrap().is_dir() {
                if !name.starts_with('.') && name != "target" {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                documents.push(path);
            }
        }
    }
    assert!(documents.len() > 10, "{documents:?}");
    documents
}

/// The anchors of a document's headings, as on GitHub.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let text = heading.trim_start_matches('#').trim().to_lowercase();
            text.chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn links_between_documents_have_a_target() {
    let mut checked = 0;
    for document in documents() {
        let text = read(&document);
        for part in text.split("](").skip(1) {
            let target = part.split(')').next().unwrap();
            if target.contains("://") || target.contains(char::is_whitespace) {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let at = document.display();
            assert!(root().join(&file).exists(), "{at}: {target} does not exist");
            if !anchor.is_empty() {
                let found = anchors(&read(&file)).contains(anchor);
                assert!(found, "{at}: {target}: there is no such heading");
            }
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} links");
}
