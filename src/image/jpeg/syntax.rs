//! Parts of the format that all parts of the decoder use.

/// The start of every JPEG: the marker SOI and the first byte of the next one.
pub const START: &[u8] = &[0xff, 0xd8, 0xff];

/// The format's name, in errors.
pub(super) const KIND: &str = "JPEG";

/// A number of two bytes, as all lengths and sizes are.
pub(super) const fn whole_number(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}
