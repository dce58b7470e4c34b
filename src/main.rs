//! Parses arguments, picks a command, and turns an error into a message and an
//! exit code.

fn main() {}
