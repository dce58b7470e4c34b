//! PNG files as a display, for a desk without hardware.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::frame::Rect;

use super::panel::Panel;
use super::{DisplayError, PngOptions};
use crate::draw::palette::Theme;
use crate::draw::{Canvas, Grain};

/// Encodes a canvas as a PNG file: one bit of gray per pixel for a theme of one
/// bit, otherwise 8 bits of red, green and blue. `into` is cleared first.
///
/// ```
/// use affectd::draw::Canvas;
/// use affectd::output::display::{View, draw, encode};
/// use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
///
/// let mut canvas = Canvas::new(240, 240, Rgb888::BLACK);
/// draw(&mut canvas, &View::NoFace).unwrap();
/// let mut file = Vec::new();
/// encode(&canvas, &mut file).unwrap();
/// assert!(file.starts_with(b"\x89PNG"));
/// ```
///
/// # Errors
/// The encoder's errors, for example for a canvas without pixels.
pub fn encode<C: Theme>(
    canvas: &Canvas<C>,
    into: &mut Vec<u8>,
) -> Result<(), ::png::EncodingError> {
    into.clear();
    let mut encoder = ::png::Encoder::new(into, canvas.width(), canvas.height());
    let mut bytes = Vec::new();
    if C::ONE_BIT {
        encoder.set_color(::png::ColorType::Grayscale);
        encoder.set_depth(::png::BitDepth::One);
        for y in 0..canvas.height() {
            // The leftmost pixel is the highest bit; a row ends with its byte.
            bytes.extend(canvas.row(y).chunks(8).map(|pixels| {
                pixels.iter().enumerate().fold(0, |byte, (at, pixel)| {
                    byte | u8::from(pixel.to_rgb()[0] > 127) << (7 - at)
                })
            }));
        }
    } else {
        encoder.set_color(::png::ColorType::Rgb);
        encoder.set_depth(::png::BitDepth::Eight);
        bytes.reserve_exact(canvas.pixels().len() * 3);
        bytes.extend(canvas.pixels().iter().flat_map(|pixel| pixel.to_rgb()));
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes)?;
    writer.finish()
}

/// A picture file that is replaced whenever the picture changes.
///
/// The new file replaces the old one by a rename, so a viewer never sees half a
/// picture.
pub struct PngPanel<C> {
    options: PngOptions,
    /// The number of the next picture to keep, if all are kept.
    next: Option<u32>,
    bytes: Vec<u8>,
    color: std::marker::PhantomData<C>,
}

impl<C: Theme> PngPanel<C> {
    /// Creates the folder, and finds the next number for numbered pictures.
    ///
    /// # Errors
    /// The folder cannot be created or read.
    pub fn open(options: &PngOptions) -> Result<Self, DisplayError> {
        let folder = folder_of(&options.path);
        fs::create_dir_all(folder).map_err(|source| DisplayError::Picture {
            path: folder.to_owned(),
            source,
        })?;
        let next = options.every_change.then(|| {
            let last = fs::read_dir(folder).map_or(0, |entries| {
                entries
                    .flatten()
                    .filter_map(|entry| number_of(&options.path, &entry.path()))
                    .max()
                    .unwrap_or(0)
            });
            last.saturating_add(1)
        });
        Ok(Self {
            options: options.clone(),
            next,
            bytes: Vec::new(),
            color: std::marker::PhantomData,
        })
    }

    fn write(&self, path: &Path) -> Result<(), DisplayError> {
        let new = unfinished(path);
        fs::write(&new, &self.bytes)
            .and_then(|()| fs::rename(&new, path))
            .map_err(|source| {
                // On a full disk a part of the file may be left.
                let _ = fs::remove_file(&new);
                DisplayError::Picture {
                    path: path.to_owned(),
                    source,
                }
            })
    }
}

