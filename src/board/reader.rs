//! Reads a TOML table key by key and collects every problem with its line.
//!
//! serde stops at the first error. A user who edits a board file over a slow
//! connection wants to see all errors at once. So each key is read separately,
//! and problems go into a common list. A key that was never read is unknown.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::claims::{Claim, Resource, repeated};
use super::layers::{Layer, merge};

/// One error of a board file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file; empty for a text without one.
    pub file: PathBuf,
    /// The line in the file, from 1.
    pub line: usize,
    /// The key with its sections (`gpio.lines.happy`); empty for a syntax error.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.line, self.message)
        } else {
            write!(f, "{}: {}: {}", self.line, self.key, self.message)
        }
    }
}

/// A key that had another name in an earlier version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// The section, with those above it (`gpio.lines`); empty for the top.
    pub section: &'static str,
    pub old: &'static str,
    pub new: &'static str,
}

/// Every renamed key since version 0.1.0. A file with the old name is read, with
/// a warning.
const RENAMED: &[Renamed] = &[];

/// What all sections share.
pub struct Reader<'t> {
    layers: &'t [Layer],
    renamed: &'static [Renamed],
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    claims: RefCell<Vec<Claim>>,
    known: RefCell<Vec<String>>,
}

/// The notes from reading a file.
#[derive(Debug)]
pub struct Notes {
    /// Errors that make the file unusable, by line.
    pub problems: Vec<Problem>,
    /// Keys that should be changed, by line.
    pub warnings: Vec<Problem>,
    pub claims: Vec<Claim>,
}

impl<'t> Reader<'t> {
    /// A reader for files, of which later ones win key by key.
    #[must_use]
    pub const fn new(layers: &'t [Layer]) -> Self {
        Self::with_renamed(layers, RENAMED)
    }

    const fn with_renamed(layers: &'t [Layer], renamed: &'static [Renamed]) -> Self {
        Self {
            layers,
            renamed,
            problems: RefCell::new(Vec::new()),
            warnings: RefCell::new(Vec::new()),
            claims: RefCell::new(Vec::new()),
            known: RefCell::new(Vec::new()),
        }
    }

    /// Parses the texts and merges them; each syntax error becomes a problem, and
    /// what could be parsed besides is returned.
    pub fn parse(&self) -> Spanned<DeTable<'t>> {
        let mut merged: Option<Spanned<DeTable<'t>>> = None;
        for layer in self.layers {
            let (table, errors) = DeTable::parse_recoverable(layer.text());
            for error in errors {
                let start = layer.start();
                let span = error.span().unwrap_or(start..start);
                self.problem(
                    span.start.max(start)..span.end.max(start),
                    "",
                    error.message(),
                );
            }
            match &mut merged {
                Some(merged) => merge(merged.get_mut(), table.into_inner()),
                None => merged = Some(table),
            }
        }
        merged.unwrap_or_else(|| Spanned::new(0..0, DeTable::new()))
    }

    /// The root section of a parsed table.
    pub fn root<'r>(&'r self, table: &'r Spanned<DeTable<'t>>) -> Section<'r, 't> {
        Section {
            reader: self,
            path: String::new(),
            span: table.span(),
            table: table.get_ref(),
            asked: Vec::new(),
        }
    }

    /// Notes a problem at a place in the text.
    pub fn problem(&self, span: Range<usize>, key: &str, message: impl Display) {
        self.problems
            .borrow_mut()
            .push(self.note(&span, key, message));
    }

    fn note(&self, span: &Range<usize>, key: &str, message: impl Display) -> Problem {
        let (file, line) = self.place(span);
        Problem {
            file: file.to_owned(),
            line,
            key: key.to_owned(),
            message: message.to_string(),
        }
    }

    /// The file and the line of a place.
    fn place(&self, span: &Range<usize>) -> (&'t Path, usize) {
        Layer::of(self.layers, span)
            .map_or((Path::new(""), 1), |layer| (layer.path(), layer.line(span)))
    }

    /// The directory from which a relative path at a place starts.
    fn folder(&self, span: &Range<usize>) -> &'t Path {
        Layer::of(self.layers, span).map_or(Path::new(""), Layer::folder)
    }

    /// Notes that a key uses something that no other key may use.
    pub fn claim(&self, span: &Range<usize>, key: &str, resource: Resource) {
        let (file, line) = self.place(span);
        self.claims.borrow_mut().push(Claim {
            resource,
            key: key.to_owned(),
            file: file.to_owned(),
            line,
        });
    }

    /// All problems and warnings by line, and all claims.
    pub fn into_notes(self) -> Notes {
        let mut claims = self.claims.into_inner();
        claims.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        let mut problems = self.problems.into_inner();
        problems.extend(
            repeated(&claims, |claim| claim.resource.clone()).map(|(claim, first)| Problem {
                file: claim.file.clone(),
                line: claim.line,
                key: claim.key.clone(),
                message: claim.clash(first),
            }),
        );
        problems.sort();
        let mut warnings = self.warnings.into_inner();
        warnings.sort();
        Notes {
            problems,
            warnings,
            claims,
        }
    }

    /// The name that a key of a section had in an earlier version.
    fn old_name(&self, section: &str, key: &str) -> Option<&'static str> {
        self.renamed
            .iter()
            .find(|renamed| renamed.section == section && renamed.new == key)
            .map(|renamed| renamed.old)
    }

    /// Every key that was read, for the test that compares the example with the
    /// code.
    #[cfg(test)]
    pub fn known_keys(&self) -> Vec<String> {
        self.known.borrow().clone()
    }
}

