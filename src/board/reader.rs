//! Reads a TOML table key by key and collects every problem with its line.
//!
//! serde stops at the first error. Somebody who edits a board file over a slow
//! link wants all of them at once, so each key is read on its own, problems go
//! into a common list, and what no getter asked for is an unknown key.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong with a board file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
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

/// What all sections of one file share.
pub struct Reader<'t> {
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
    known: RefCell<Vec<String>>,
}

impl<'t> Reader<'t> {
    /// A reader for a file's text.
    #[must_use]
    pub const fn new(text: &'t str) -> Self {
        Self {
            text,
            problems: RefCell::new(Vec::new()),
            known: RefCell::new(Vec::new()),
        }
    }

    /// Parses the text; each syntax error becomes a problem, and what could be
    /// parsed besides is returned.
    pub fn parse(&self) -> Spanned<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            self.problem(error.span().unwrap_or(0..0), "", error.message());
        }
        table
    }

    /// The root section over a parsed table.
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
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        self.problems.borrow_mut().push(Problem {
            line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
            key: key.to_owned(),
            message: message.to_string(),
        });
    }

    /// All problems, by line.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort();
        problems
    }

    /// Every key that was asked for, for the test that holds the commented
    /// example against the code.
    #[cfg(test)]
    pub fn known_keys(&self) -> Vec<String> {
        self.known.borrow().clone()
    }
}

/// A table of the file, of which keys are taken one by one.
pub struct Section<'r, 't> {
    reader: &'r Reader<'t>,
    path: String,
    span: Range<usize>,
    table: &'r DeTable<'t>,
    asked: Vec<String>,
}

/// A value that was found, with what is needed to complain about it later.
pub struct Found<'r, 't, T> {
    reader: &'r Reader<'t>,
    key: String,
    span: Range<usize>,
    pub value: T,
}

impl<T> Found<'_, '_, T> {
    /// Notes that the value does not do.
    pub fn reject(&self, message: impl Display) {
        self.reader.problem(self.span.clone(), &self.key, message);
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
        let value = self.table.get(key)?;
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

    /// A string that another type reads.
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

    /// A number in a range; whole numbers will do.
    pub fn number(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.typed(key, expected, |value| {
            let number = real_number(value)?;
            range.contains(&number).then_some(number)
        })
        .map(|found| found.value)
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
        for item in list.value.iter() {
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

    /// The keys that stand in this section, for those whose names the file
    /// chooses (V4L2 controls).
    pub fn keys(&self) -> Vec<String> {
        self.table
            .keys()
            .map(|key| key.get_ref().to_string())
            .collect()
    }

    /// The value of `key` as a section, if it is one: for keys that may hold
    /// a short form instead.
    pub fn is_section(&self, key: &str) -> bool {
        self.table
            .get(key)
            .is_some_and(|value| value.get_ref().is_table())
    }

    /// Whether the key stands in this section, readable or not.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes that a key is missing that there must be.
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

    /// Ends the section: what was not asked for is unknown.
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

/// A value that is either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntegerOrString {
    Integer(i64),
    String(String),
}

/// The known name most like an unknown one, if any is like it at all.
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
