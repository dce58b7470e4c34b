//! There are no cycles between files: no file under `src/` uses a file that
//! uses it, directly or through others.
//!
//! A file uses another if a path in it (in a `use` or in the code) leads to an
//! item that the other defines. Re-exports are followed to where the item is
//! defined, so a folder's `mod.rs` may re-export what the folder's files share.
//! Types that are reached only through a method's result are not seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// The path of a module from the crate's root.
type Module = Vec<String>;

/// What a name means in a module.
#[derive(Clone, Debug)]
enum Meaning {
    /// Defined in the module's own file.
    Item,
    Child,
    /// A `use` of this path, from this module.
    Import(Vec<String>),
}

#[derive(Debug, Default)]
struct Source {
    file: PathBuf,
    names: BTreeMap<String, Meaning>,
    /// Modules of which all names were imported.
    globs: Vec<Vec<String>>,
    /// All paths of two or more names, and all imports.
    paths: BTreeSet<Vec<String>>,
}

/// The tokens of Rust code: names, and single characters of anything else.
/// Comments, strings and all of `#[cfg(test)] mod` are left out.
fn tokens(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => string(rest),
            'r' if rest.starts_with("r\"") || rest.starts_with("r#\"") => raw_string(rest),
            '\'' => quoted(rest),
            _ if first.is_alphabetic() || first == '_' => {
                let is_part = |c: char| c.is_alphanumeric() || c == '_';
                let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                found.push(rest[..end].to_owned());
                end
            }
            _ => {
                if !first.is_whitespace() {
                    found.push(first.to_string());
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    found
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> usize {
    let hashes = text[1..].find('"').unwrap_or(0);
    let end = format!("\"{}", "#".repeat(hashes));
    let start = 2 + hashes;
    text[start..]
        .find(&end)
        .map_or(text.len(), |at| start + at + end.len())
}

/// A character, or the quote of a lifetime.
fn quoted(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match (characters.next(), characters.next(), characters.next()) {
        (Some((_, '\\')), ..) => text[2..].find('\'').map_or(1, |at| {
            // An escaped quote is not the end.
            if at == 0 { 4 } else { at + 3 }
        }),
        (_, Some((at, '\'')), _) => at + 1,
        _ => 1,
    }
}

/// Cuts `#[cfg(test)] mod name { … }` and `#[cfg(test)] mod name;` out.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        let is_test = rest.len() > TEST.len() && rest.iter().zip(TEST).all(|(a, b)| a == b);
        // Between the attribute and `mod` may be `pub` or `pub(in path)`.
        let visibility = rest
            .iter()
            .skip(TEST.len())
            .take_while(|token| *token != "mod" && (is_name(token) || "(:)".contains(*token)))
            .take(if is_test { 20 } else { 0 })
            .count();
        let place = TEST.len() + visibility;
        if !is_test || rest.get(place).is_none_or(|token| token != "mod") {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += place + 2;
        let mut depth = 0;
        loop {
            match tokens[at].as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 {
                break;
            }
        }
    }
    kept
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads a `use` tree from behind `prefix` on, and returns where it ends.
fn read_use(tokens: &[String], mut at: usize, prefix: &[String], source: &mut Source) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens[at].as_str() {
            "{" => {
                at += 1;
                while tokens[at] != "}" {
                    at = read_use(tokens, at, &path, source);
                    if tokens[at] == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "*" => {
                source.paths.insert(path.clone());
                source.globs.push(path);
                return at + 1;
            }
            ":" => at += 1,
            "as" => {
                let name = tokens[at + 1].clone();
                source.paths.insert(path.clone());
                source.names.insert(name, Meaning::Import(path));
                return at + 2;
            }
            name if is_name(name) => {
                if name != "self" || path.is_empty() {
                    path.push(name.to_owned());
                }
                at += 1;
                if tokens[at] != ":" && tokens[at] != "as" {
                    let name = path.last().unwrap().clone();
                    source.paths.insert(path.clone());
                    source.names.insert(name, Meaning::Import(path));
                    return at;
                }
            }
            other => panic!("{other} in a use of {path:?} in {:?}", source.file),
        }
    }
}

fn read(file: PathBuf) -> Source {
    let code = fs::read_to_string(&file).unwrap();
    let tokens = without_tests(&tokens(&code));
    let mut source = Source {
        file,
        ..Source::default()
    };
    // Blocks of `mod name { … }` count as their file.
    let mut depth = 0_usize;
    let mut inner = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let next = tokens.get(at + 1).map_or("", String::as_str);
        let before = at.checked_sub(1).map_or("", |at| tokens[at].as_str());
        match tokens[at].as_str() {
            "use" if next != "<" => {
                at = read_use(&tokens, at + 1, &[], &mut source);
                continue;
            }
            "mod" if tokens.get(at + 2).is_some_and(|token| token == "{") => {
                inner.push(depth);
                source.names.insert(next.to_owned(), Meaning::Item);
            }
            "mod" => {
                source.names.insert(next.to_owned(), Meaning::Child);
            }
            "struct" | "enum" | "trait" | "type" | "fn" | "union" | "macro_rules" | "static"
            | "const" => {
                let name = tokens[at + 1..]
                    .iter()
                    .find(|token| is_name(token) && *token != "mut");
                let is_outer = depth == 0 || inner.last().is_some_and(|inner| depth == inner + 1);
                if is_outer && let Some(name) = name {
                    source.names.entry(name.clone()).or_insert(Meaning::Item);
                }
            }
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if inner.last() == Some(&depth) {
                    inner.pop();
                }
            }
            name if is_name(name) && before != ":" && before != "." => {
                let mut path = vec![name.to_owned()];
                while tokens[at + 1..].len() >= 3
                    && tokens[at + 1] == ":"
                    && tokens[at + 2] == ":"
                    && is_name(&tokens[at + 3])
                {
                    path.push(tokens[at + 3].clone());
                    at += 3;
                }
                if path.len() > 1 {
                    source.paths.insert(path);
                }
            }
            _ => {}
        }
        at += 1;
    }
    source
}

/// Where a path leads.
enum Target {
    Module(Module),
    /// An item that this module's file defines.
    Item(Module),
}

struct Tree(BTreeMap<Module, Source>);

impl Tree {
    fn read(folder: &Path) -> Self {
        let mut tree = Self(BTreeMap::new());
        tree.read_folder(folder, &mut Vec::new());
        tree
    }

    fn read_folder(&mut self, folder: &Path, module: &mut Module) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                module.push(name);
                self.read_folder(&path, module);
                module.pop();
            } else if path.extension().is_some_and(|ending| ending == "rs") && name != "tests" {
                let mut module = module.clone();
                match name.as_str() {
                    "lib" | "mod" => {}
                    "main" => continue,
                    _ => module.push(name),
                }
                self.0.insert(module, read(path));
            }
        }
    }

    /// Where a path in a module leads; `None` for names of other crates and of
    /// functions' insides.
    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        if depth > 20 {
            return None;
        }
        match first.as_str() {
            "crate" => self.walk(Vec::new(), rest, depth),
            "self" => self.walk(from.to_vec(), rest, depth),
            "super" => self.walk(from[..from.len().checked_sub(1)?].to_vec(), rest, depth),
            name if self.0[from].names.contains_key(name) => self.walk(from.to_vec(), path, depth),
            _ => None,
        }
    }

    fn walk(&self, mut module: Module, path: &[String], depth: usize) -> Option<Target> {
        let Some((name, rest)) = path.split_first() else {
            return Some(Target::Module(module));
        };
        if name == "super" {
            module.pop();
            return self.walk(module, rest, depth);
        }
        let source = self.0.get(&module)?;
        match source.names.get(name) {
            Some(Meaning::Child) => {
                module.push(name.clone());
                self.walk(module, rest, depth)
            }
            // A crate's name, imported as itself.
            Some(Meaning::Import(import)) if import.first() == Some(name) => None,
            Some(Meaning::Import(import)) => {
                let path: Vec<_> = import.iter().chain(rest).cloned().collect();
                self.resolve(&module, &path, depth + 1)
            }
            Some(Meaning::Item) => Some(Target::Item(module)),
            None => source.globs.iter().find_map(|glob| {
                let Target::Module(found) = self.resolve(&module, glob, depth + 1)? else {
                    return None;
                };
                self.0.get(&found)?.names.get(name)?;
                self.walk(found, path, depth + 1)
            }),
        }
    }

    /// For each file the files that it uses.
    fn uses(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let mut uses = BTreeMap::new();
        for (module, source) in &self.0 {
            let item = |path| match self.resolve(module, path, 0)? {
                Target::Item(found) => Some(found),
                // Only an item that is used through the module counts; it has a
                // path of its own.
                Target::Module(_) => None,
            };
            let all = |glob| match self.resolve(module, glob, 0)? {
                Target::Item(found) | Target::Module(found) => Some(found),
            };
            let items = source.paths.iter().filter_map(|path| item(path));
            let globs = source.globs.iter().filter_map(|glob| all(glob));
            let mut used: BTreeSet<Module> = items.chain(globs).collect();
            used.remove(module);
            uses.insert(module, used);
        }
        uses
    }

    fn name(&self, module: &Module) -> String {
        self.0[module].file.display().to_string()
    }

    /// The cycles of files, by their names.
    fn cycles(&self) -> BTreeSet<Vec<String>> {
        let uses = self.uses();
        cycles(&uses)
            .into_iter()
            .map(|way| way.into_iter().map(|module| self.name(module)).collect())
            .collect()
    }
}