/// A table of the file, whose keys are read one by one.
pub struct Section<'r, 't> {
    reader: &'r Reader<'t>,
    path: String,
    span: Range<usize>,
    table: &'r DeTable<'t>,
    asked: Vec<String>,
}

/// A value, with its place in the file for later error messages.
pub struct Found<'r, 't, T> {
    reader: &'r Reader<'t>,
    key: String,
    span: Range<usize>,
    pub value: T,
}

impl<'t, T> Found<'_, 't, T> {
    /// The directory from which a relative path starts: that of the file that
    /// names it.
    pub fn folder(&self) -> &'t Path {
        self.reader.folder(&self.span)
    }

    /// Notes that the value is wrong.
    pub fn reject(&self, message: impl Display) {
        self.reader.problem(self.span.clone(), &self.key, message);
    }

    /// Notes that the value names something that no other key may name.
    pub fn claim(&self, resource: Resource) {
        self.reader.claim(&self.span, &self.key, resource);
    }
}

impl<'r, 't> Section<'r, 't> {
    fn join(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn find(&mut self, key: &str) -> Option<Found<'r, 't, &'r DeValue<'t>>> {
        self.asked.push(key.to_owned());
        self.reader.known.borrow_mut().push(self.join(key));
        let old = self
            .reader
            .old_name(&self.path, key)
            .filter(|old| self.table.contains_key(*old));
        let value = self.table.get(key);
        if let Some(old) = old {
            self.asked.push(old.to_owned());
            let span = self.table.get(old)?.span();
            let now = self.join(key);
            if value.is_some() {
                let message = format_args!(
                    "is the old name of '{now}', which is also given; remove this line"
                );
                self.reader.problem(span, &self.join(old), message);
            } else {
                let message = format_args!("is now called '{now}'");
                let warning = self.reader.note(&span, &self.join(old), message);
                self.reader.warnings.borrow_mut().push(warning);
            }
        }
        let value = value.or_else(|| self.table.get(old?))?;
        Some(Found {
            reader: self.reader,
            key: self.join(key),
            span: value.span(),
            value: value.get_ref(),
        })
    }

    fn typed<T>(
        &mut self,
        key: &str,
        expected: impl Display,
        convert: impl FnOnce(&'r DeValue<'t>) -> Option<T>,
    ) -> Option<Found<'r, 't, T>> {
        let found = self.find(key)?;
        let Some(value) = convert(found.value) else {
            found.reject(format_args!(
                "must be {expected}, is {}",
                described(found.value)
            ));
            return None;
        };
        Some(Found {
            reader: found.reader,
            key: found.key,
            span: found.span,
            value,
        })
    }

    /// A string.
    pub fn string(&mut self, key: &str) -> Option<Found<'r, 't, &'r str>> {
        self.typed(key, "a string in quotes", DeValue::as_str)
    }

