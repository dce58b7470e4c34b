//! What lines are written into, besides a socket.

use std::fs::File;
use std::io::{self, Write};

/// Where a stream's lines go. Both methods are called between two lines only.
pub(super) trait Target: Write {
    /// Opens the file again; true if it is empty now.
    fn reopen(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    /// Begins a new file if a line of so many bytes would make this one too
    /// large; true if it did.
    fn make_room(&mut self, _line: usize) -> io::Result<bool> {
        Ok(false)
    }
}

/// Standard output.
impl Target for File {}
