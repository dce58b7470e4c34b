//! Reads a configuration in TOML key by key, and collects every problem with its
//! line: a user who edits a file over a slow connection wants to see all of them
//! at once.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Why a configuration cannot be used. Its text names the file and the lines.
#[derive(Debug)]
pub struct ConfigError(String);

impl Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Reads a file with `keys`, which asks the root section for all keys that there
/// are. A key that it does not ask for is an error.
///
/// ```no_run
/// # use std::path::Path;
/// let port = affectd_bridge::config::read(Path::new("/etc/affectd/mqtt.toml"), |root| {
///     root.section("broker", |broker| broker.integer("port", 1..=65535)).flatten()
/// })?;
/// # Ok::<(), affectd_bridge::config::ConfigError>(())
/// ```
///
/// # Errors
/// The file cannot be read, or has problems; all of them are in the text.
pub fn read<T>(
    path: &Path,
    keys: impl FnOnce(&mut Section<'_, '_>) -> T,
) -> Result<T, ConfigError> {
    let text = std::fs::read(path)
        .map_err(|error| ConfigError(format!("configuration {}: {error}", path.display())))?;
    let text = String::from_utf8(text).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        ConfigError(format!(
            "{}:{line}: not UTF-8; save the file as UTF-8 text",
            path.display()
        ))
    })?;
    parse(path, &text, keys)
}

/// As [`read`], of a text that was read from `path`.
///
/// # Errors
/// The text has problems.
pub fn parse<T>(
    path: &Path,
    text: &str,
    keys: impl FnOnce(&mut Section<'_, '_>) -> T,
) -> Result<T, ConfigError> {
    let reader = Reader {
        text,
        problems: RefCell::default(),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        reader.problem(error.span().unwrap_or_default(), "", error.message());
    }
    let mut root = Section::new(&reader, String::new(), &table);
    let result = keys(&mut root);
    root.finish();
    let mut problems = reader.problems.into_inner();
    if problems.is_empty() {
        return Ok(result);
    }
    problems.sort();
    problems.dedup();
    let lines: Vec<_> = problems
        .iter()
        .map(|(line, message)| format!("{}:{line}: {message}", path.display()))
        .collect();
    Err(ConfigError(lines.join("\n")))
}

struct Reader<'t> {
    text: &'t str,
    problems: RefCell<Vec<(usize, String)>>,
}

impl Reader<'_> {
    fn problem(&self, span: Range<usize>, key: &str, message: impl Display) {
        let before = self.text.as_bytes().iter().take(span.start);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        let message = if key.is_empty() {
            message.to_string()
        } else {
            format!("{key}: {message}")
        };
        self.problems.borrow_mut().push((line, message));
    }
}

/// A table of the file. Each getter gives `None` if the key is absent or wrong; a
/// wrong value is also noted as a problem.
pub struct Section<'r, 't> {
    reader: &'r Reader<'t>,
    path: String,
    span: Range<usize>,
    table: &'r DeTable<'t>,
    asked: Vec<String>,
}

impl<'r, 't> Section<'r, 't> {
    fn new(reader: &'r Reader<'t>, path: String, table: &'r Spanned<DeTable<'t>>) -> Self {
        Self {
            reader,
            path,
            span: table.span(),
            table: table.get_ref(),
            asked: Vec::new(),
        }
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn typed<T>(
        &mut self,
        key: &str,
        expected: impl Display,
        convert: impl FnOnce(&'r DeValue<'t>) -> Option<T>,
    ) -> Option<T> {
        self.asked.push(key.to_owned());
        let value = self.table.get(key)?;
        let converted = convert(value.get_ref());
        if converted.is_none() {
            let is = described(value.get_ref());
            self.reject(key, format_args!("must be {expected}, is {is}"));
        }
        converted
    }

    /// A string.
    pub fn string(&mut self, key: &str) -> Option<String> {
        self.typed(key, "a string in quotes", DeValue::as_str)
            .map(str::to_owned)
    }

    /// A path. A relative one starts at the directory of the process.
    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.string(key).map(PathBuf::from)
    }

