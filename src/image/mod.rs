//! Still pictures on disk: PNG, JPEG and PGM files to luma (and RGB, for
//! annotated copies), and PNG files out. Used by replay, the commands on files and the
//! PNG display.
//!
//! The format of a file follows from its first bytes, never from its name.
//! Sizes are checked against [`MAX_SIDE`](crate::frame::MAX_SIDE) in the
//! header, before memory is allocated for pixels. A damaged picture is an error
//! and never half a picture: gray in place of missing parts could cut a face in
//! two.
//!
//! Luma is what OpenCV's `imread(path, IMREAD_GRAYSCALE)` gives, so that boxes
//! agree with OpenCV's on the same file: a JPEG's own luma plane, and for a PNG
//! in colour the weighted sum in [`png`]. The EXIF orientation is applied, as
//! in OpenCV.

mod exif;
mod fault;
pub mod jpeg;
pub mod pgm;
mod picture;
pub mod png;
pub mod turn;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::AsFd as _;
use std::path::Path;

use turn::Turn;

use crate::frame::LumaView;

pub use fault::{Fault, MediaError};
pub use picture::{LumaImage, RgbImage};

/// Larger files are refused without reading them. An 8000x8000 picture of noise
/// in 16-bit RGBA has 512 MB; pictures of cameras are much smaller.
const MAX_FILE: u64 = 600 << 20;

/// Reads a PNG, JPEG or PGM file as luma.
///
/// # Errors
/// Names the file and what is wrong: unreadable, empty, not a picture, cut off,
/// damaged, or a side above [`MAX_SIDE`](crate::frame::MAX_SIDE).
pub fn read_luma(path: impl AsRef<Path>) -> Result<LumaImage, MediaError> {
    let mut image = LumaImage::default();
    Reader::default().luma(path.as_ref(), &mut image)?;
    Ok(image)
}

/// Reads a PNG, JPEG or PGM file as RGB. Transparency is dropped.
///
/// # Errors
/// As [`read_luma`].
pub fn read_rgb(path: impl AsRef<Path>) -> Result<RgbImage, MediaError> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    read_file(path, &mut bytes)?;
    let mut image = RgbImage::default();
    rgb(&bytes, &mut image).map_err(|fault| MediaError::Picture {
        path: path.to_owned(),
        fault,
    })?;
    Ok(image)
}

/// The path of the picture on standard input.
pub const STDIN: &str = "-";

/// Reads pictures, one after the other, into the same memory.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    turn: Turn,
    unturned: LumaImage,
}

impl Reader {
    /// A reader that turns each picture after its EXIF orientation was applied.
    #[must_use]
    pub fn turning(turn: Turn) -> Self {
        Self {
            turn,
            ..Self::default()
        }
    }

    /// Reads a PNG, JPEG or PGM file into `image`, whose memory is used again.
    ///
    /// # Errors
    /// As [`read_luma`]; then `image` has no valid contents.
    pub fn luma(&mut self, path: &Path, image: &mut LumaImage) -> Result<(), MediaError> {
        read_file(path, &mut self.bytes)?;
        luma(&self.bytes, image).map_err(|fault| MediaError::Picture {
            path: path.to_owned(),
            fault,
        })?;
        if !self.turn.is_none() {
            std::mem::swap(image, &mut self.unturned);
            self.turn.apply(self.unturned.view(), image);
        }
        Ok(())
    }

    /// The last picture that was read, as RGB: standard input can be read only
    /// once. `path` is its path, for errors.
    ///
    /// # Errors
    /// As [`read_rgb`].
    pub fn last_as_rgb(&self, path: &Path) -> Result<RgbImage, MediaError> {
        let mut image = RgbImage::default();
        rgb(&self.bytes, &mut image).map_err(|fault| MediaError::Picture {
            path: path.to_owned(),
            fault,
        })?;
        Ok(image)
    }
}

/// Decodes a PNG, JPEG or PGM picture in memory to luma.
///
/// # Errors
/// The picture is invalid; the error says why.
pub fn luma(bytes: &[u8], image: &mut LumaImage) -> Result<(), Fault> {
    (image.width, image.height) = decode(bytes, Channels::Luma, &mut image.pixels)?;
    Ok(())
}

/// Decodes a PNG, JPEG or PGM picture in memory to RGB.
///
/// # Errors
/// The picture is invalid; the error says why.
pub fn rgb(bytes: &[u8], image: &mut RgbImage) -> Result<(), Fault> {
    (image.width, image.height) = decode(bytes, Channels::Rgb, &mut image.pixels)?;
    Ok(())
}

/// The bytes of a pixel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Channels {
    Luma = 1,
    Rgb = 3,
}