    /// A list of strings.
    pub fn strings(&mut self, key: &str) -> Option<Found<'r, 't, Vec<String>>> {
        self.typed(key, "a list of strings, [\"…\", \"…\"]", |value| {
            let list = value.as_array()?;
            list.iter()
                .map(|item| item.get_ref().as_str().map(str::to_owned))
                .collect()
        })
    }

    /// A string that another type parses.
    pub fn parsed<T>(&mut self, key: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let found = self.string(key)?;
        match found.value.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                found.reject(error);
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        self.typed(key, "true or false", DeValue::as_bool)
            .map(|found| found.value)
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
        .map(|found| found.value)
    }

    /// A whole number from a list.
    pub fn integer_of(&mut self, key: &str, allowed: &[u32]) -> Option<u32> {
        let names: Vec<String> = allowed.iter().map(u32::to_string).collect();
        let expected = format!("one of {}", names.join(", "));
        self.typed(key, expected, |value| {
            let number = u32::try_from(whole_number(value)?).ok()?;
            allowed.contains(&number).then_some(number)
        })
        .map(|found| found.value)
    }

    /// A number in a range, with or without decimals.
    pub fn number(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.typed(key, expected, |value| {
            let number = real_number(value)?;
            range.contains(&number).then_some(number)
        })
        .map(|found| found.value)
    }

    /// A list of exactly `N` numbers.
    pub fn numbers<const N: usize>(&mut self, key: &str) -> Option<Found<'r, 't, [f64; N]>> {
        self.typed(key, format_args!("a list of {N} numbers"), |value| {
            let list = value.as_array()?;
            let numbers: Option<Vec<f64>> = list
                .iter()
                .map(|item| real_number(item.get_ref()))
                .collect();
            numbers?.try_into().ok()
        })
    }

