//! Reads the orientation from EXIF data.

/// The orientation, 1 (upright) to 8, in EXIF data from its TIFF header on.
pub(super) fn orientation(tiff: &[u8]) -> Option<u8> {
    let big = match tiff.get(..2)? {
        b"MM" => true,
        b"II" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = tiff.get(at..at + 2)?.try_into().ok()?;
        Some(if big {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    };
    let long = |at: usize| {
        let bytes = tiff.get(at..at + 4)?.try_into().ok()?;
        Some(if big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    };
    let directory = long(4)? as usize;
    let entries = usize::from(short(directory)?);
    for entry in 0..entries {
        let at = directory + 2 + entry * 12;
        // Tag 0x0112 of type SHORT: the value lies in the entry itself.
        if short(at)? == 0x0112 && short(at + 2)? == 3 {
            return u8::try_from(short(at + 8)?)
                .ok()
                .filter(|o| (1..=8).contains(o));
        }
    }
    None
}
