//! Reads the geometry of a framebuffer with `FBIOGET_VSCREENINFO` and
//! `FBIOGET_FSCREENINFO` (`linux/fb.h`).
//!
//! None of the crates in use wraps these two calls, so this file has the
//! display's only unsafe code: a call of an ioctl that fills a structure.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

use super::geometry::{Channel, Geometry};

/// `struct fb_var_screeninfo`: 40 fields of 32 bits, read by index.
type Variable = [u32; 40];

/// `struct fb_fix_screeninfo`: two fields are an unsigned long, so its size
/// depends on that of a pointer.
type Fixed = [u32; if WIDE { 20 } else { 17 }];

const WIDE: bool = size_of::<usize>() == 8;

/// The indices in `Fixed` of the kind of memory and of the bytes per row.
const KIND: usize = if WIDE { 7 } else { 6 };
const STRIDE: usize = if WIDE { 12 } else { 11 };

const FBIOGET_VSCREENINFO: Opcode = 0x4600;
const FBIOGET_FSCREENINFO: Opcode = 0x4602;

/// `FB_TYPE_PACKED_PIXELS`
const PACKED_PIXELS: u32 = 0;

/// A type that an ioctl of this file fills.
trait Report: Copy {}
impl Report for Variable {}
impl Report for Fixed {}

/// Requests a report from a device.
fn get<const OPCODE: Opcode, R: Report>(file: &File) -> io::Result<R> {
    // SAFETY: only called below, with FBIOGET_VSCREENINFO for `Variable` and
    // FBIOGET_FSCREENINFO for `Fixed`. These have the size of the structures
    // that the kernel writes, and any bytes are valid values. Another device
    // could give these numbers another meaning, so `geometry` first checks that
    // the device is a framebuffer.
    Ok(unsafe { ioctl(file.as_fd(), Getter::<OPCODE, R>::new()) }?)
}

/// A framebuffer's geometry.
pub fn geometry(file: &File) -> io::Result<Geometry> {
    // Framebuffers have the major number 29 (Documentation/admin-guide/devices.txt).
    let device = rustix::fs::fstat(file)?.st_rdev;
    if rustix::fs::major(device) != 29 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "this is not a framebuffer",
        ));
    }
    let variable: Variable = get::<FBIOGET_VSCREENINFO, _>(file)?;
    let fixed: Fixed = get::<FBIOGET_FSCREENINFO, _>(file)?;
    let mut geometry = read(&variable, fixed[STRIDE]);
    if fixed[KIND] != PACKED_PIXELS {
        // Bit planes and text cannot be drawn on. 0 distinguishes them from a
        // palette.
        geometry.bytes = 0;
    }
    Ok(geometry)
}

fn read(variable: &Variable, stride: u32) -> Geometry {
    let channel = |at: usize| Channel {
        offset: variable[at],
        length: variable[at + 1],
    };
    let [width, height, _, _, left, top, bits, ..] = *variable;
    Geometry {
        width,
        height,
        left,
        top,
        stride,
        bytes: bits / 8,
        red: channel(8),
        green: channel(11),
        blue: channel(14),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_kernel_puts_them() {
        // The report of vc4's framebuffer for an 800x480 panel.
        let mut variable = [0; 40];
        variable[..8].copy_from_slice(&[800, 480, 800, 960, 0, 480, 32, 0]);
        variable[8..20].copy_from_slice(&[16, 8, 0, 8, 8, 0, 0, 8, 0, 24, 8, 0]);
        let eight = |offset| Channel { offset, length: 8 };
        assert_eq!(
            read(&variable, 3200),
            Geometry {
                width: 800,
                height: 480,
                left: 0,
                top: 480,
                stride: 3200,
                bytes: 4,
                red: eight(16),
                green: eight(8),
                blue: eight(0),
            }
        );
    }

    #[test]
    fn other_devices_are_not_asked() {
        let null = File::open("/dev/null").unwrap();
        let error = geometry(&null).unwrap_err();
        assert!(error.to_string().contains("not a framebuffer"));
    }
}