    /// A list of lists of whole numbers from 0 on.
    pub fn lists(&mut self, key: &str) -> Option<Found<'r, 't, Vec<Vec<u64>>>> {
        let expected = "a list of lists of whole numbers, [[…, …], […, …]]";
        self.typed(key, expected, |value| {
            let numbers = |list: &DeValue<'_>| -> Option<Vec<u64>> {
                let numbers = list.as_array()?.iter();
                numbers
                    .map(|item| u64::try_from(whole_number(item.get_ref())?).ok())
                    .collect()
            };
            let lists = value.as_array()?.iter();
            lists.map(|list| numbers(list.get_ref())).collect()
        })
    }

    /// A time in whole milliseconds in a range.
    pub fn millis(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<Duration> {
        self.integer(key, range).map(Duration::from_millis)
    }

    /// A number or a string: a GPIO line's offset or name.
    pub fn integer_or_string(&mut self, key: &str) -> Option<Found<'r, 't, IntegerOrString>> {
        self.typed(key, "a whole number or a string", |value| {
            value
                .as_str()
                .map(|text| IntegerOrString::String(text.to_owned()))
                .or_else(|| whole_number(value).map(IntegerOrString::Integer))
        })
    }

    /// A section below this one.
    pub fn section(&mut self, key: &str) -> Option<Self> {
        let found = self.typed(key, format_args!("a section, [{}]", self.join(key)), |v| {
            v.as_table()
        })?;
        Some(Section {
            reader: found.reader,
            path: found.key,
            span: found.span,
            table: found.value,
            asked: Vec::new(),
        })
    }

    /// The sections of a list (`[[display]]`).
    pub fn sections(&mut self, key: &str) -> Vec<Self> {
        let path = self.join(key);
        let Some(list) = self.typed(key, format_args!("a list of sections, [[{path}]]"), |v| {
            v.as_array()
        }) else {
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in list.value {
            match item.get_ref().as_table() {
                Some(table) => sections.push(Section {
                    reader: self.reader,
                    path: path.clone(),
                    span: item.span(),
                    table,
                    asked: Vec::new(),
                }),
                None => self.reader.problem(
                    item.span(),
                    &path,
                    format_args!("must be a list of sections, [[{path}]]"),
                ),
            }
        }
        sections
    }

    /// The keys of this section, for sections whose key names are free (V4L2
    /// controls).
    pub fn keys(&self) -> Vec<String> {
        self.table
            .keys()
            .map(|key| key.get_ref().to_string())
            .collect()
    }

    /// Whether the value of `key` is a section, for keys that may also have a
    /// short form.
    pub fn is_section(&self, key: &str) -> bool {
        self.value(key)
            .is_some_and(|value| value.get_ref().is_table())
    }

    /// Whether this section has the key, valid or not.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    fn value(&self, key: &str) -> Option<&'r Spanned<DeValue<'t>>> {
        self.table
            .get(key)
            .or_else(|| self.table.get(self.reader.old_name(&self.path, key)?))
    }

    /// Notes that a required key is missing.
    pub fn missing(&self, key: &str, what: impl Display) {
        self.reader.problem(
            self.span.clone(),
            &self.join(key),
            format_args!("is missing: {what}"),
        );
    }

    /// Notes a problem of the section as a whole.
    pub fn reject(&self, message: impl Display) {
        self.reader.problem(self.span.clone(), &self.path, message);
    }

    /// Notes that a key uses something that no other key may use. If the key is
    /// missing and its default is used, the claim has the place of the section.
    pub fn claim(&self, key: &str, resource: Resource) {
        self.reader
            .claim(&self.place(key), &self.join(key), resource);
    }

    /// Notes that the value of a key is wrong.
    pub fn reject_key(&self, key: &str, message: impl Display) {
        self.reader
            .problem(self.place(key), &self.join(key), message);
    }

    /// The place of a key in the file, or of its section if the key is missing.
    fn place(&self, key: &str) -> Range<usize> {
        self.value(key)
            .map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// Ends the section: a key that was not read is unknown.
    pub fn finish(self) {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if self.asked.iter().any(|known| known == name) {
                continue;
            }
            let nearest = nearest(name, self.asked.iter().map(String::as_str));
            let message = match nearest {
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

/// A whole number or a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntegerOrString {
    Integer(i64),
    String(String),
}

/// The known name closest to an unknown one, if any is close.
pub fn nearest<'n>(unknown: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known
        .map(|name| (strsim::normalized_damerau_levenshtein(unknown, name), name))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn whole_number(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn real_number(value: &DeValue<'_>) -> Option<f64> {
    match value.as_float() {
        Some(float) => float.as_str().parse().ok(),
        None => whole_number(value).map(|number| number as f64),
    }
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

    const RENAMED: &[Renamed] = &[
        Renamed {
            section: "capture",
            old: "rate",
            new: "fps",
        },
        Renamed {
            section: "",
            old: "camera",
            new: "capture",
        },
    ];

    fn read(text: &str) -> (Option<f64>, Notes) {
        let layers = [Layer::of_text(text, Path::new(""))];
        let reader = Reader::with_renamed(&layers, RENAMED);
        let table = reader.parse();
        let mut root = reader.root(&table);
        let fps = root.section("capture").and_then(|mut section| {
            let fps = section.number("fps", 0.0..=100.0);
            section.finish();
            fps
        });
        root.finish();
        (fps, reader.into_notes())
    }

    #[test]
    fn a_renamed_key_is_read_with_one_warning() {
        let (fps, notes) = read("[capture]\nrate = 12\n");
        assert_eq!(fps, Some(12.0));
        assert_eq!(notes.problems, []);
        let warnings: Vec<_> = notes.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, ["2: capture.rate: is now called 'capture.fps'"]);
    }

    #[test]
    fn a_renamed_section_is_read_with_one_warning() {
        let (fps, notes) = read("[camera]\nfps = 12\n");
        assert_eq!(fps, Some(12.0));
        assert_eq!(notes.problems, []);
        assert_eq!(notes.warnings.len(), 1, "{:?}", notes.warnings);
        assert!(notes.warnings[0].message.contains("'capture'"));
    }

    #[test]
    fn both_names_of_a_key_are_one_too_many() {
        let (fps, notes) = read("[capture]\nrate = 12\nfps = 30\n");
        assert_eq!(fps, Some(30.0));
        assert_eq!(notes.warnings, []);
        assert_eq!(notes.problems.len(), 1, "{:?}", notes.problems);
        assert!(
            notes.problems[0]
                .message
                .contains("old name of 'capture.fps'")
        );
    }

    #[test]
    fn a_file_without_old_names_has_no_warnings() {
        let (fps, notes) = read("[capture]\nfps = 30\n");
        assert_eq!(fps, Some(30.0));
        assert!(notes.warnings.is_empty() && notes.problems.is_empty());
    }
}
