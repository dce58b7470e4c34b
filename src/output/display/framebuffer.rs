//! The Linux framebuffer: a screen as a file, `/dev/fb0`.
//!
//! The driver's report gives the place of each pixel: its size, the bytes from
//! one row to the next, which part of a larger memory is on the screen, and the
//! bits of red, green and blue in a pixel. Rows are written with `pwrite`, so
//! the memory does not have to be mapped.
//!
//! A text console on the same screen still draws its cursor;
//! `vt.global_cursor_default=0` on the kernel's command line switches the
//! cursor off.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};

use embedded_graphics::pixelcolor::Rgb888;

use crate::frame::Rect;

use super::DisplayError;
use super::geometry::Geometry;
use super::panel::Panel;
use crate::draw::palette::{Part, Theme};
use crate::draw::{Canvas, Grain};

/// A framebuffer, or a file with the same layout.
pub struct FramebufferPanel {
    file: File,
    path: PathBuf,
    geometry: Geometry,
    zoom: u32,
    row: Vec<u8>,
}

impl FramebufferPanel {
    /// Opens a framebuffer and reads its geometry.
    ///
    /// # Errors
    /// It does not exist, is not writable, is not a framebuffer, or has an
    /// unsupported format.
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
    /// The geometry is not supported, or the file is not writable.
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
        // Pixels left over at the edges keep this colour.
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
            // Each row is a system call anyway, which takes as long as copying
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
