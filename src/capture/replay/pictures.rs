//! A still picture or a directory of them.

use std::io;
use std::path::{Path, PathBuf};

use super::{Recording, Step, picture_files};
use crate::image::{LumaImage, Reader};

/// Picture after picture. Their sizes may differ.
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
    /// A directory that cannot be read or has none.
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
