//! How the memory of a framebuffer is laid out.

use embedded_graphics::pixelcolor::{Rgb888, RgbColor};

/// The bits of one colour in a pixel.
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
    /// Bytes per pixel, 2 to 4; least significant first.
    pub bytes: u32,
    pub red: Channel,
    pub green: Channel,
    pub blue: Channel,
}

impl Geometry {
    /// The largest plausible side.
    const MAX_SIDE: u32 = 16_384;

    /// Why a geometry is not supported, if so.
    pub(super) fn complaint(&self) -> Option<String> {
        let channels = [self.red, self.green, self.blue];
        if !(1..=Self::MAX_SIDE).contains(&self.width)
            || !(1..=Self::MAX_SIDE).contains(&self.height)
            || self.left > Self::MAX_SIDE
            || self.top > Self::MAX_SIDE
        {
            Some(format!("a size of {}x{}", self.width, self.height))
        } else if !(2..=4).contains(&self.bytes) {
            Some(format!(
                "{} bits per pixel; only 16, 24 and 32 are supported",
                self.bytes * 8
            ))
        } else if channels.iter().any(|channel| {
            !(1..=8).contains(&channel.length) || channel.offset > self.bytes * 8 - channel.length
        }) {
            Some("no channels for red, green and blue (a palette?)".into())
        } else if u64::from(self.stride) < u64::from(self.left + self.width) * u64::from(self.bytes)
        {
            Some(format!(
                "{} bytes per row, too few for {} pixels",
                self.stride,
                self.left + self.width
            ))
        } else {
            None
        }
    }

    /// A colour's bytes.
    pub(super) fn pack(&self, color: Rgb888) -> [u8; 4] {
        let place = |channel: Channel, value: u8| {
            u32::from(value >> (8 - channel.length)) << channel.offset
        };
        let value =
            place(self.red, color.r()) | place(self.green, color.g()) | place(self.blue, color.b());
        value.to_le_bytes()
    }

    pub(super) fn offset(&self, x: u32, y: u32) -> u64 {
        u64::from(self.top + y) * u64::from(self.stride)
            + u64::from(self.left + x) * u64::from(self.bytes)
    }

    /// Pixels of the screen for one pixel of the canvas, in both directions: on
    /// a large monitor the picture is coarser, to save memory and time.
    pub(super) fn zoom(&self) -> u32 {
        const MOST: u64 = 1_100_000;
        (1..)
            .find(|zoom| u64::from(self.width / zoom) * u64::from(self.height / zoom) <= MOST)
            .unwrap_or(1)
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
        assert!(wrong(|g| g.stride = 7).contains("bytes per row"));
    }

    #[test]
    fn large_screens_get_a_coarser_picture() {
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
