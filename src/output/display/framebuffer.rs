//! The Linux framebuffer: a screen as a file, `/dev/fb0`.
//!
//! What the driver reports says where each pixel goes: its size, the bytes from
//! one row to the next, which part of a larger memory is on the screen, and
//! where red, green and blue lie within a pixel. Rows are written with
//! `pwrite`, so that the memory need not be mapped.
//!
//! A text console on the same screen goes on drawing its cursor; it is switched
//! off by `vt.global_cursor_default=0` on the kernel's command line.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};

use embedded_graphics::pixelcolor::{Rgb888, RgbColor};

use crate::frame::Rect;

use super::DisplayError;
use super::panel::Panel;
use crate::draw::palette::{Part, Theme};
use crate::draw::{Canvas, Grain};

/// Where the bits of one colour lie in a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The lowest bit.
    pub offset: u32,
    /// The number of bits, 1 to 8.
    pub length: u32,
}

/// How a framebuffer's memory is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Visible pixels.
    pub width: u32,
    pub height: u32,
    /// The visible part's corner in the memory, in pixels.
    pub left: u32,
    pub top: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// Bytes a pixel, 2 to 4; least significant first.
    pub bytes: u32,
    pub red: Channel,
    pub green: Channel,
    pub blue: Channel,
}

impl Geometry {
    /// The largest side that is believed.
    const MAX_SIDE: u32 = 16_384;

    /// Tells what is wrong with a geometry that cannot be drawn on.
    fn complaint(&self) -> Option<String> {
        let channels = [self.red, self.green, self.blue];
        if !(1..=Self::MAX_SIDE).contains(&self.width)
            || !(1..=Self::MAX_SIDE).contains(&self.height)
            || self.left > Self::MAX_SIDE
            || self.top > Self::MAX_SIDE
        {
            Some(format!("a size of {}x{}", self.width, self.height))
        } else if !(2..=4).contains(&self.bytes) {
            Some(format!(
                "{} bits a pixel; 16, 24 and 32 can be drawn",
                self.bytes * 8
            ))
        } else if channels.iter().any(|channel| {
            !(1..=8).contains(&channel.length) || channel.offset > self.bytes * 8 - channel.length
        }) {
            Some("no channels for red, green and blue (a palette?)".into())
        } else if u64::from(self.stride) < u64::from(self.left + self.width) * u64::from(self.bytes)
        {
            Some(format!(
                "{} bytes a row, too few for {} pixels",
                self.stride,
                self.left + self.width
            ))
        } else {
            None
        }
    }

    /// A colour's bytes.
    fn pack(&self, color: Rgb888) -> [u8; 4] {
        let place = |channel: Channel, value: u8| {
            u32::from(value >> (8 - channel.length)) << channel.offset
        };
        let value =
            place(self.red, color.r()) | place(self.green, color.g()) | place(self.blue, color.b());
        value.to_le_bytes()
    }

    fn offset(&self, x: u32, y: u32) -> u64 {
        u64::from(self.top + y) * u64::from(self.stride)
            + u64::from(self.left + x) * u64::from(self.bytes)
    }

    /// Pixels of the screen to one of the canvas, each way: a large monitor is
    /// drawn coarser, for the sake of memory and time.
    fn zoom(&self) -> u32 {
        const MOST: u64 = 1_100_000;
        (1..)
            .find(|zoom| u64::from(self.width / zoom) * u64::from(self.height / zoom) <= MOST)
            .unwrap_or(1)
    }
}

/// A framebuffer, or a file laid out like one.
pub struct FramebufferPanel {
    file: File,
    path: PathBuf,
    geometry: Geometry,
    zoom: u32,
    row: Vec<u8>,
}