    /// One of these words.
    pub fn word(&mut self, key: &str, allowed: &[&'static str]) -> Option<&'static str> {
        let expected = format!("one of \"{}\"", allowed.join("\", \""));
        self.typed(key, expected, |value| {
            let text = value.as_str()?;
            allowed.iter().copied().find(|word| *word == text)
        })
    }

    /// A list of strings.
    pub fn strings(&mut self, key: &str) -> Option<Vec<String>> {
        self.typed(key, "a list of strings, [\"…\", \"…\"]", |value| {
            let items = value.as_array()?.iter();
            items
                .map(|item| item.get_ref().as_str().map(str::to_owned))
                .collect()
        })
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        self.typed(key, "true or false", DeValue::as_bool)
    }

    /// A whole number in a range.
    pub fn integer<T>(&mut self, key: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.typed(key, expected, |value| {
            let number = T::try_from(whole_number(value)?).ok()?;
            range.contains(&number).then_some(number)
        })
    }

    /// A number in a range, with or without decimals.
    pub fn number(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.typed(key, expected, |value| {
            let number = match value.as_float() {
                Some(float) => float.as_str().parse().ok(),
                None => whole_number(value).map(|number| number as f64),
            }?;
            range.contains(&number).then_some(number)
        })
    }

    /// Reads a section below this one with `keys`; `None` if there is none.
    pub fn section<T>(
        &mut self,
        key: &str,
        keys: impl FnOnce(&mut Section<'r, 't>) -> T,
    ) -> Option<T> {
        let path = self.join(key);
        let table = self.typed(key, format_args!("a section, [{path}]"), DeValue::as_table)?;
        let mut section = Section {
            reader: self.reader,
            path,
            span: self.place(key),
            table,
            asked: Vec::new(),
        };
        let result = keys(&mut section);
        section.finish();
        Some(result)
    }

    /// Whether the key is there, right or wrong.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes that a key, or its value, is wrong.
    pub fn reject(&self, key: &str, message: impl Display) {
        self.reader
            .problem(self.place(key), &self.join(key), message);
    }

    /// The place of a key, or of this section if the key is missing.
    fn place(&self, key: &str) -> Range<usize> {
        self.table
            .get(key)
            .map_or_else(|| self.span.clone(), Spanned::span)
    }

    fn finish(self) {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if self.asked.iter().any(|known| known == name) {
                continue;
            }
            let message = match nearest(name, &self.asked) {
                Some(nearest) => format!("unknown key; did you mean '{nearest}'?"),
                None => {
                    let mut all = self.asked.clone();
                    all.sort();
                    all.dedup();
                    format!("unknown key; known here: {}", all.join(", "))
                }
            };
            self.reader.problem(key.span(), &self.join(name), message);
        }
    }
}

fn nearest<'n>(unknown: &str, known: &'n [String]) -> Option<&'n String> {
    known
        .iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(unknown, name), name))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn whole_number(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => format!("the date {time}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a section".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Broker {
        host: Option<String>,
        port: Option<u16>,
        tls: Option<bool>,
        share: Option<f64>,
        kind: Option<&'static str>,
        names: Option<Vec<String>>,
    }

    fn broker(text: &str) -> Result<Option<Broker>, String> {
        parse(Path::new("m.toml"), text, |root| {
            root.section("broker", |section| Broker {
                host: section.string("host"),
                port: section.integer("port", 1..=65535),
                tls: section.boolean("tls"),
                share: section.number("share", 0.0..=1.0),
                kind: section.word("kind", &["a", "b"]),
                names: section.strings("names"),
            })
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_read() {
        let text = "[broker]\nhost = \"x\"\nport = 1883\ntls = true\nshare = 0.5\nkind = \"b\"\nnames = [\"é\"]\n";
        let broker = broker(text).unwrap().unwrap();
        assert_eq!(broker.host.as_deref(), Some("x"));
        assert_eq!(broker.port, Some(1883));
        assert_eq!(broker.tls, Some(true));
        assert_eq!(broker.share, Some(0.5));
        assert_eq!(broker.kind, Some("b"));
        assert_eq!(broker.names, Some(vec!["é".to_owned()]));
    }

    #[test]
    fn an_absent_section_is_none() {
        assert_eq!(broker("").unwrap(), None);
    }

    #[test]
    fn all_problems_have_their_lines() {
        let text = "colour = 1\n\n[broker]\nhost = 3\nport = 70000\ntlss = true\nshare = 2\nkind = \"c\"\nnames = [1]\n";
        let error = broker(text).unwrap_err();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(
            lines,
            [
                "m.toml:1: colour: unknown key; known here: broker",
                "m.toml:4: broker.host: must be a string in quotes, is 3",
                "m.toml:5: broker.port: must be a whole number from 1 to 65535, is 70000",
                "m.toml:6: broker.tlss: unknown key; did you mean 'tls'?",
                "m.toml:7: broker.share: must be a number from 0 to 1, is 2",
                "m.toml:8: broker.kind: must be one of \"a\", \"b\", is \"c\"",
                "m.toml:9: broker.names: must be a list of strings, [\"…\", \"…\"], is a list",
            ]
        );
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let error = broker("[broker]\nhost = \"x\nport = 1\n").unwrap_err();
        assert!(error.starts_with("m.toml:2: "), "{error}");
    }

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.toml");
        let error = |path: &Path| read(path, |_| ()).unwrap_err().to_string();
        assert!(error(&path).contains("No such file"));
        std::fs::write(&path, b"\n\nname = \"\xff\"\n").unwrap();
        assert!(
            error(&path).contains("m.toml:3: not UTF-8"),
            "{}",
            error(&path)
        );
        assert!(error(folder.path()).contains("directory"));
    }
}
