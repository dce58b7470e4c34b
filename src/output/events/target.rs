//! What lines are written into, other than a socket.

use std::fs::File;
use std::io::{self, Write};

/// The target of a stream's lines. Both methods are called only between two
/// lines.
pub(super) trait Target: Write {
    /// Opens the file again; true if it is empty now.
    fn reopen(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    /// Begins a new file if a line of this many bytes would make this one too
    /// large; true if it did.
    fn make_room(&mut self, _line: usize) -> io::Result<bool> {
        Ok(false)
    }
}

/// Standard output.
impl Target for File {}