impl FramebufferPanel {
    /// Opens a framebuffer and asks it for its geometry.
    ///
    /// # Errors
    /// It does not exist, may not be written, is no framebuffer, or has a format
    /// that cannot be drawn.
    pub fn open(path: &Path) -> Result<Self, DisplayError> {
        let failed = |source| DisplayError::Framebuffer {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        if !file
            .metadata()
            .map_err(failed)?
            .file_type()
            .is_char_device()
        {
            return Err(DisplayError::FramebufferFormat {
                path: path.to_owned(),
                complaint: "no device".into(),
            });
        }
        let geometry = super::fbdev::geometry(&file).map_err(failed)?;
        Self::new(file, path, geometry)
    }

    /// Takes a file with a known geometry, and fills its visible part.
    ///
    /// # Errors
    /// The geometry cannot be drawn on, or the file not written.
    pub fn new(file: File, path: &Path, geometry: Geometry) -> Result<Self, DisplayError> {
        if let Some(complaint) = geometry.complaint() {
            return Err(DisplayError::FramebufferFormat {
                path: path.to_owned(),
                complaint,
            });
        }
        let mut panel = Self {
            file,
            path: path.to_owned(),
            zoom: geometry.zoom(),
            row: Vec::with_capacity((geometry.width * geometry.bytes) as usize),
            geometry,
        };
        // What is left over at the edges is never drawn to.
        let ground = geometry.pack(Rgb888::of(Part::Ground));
        for _ in 0..geometry.width {
            panel.row.extend(&ground[..geometry.bytes as usize]);
        }
        for y in 0..geometry.height {
            panel.write(0, y)?;
        }
        Ok(panel)
    }

    fn write(&self, x: u32, y: u32) -> Result<(), DisplayError> {
        self.file
            .write_all_at(&self.row, self.geometry.offset(x, y))
            .map_err(|source| DisplayError::Framebuffer {
                path: self.path.clone(),
                source,
            })
    }
}

impl Panel for FramebufferPanel {
    type Color = Rgb888;

    fn size(&self) -> (u32, u32) {
        (
            self.geometry.width / self.zoom,
            self.geometry.height / self.zoom,
        )
    }

    fn grain(&self) -> Grain {
        Grain {
            // Each row is a system call anyway, which costs as much as copying
            // some hundred pixels.
            band: 1,
            overhead: 200,
        }
    }

    fn show(&mut self, canvas: &Canvas<Rgb888>, rects: &[Rect]) -> Result<(), DisplayError> {
        let zoom = self.zoom;
        for rect in rects {
            let (x, y) = (rect.x.unsigned_abs(), rect.y.unsigned_abs());
            for y in y..y + rect.height {
                self.row.clear();
                for &color in canvas.span(*rect, y) {
                    let packed = self.geometry.pack(color);
                    for _ in 0..zoom {
                        self.row.extend(&packed[..self.geometry.bytes as usize]);
                    }
                }
                for copy in 0..zoom {
                    self.write(x * zoom, y * zoom + copy)?;
                }
            }
        }
        Ok(())
    }

    fn darken(&mut self) -> Result<bool, DisplayError> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RGB565: Geometry = Geometry {
        width: 4,
        height: 3,
        left: 0,
        top: 0,
        stride: 8,
        bytes: 2,
        red: Channel {
            offset: 11,
            length: 5,
        },
        green: Channel {
            offset: 5,
            length: 6,
        },
        blue: Channel {
            offset: 0,
            length: 5,
        },
    };

    #[test]
    fn colours_are_packed_as_reported() {
        assert_eq!(RGB565.pack(Rgb888::new(255, 0, 0))[..2], [0x00, 0xf8]);
        assert_eq!(RGB565.pack(Rgb888::new(0, 255, 8))[..2], [0xe1, 0x07]);
    }

    #[test]
    fn impossible_geometries_are_refused() {
        assert_eq!(RGB565.complaint(), None);
        let wrong = |change: fn(&mut Geometry)| {
            let mut geometry = RGB565;
            change(&mut geometry);
            geometry.complaint().expect("a complaint")
        };
        assert!(wrong(|g| g.width = 0).contains("0x3"));
        assert!(wrong(|g| g.width = u32::MAX).contains("size"));
        assert!(wrong(|g| g.bytes = 1).contains("8 bits"));
        assert!(wrong(|g| g.green.length = 0).contains("channels"));
        assert!(wrong(|g| g.red.offset = 12).contains("channels"));
        assert!(wrong(|g| g.red.offset = u32::MAX).contains("channels"));
        assert!(wrong(|g| g.stride = 7).contains("bytes a row"));
    }

    #[test]
    fn large_screens_are_drawn_coarser() {
        let zoom = |width, height| {
            Geometry {
                width,
                height,
                ..RGB565
            }
            .zoom()
        };
        assert_eq!(zoom(800, 480), 1);
        assert_eq!(zoom(1920, 1080), 2);
        assert_eq!(zoom(3840, 2160), 3);
        assert_eq!(zoom(16_384, 16_384), 16);
    }
}
