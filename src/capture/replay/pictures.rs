//! A still picture or a directory of them.

use std::io;
use std::path::{Path, PathBuf};

use super::recording::{Recording, Step};
use crate::image::{LumaImage, Reader};

/// Pictures, one after the other. Their sizes may differ.
pub struct Pictures {
    paths: Vec<PathBuf>,
    at: usize,
    reader: Reader,
}

impl Pictures {
    pub fn one(path: &Path) -> Self {
        Self {
            paths: vec![path.to_owned()],
            at: 0,
            reader: Reader::default(),
        }
    }

    /// The PNG, JPEG and PGM files of a directory (not of those in it) by name.
    ///
    /// # Errors
    /// The directory cannot be read or has no such file.
    pub fn directory(path: &Path) -> Result<Self, String> {
        let paths = picture_files(path).map_err(|e| e.to_string())?;
        if paths.is_empty() {
            return Err("the directory has no .png, .jpg, .jpeg or .pgm file".to_owned());
        }
        Ok(Self {
            paths,
            at: 0,
            reader: Reader::default(),
        })
    }
}

impl Recording for Pictures {
    fn read(&mut self, image: &mut LumaImage) -> Step {
        let Some(path) = self.paths.get(self.at) else {
            return Step::End;
        };
        self.at += 1;
        match self.reader.luma(path, image) {
            Ok(()) => Step::Frame,
            Err(error) => Step::Broken(error.to_string()),
        }
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.at = 0;
        Ok(())
    }

    fn kind(&self) -> String {
        match self.paths.len() {
            1 => "a picture".to_owned(),
            n => format!("{n} pictures"),
        }
    }
}

/// Paths in the order in which a person counts: `frame2` before `frame10`.
pub fn natural_order(a: &Path, b: &Path) -> std::cmp::Ordering {
    let key = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned());
    match (key(a), key(b)) {
        (Some(x), Some(y)) => natural(&x, &y).then_with(|| a.cmp(b)),
        (x, y) => x.cmp(&y),
    }
}

fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (da, db) = (digits(a), digits(b));
        let order = if da > 0 && db > 0 {
            let (na, nb) = (without_zeros(&a[..da]), without_zeros(&b[..db]));
            // Of two numbers without leading zeros the longer is the larger.
            let order = na.len().cmp(&nb.len()).then_with(|| na.cmp(nb));
            (a, b) = (&a[da..], &b[db..]);
            order
        } else {
            match (a.split_first(), b.split_first()) {
                (None, None) => return std::cmp::Ordering::Equal,
                (None, _) => return std::cmp::Ordering::Less,
                (_, None) => return std::cmp::Ordering::Greater,
                (Some((x, rest_a)), Some((y, rest_b))) => {
                    (a, b) = (rest_a, rest_b);
                    x.cmp(y)
                }
            }
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|c| c.is_ascii_digit()).count()
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&c| c == b'0').count();
    &number[zeros..]
}

/// Regular picture files of a directory, in natural order.
fn picture_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_picture = path.extension().and_then(|e| e.to_str()).is_some_and(|e| {
            ["png", "jpg", "jpeg", "pgm"]
                .iter()
                .any(|known| e.eq_ignore_ascii_case(known))
        });
        if is_picture && path.is_file() {
            files.push(path);
        }
    }
    files.sort_by(|a, b| natural_order(a, b));
    Ok(files)
}