/// The shortest way from each node of a graph back to itself, each cycle once.
fn cycles<'a, T: Ord>(uses: &BTreeMap<&'a T, BTreeSet<T>>) -> BTreeSet<Vec<&'a T>> {
    let mut cycles = BTreeSet::new();
    for &start in uses.keys() {
        let mut came_from: BTreeMap<&T, &'a T> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for used in &uses[node] {
                let (&used, _) = uses.get_key_value(used).expect("every node has its uses");
                if !came_from.contains_key(used) {
                    came_from.insert(used, node);
                    queue.push_back(used);
                }
            }
        }
        let Some(&(mut node)) = came_from.get(start) else {
            continue;
        };
        let mut way = vec![start];
        while node != start {
            way.push(node);
            node = came_from[node];
        }
        way.reverse();
        // The same cycle, found from each of its nodes.
        let first = (0..way.len()).min_by_key(|&at| way[at]).unwrap();
        way.rotate_left(first);
        cycles.insert(way);
    }
    cycles
}

fn sources() -> Tree {
    Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

#[test]
fn no_file_is_used_by_one_that_it_uses() {
    let tree = sources();
    // Checks that the code is read correctly: these uses exist.
    let uses = tree.uses();
    let module = |path: &str| -> Module { path.split("::").map(str::to_owned).collect() };
    assert!(uses[&module("pipeline")].contains(&module("report")));
    assert!(uses[&module("daemon")].contains(&module("board::options")));
    assert!(!uses[&module("report")].contains(&module("pipeline")));
    let cycles = tree.cycles();
    let lines: Vec<_> = cycles.iter().map(|way| way.join(" uses ")).collect();
    assert!(
        lines.is_empty(),
        "{} cycles:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

/// The stages in the order in which a frame passes through them.
const STAGES: [&str; 6] = ["capture", "detect", "track", "observe", "decide", "output"];

/// The modules that put the stages together.
const ABOVE_STAGES: [&str; 4] = ["pipeline", "daemon", "board", "commands"];

#[test]
fn no_folder_is_used_by_one_that_it_uses_and_stages_use_only_earlier_ones() {
    let tree = sources();
    let files = tree.uses();
    let tops: BTreeSet<String> = files
        .keys()
        .filter_map(|file| file.first().cloned())
        .collect();
    let mut uses: BTreeMap<&String, BTreeSet<String>> =
        tops.iter().map(|top| (top, BTreeSet::new())).collect();
    for (file, used) in files.iter().filter(|(file, _)| !file.is_empty()) {
        let others = used.iter().filter_map(|used| used.first());
        let others = others.filter(|other| **other != file[0]).cloned();
        uses.get_mut(&file[0]).unwrap().extend(others);
    }
    assert_eq!(cycles(&uses), BTreeSet::new());

    for (place, stage) in STAGES.iter().enumerate() {
        let later = STAGES[place + 1..].iter().chain(&ABOVE_STAGES);
        let wrong: Vec<_> = later
            .filter(|later| uses[&(*stage).to_owned()].contains(**later))
            .collect();
        assert!(wrong.is_empty(), "{stage} uses {wrong:?}");
    }
    let of_faces = STAGES.iter().chain(&ABOVE_STAGES).chain(&["report"]);
    let wrong: Vec<_> = of_faces
        .filter(|other| uses[&"nn".to_owned()].contains(**other))
        .collect();
    assert!(wrong.is_empty(), "nn uses {wrong:?}");
    // Checks that the code is read correctly: this use exists.
    assert!(uses[&"decide".to_owned()].contains("observe"));
}

#[test]
fn a_cycle_is_found_through_re_exports_and_paths_in_the_midst_of_code() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, code: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, code).unwrap();
    };
    write("lib.rs", "mod a; pub mod b; mod c;");
    write(
        "a.rs",
        "use crate::b::{self, Shared}; // use crate::c::f;\nstruct A(b::Own);",
    );
    write(
        "b/mod.rs",
        "mod own; mod shared; pub use own::Own; pub use shared::Shared;",
    );
    write(
        "b/shared.rs",
        "pub struct Shared(&'static str, char); const C: char = '\"';",
    );
    write(
        "b/own.rs",
        "use super::Shared; pub struct Own; impl Own { fn f() { let _ = \"crate::a::A\"; } }",
    );
    write(
        "c.rs",
        "#[cfg(test)]\nmod tests { use crate::a::A; }\npub fn f() {}",
    );
    let tree = Tree::read(folder.path());
    assert_eq!(tree.cycles(), BTreeSet::new());
    let module = |path: &str| -> Module { path.split("::").map(str::to_owned).collect() };
    let expected = BTreeSet::from([module("b::own"), module("b::shared")]);
    assert_eq!(tree.uses()[&module("a")], expected);

    write(
        "b/shared.rs",
        "pub struct Shared; fn f() -> u8 { crate::c::g(1) }",
    );
    write("c.rs", "pub fn g(x: u8) -> u8 { crate::a::f(x) }");
    write("a.rs", "pub use crate::b::Own; pub fn f(_: u8) -> u8 { 0 }");
    let way = Tree::read(folder.path()).cycles();
    let files: Vec<_> = ["a.rs", "b/own.rs", "b/shared.rs", "c.rs"]
        .map(|name| folder.path().join(name).display().to_string())
        .into();
    assert_eq!(way, BTreeSet::from([files]));
}