/// Checks whether a picture file can be written, and removes everything that
/// the check created.
pub fn probe(path: &Path) -> Result<(), DisplayError> {
    let folder = folder_of(path);
    // If root runs this, the daemon could not use the new folders.
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .collect();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DisplayError::Picture { path, source }
    };
    let tried = fs::create_dir_all(folder)
        .map_err(failed(folder))
        .and_then(|()| fs::write(unfinished(path), b"").map_err(failed(path)))
        .and_then(|()| match fs::metadata(path) {
            // The finished picture replaces the old file.
            Ok(found) if found.is_dir() => {
                Err(failed(path)(std::io::ErrorKind::IsADirectory.into()))
            }
            _ => Ok(()),
        });
    let _ = fs::remove_file(unfinished(path));
    for folder in missing {
        let _ = fs::remove_dir(folder);
    }
    tried
}

/// The path of a picture while it is written.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// `display.png` and 7 to `display-000007.png`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number:06}.png"));
    path.with_file_name(name)
}

/// The other way round.
fn number_of(path: &Path, kept: &Path) -> Option<u32> {
    let stem = path.file_stem()?.to_str()?;
    kept.file_name()?
        .to_str()?
        .strip_prefix(stem)?
        .strip_prefix('-')?
        .strip_suffix(".png")?
        .parse()
        .ok()
}

impl<C: Theme> Panel for PngPanel<C> {
    type Color = C;

    /// A file keeps its contents.
    const RESEND: Option<Duration> = None;

    fn size(&self) -> (u32, u32) {
        (self.options.width, self.options.height)
    }

    fn grain(&self) -> Grain {
        // The file is always written completely, so one rectangle is enough.
        Grain {
            band: u32::MAX,
            overhead: u32::MAX,
        }
    }

    fn show(&mut self, canvas: &Canvas<C>, _rects: &[Rect]) -> Result<(), DisplayError> {
        encode(canvas, &mut self.bytes).map_err(|source| DisplayError::Picture {
            path: self.options.path.clone(),
            source: source.into(),
        })?;
        if let Some(number) = self.next {
            self.write(&numbered(&self.options.path, number))?;
            self.next = Some(number.saturating_add(1));
        }
        self.write(&self.options.path)
    }

    fn darken(&mut self) -> Result<bool, DisplayError> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_graphics::pixelcolor::BinaryColor;
    use embedded_graphics::prelude::*;

    #[test]
    fn one_bit_pictures_read_back() {
        let mut canvas = Canvas::new(11, 3, BinaryColor::Off);
        for x in [0, 7, 8, 10] {
            canvas
                .draw_iter([Pixel(Point::new(x, 1), BinaryColor::On)])
                .unwrap();
        }
        let mut bytes = Vec::new();
        encode(&canvas, &mut bytes).unwrap();
        let mut decoder = ::png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(::png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut grey = vec![0; 33];
        reader.next_frame(&mut grey).unwrap();
        assert_eq!(&grey[11..22], [255, 0, 0, 0, 0, 0, 0, 255, 255, 0, 255]);
        assert_eq!(grey.iter().filter(|&&value| value == 0).count(), 33 - 4);
    }

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        probe(&root.path().join("a/b/display.png")).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        fs::write(root.path().join("file"), "").unwrap();
        let wrong = probe(&root.path().join("file/display.png")).unwrap_err();
        assert!(
            wrong.to_string().contains("cannot write the picture"),
            "{wrong}"
        );
        fs::create_dir(root.path().join("display.png")).unwrap();
        assert!(probe(&root.path().join("display.png")).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }

    #[test]
    fn numbers_continue_after_the_last() {
        let path = Path::new("out/display.png");
        assert_eq!(numbered(path, 7), Path::new("out/display-000007.png"));
        assert_eq!(number_of(path, &numbered(path, 7)), Some(7));
        assert_eq!(number_of(path, path), None);
        assert_eq!(number_of(path, Path::new("out/display-x.png")), None);
        assert_eq!(folder_of(Path::new("display.png")), Path::new("."));
    }
}