/// Decodes a picture into `pixels`, upright, and returns its size: boxes found
/// in it refer to the upright picture, as in OpenCV.
fn decode(bytes: &[u8], channels: Channels, pixels: &mut Vec<u8>) -> Result<(u32, u32), Fault> {
    type Decode = fn(&[u8], &mut Vec<u8>) -> Result<(u32, u32), Fault>;
    type Orientation = fn(&[u8]) -> u8;
    let (luma, rgb, orientation): (Decode, Decode, Orientation) = match kind(bytes)? {
        Kind::Png => (png::luma, png::rgb, png::orientation),
        Kind::Jpeg => (jpeg::luma, jpeg::rgb, jpeg::orientation),
        Kind::Pgm => (pgm::luma, pgm::rgb, |_| 1),
    };
    let size = match channels {
        Channels::Luma => luma(bytes, pixels)?,
        Channels::Rgb => rgb(bytes, pixels)?,
    };
    let turn = Turn::from_exif(orientation(bytes));
    if turn.is_none() {
        return Ok(size);
    }
    turn.apply_slowly(size, pixels, channels as usize);
    Ok(turn.size(size))
}

enum Kind {
    Png,
    Jpeg,
    Pgm,
}

fn kind(bytes: &[u8]) -> Result<Kind, Fault> {
    if bytes.is_empty() {
        Err(Fault::Empty)
    } else if bytes.starts_with(png::MAGIC) {
        Ok(Kind::Png)
    } else if bytes.starts_with(jpeg::START) {
        Ok(Kind::Jpeg)
    } else if pgm::is_netpbm(bytes) {
        Ok(Kind::Pgm)
    } else if png::MAGIC.starts_with(bytes) || jpeg::START.starts_with(bytes) {
        Err(Fault::Truncated("file"))
    } else {
        Err(Fault::NotAPicture)
    }
}

fn read_file(path: &Path, bytes: &mut Vec<u8>) -> Result<(), MediaError> {
    let fail = |source| MediaError::Read {
        path: path.to_owned(),
        source,
    };
    bytes.clear();
    let file = if path == Path::new(STDIN) {
        io::stdin().as_fd().try_clone_to_owned().map(File::from)
    } else {
        File::open(path)
    };
    let file = file.map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    if length > MAX_FILE {
        return Err(MediaError::TooManyBytes {
            path: path.to_owned(),
            bytes: length,
        });
    }
    // A device or a pipe has no length, so reading has a limit, too.
    file.take(MAX_FILE + 1).read_to_end(bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(MediaError::TooManyBytes {
            path: path.to_owned(),
            bytes: bytes.len() as u64,
        });
    }
    Ok(())
}

/// Writes a luma picture as an 8-bit gray PNG file.
///
/// The file gets its name only when it is complete: a program that watches it
/// never reads half a picture, and on a full disk the earlier file stays.
///
/// # Errors
/// Names the path and the system's error.
pub fn write_png_luma(path: impl AsRef<Path>, image: LumaView<'_>) -> Result<(), MediaError> {
    let path = path.as_ref();
    let mut rows = Vec::with_capacity(image.width() as usize * image.height() as usize);
    for row in image.rows() {
        rows.extend_from_slice(row);
    }
    write_png(
        path,
        (image.width(), image.height()),
        ::png::ColorType::Grayscale,
        &rows,
    )
}

/// Writes an RGB picture as an 8-bit PNG file, as [`write_png_luma`] does.
///
/// # Errors
/// Names the path and the system's error, or the pixels are not three bytes for
/// each of width times height.
pub fn write_png_rgb(path: impl AsRef<Path>, image: &RgbImage) -> Result<(), MediaError> {
    write_png(
        path.as_ref(),
        (image.width, image.height),
        ::png::ColorType::Rgb,
        &image.pixels,
    )
}

fn write_png(
    path: &Path,
    (width, height): (u32, u32),
    colour: ::png::ColorType,
    pixels: &[u8],
) -> Result<(), MediaError> {
    let size = u64::from(width) * u64::from(height) * colour.samples() as u64;
    if size == 0 || size != pixels.len() as u64 {
        return Err(MediaError::Shape {
            path: path.to_owned(),
            width,
            height,
            pixels: pixels.len(),
        });
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = File::create(&part)
        .and_then(|file| {
            let mut out = BufWriter::new(file);
            let mut encoder = ::png::Encoder::new(&mut out, width, height);
            encoder.set_color(colour);
            encoder.set_depth(::png::BitDepth::Eight);
            encoder.set_compression(::png::Compression::Fast);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(pixels)?;
            writer.finish()?;
            out.flush()
        })
        .and_then(|()| fs::rename(&part, path));
    written.map_err(|source| {
        // The incomplete file is useless. If it cannot be removed, the first
        // error is the important one.
        let _ = fs::remove_file(&part);
        MediaError::Write {
            path: path.to_owned(),
            source,
        }
    })
}

#[cfg(test)]
mod tests;
