//! Pixel formats to luma: one function per format.
//!
//! Each takes the bytes in the driver's layout (`stride` bytes from row to row;
//! drivers pad rows for their DMA engines) and writes width times height bytes
//! without gaps. Chroma is never read. Nothing is allocated.
//!
//! The loops are plain, in a form that the compiler vectorises for every
//! processor (`benches/capture.rs`).

use super::{CaptureError, PixelFormat};
use crate::image::jpeg::luma_of;

/// The data has fewer bytes than a frame needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{got} of the {need} bytes of a frame")]
pub struct Short {
    pub need: usize,
    pub got: usize,
}

/// The memory layout of uncompressed frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub format: PixelFormat,
    pub width: u32,
    pub height: u32,
    /// Bytes from one row of the (first) plane to the next.
    pub stride: usize,
}

impl Layout {
    /// Rows without gaps between them.
    #[must_use]
    pub const fn packed(format: PixelFormat, width: u32, height: u32) -> Self {
        let w = width as usize;
        let stride = match format {
            // Two pixels share their chroma, so rows have an even width.
            PixelFormat::Yuyv | PixelFormat::Uyvy => w.div_ceil(2) * 4,
            PixelFormat::Y16 => w * 2,
            PixelFormat::Rgb24 | PixelFormat::Bgr24 => w * 3,
            PixelFormat::Nv12 | PixelFormat::I420 | PixelFormat::Grey | PixelFormat::Mjpg => w,
        };
        Self {
            format,
            width,
            height,
            stride,
        }
    }

    /// Rows that are `stride` bytes apart, or without gaps.
    ///
    /// # Errors
    /// A row does not fit into the stride, or the stride is longer than 4 rows.
    pub fn padded(
        format: PixelFormat,
        width: u32,
        height: u32,
        stride: Option<usize>,
    ) -> Result<Self, CaptureError> {
        let packed = Self::packed(format, width, height);
        let layout = Self {
            stride: stride.unwrap_or(packed.stride),
            ..packed
        };
        let row = packed.row();
        // Drivers pad to about 64 bytes; a much larger stride is a mistake, and
        // would waste memory.
        if !(row..=4 * packed.stride.max(64)).contains(&layout.stride) {
            return Err(CaptureError::Stride {
                stride: layout.stride,
                format,
                width,
                row,
            });
        }
        Ok(layout)
    }

    /// Bytes of a row that contain luma.
    const fn row(&self) -> usize {
        match self.format {
            PixelFormat::Yuyv | PixelFormat::Uyvy | PixelFormat::Y16 => self.width as usize * 2,
            PixelFormat::Rgb24 | PixelFormat::Bgr24 => self.width as usize * 3,
            _ => self.width as usize,
        }
    }

    /// Bytes of a whole frame, chroma planes included.
    #[must_use]
    pub const fn frame(&self) -> usize {
        let rows = self.height as usize;
        let luma = self.stride * rows;
        match self.format {
            PixelFormat::Nv12 => luma + self.stride.div_ceil(2) * 2 * rows.div_ceil(2),
            PixelFormat::I420 => luma + 2 * self.stride.div_ceil(2) * rows.div_ceil(2),
            _ => luma,
        }
    }

    /// Bytes up to the last one that contains luma.
    #[must_use]
    pub const fn needed(&self) -> usize {
        self.stride * (self.height as usize - 1) + self.row()
    }

    /// Converts a frame of this layout to luma.
    ///
    /// # Errors
    /// [`Short`] if bytes are missing; `out` is then unchanged.
    ///
    /// # Panics
    /// If `out` has not width times height bytes, or for [`PixelFormat::Mjpg`],
    /// which has no layout.
    pub fn luma(&self, data: &[u8], out: &mut [u8]) -> Result<(), Short> {
        let need = self.needed();
        if data.len() < need || self.stride < self.row() {
            return Err(Short {
                need,
                got: data.len(),
            });
        }
        let width = self.width as usize;
        assert_eq!(out.len(), width * self.height as usize);
        match self.format {
            PixelFormat::Yuyv => yuyv(data, width, self.stride, out),
            PixelFormat::Uyvy => uyvy(data, width, self.stride, out),
            PixelFormat::Nv12 => nv12(data, width, self.stride, out),
            PixelFormat::I420 => i420(data, width, self.stride, out),
            PixelFormat::Grey => grey(data, width, self.stride, out),
            PixelFormat::Y16 => y16(data, width, self.stride, out),
            PixelFormat::Rgb24 => rgb24(data, width, self.stride, out),
            PixelFormat::Bgr24 => bgr24(data, width, self.stride, out),
            PixelFormat::Mjpg => unreachable!("Motion-JPEG is decoded, not laid out"),
        }
        Ok(())
    }
}

/// Y0 U Y1 V: luma in the even bytes.
pub fn yuyv(data: &[u8], width: usize, stride: usize, out: &mut [u8]) {
    pairs::<0>(data, width, stride, out);
}

/// U Y0 V Y1: luma in the odd bytes.
pub fn uyvy(data: &[u8], width: usize, stride: usize, out: &mut [u8]) {
    pairs::<1>(data, width, stride, out);
}

/// 16 bits per pixel, little endian: the upper byte.
pub fn y16(data: &[u8], width: usize, stride: usize, out: &mut [u8]) {
    pairs::<1>(data, width, stride, out);
}

/// A luma plane, then U and V interleaved.
pub fn nv12(data: &[u8], width: usize, stride: usize, out: &mut [u8]) {
    grey(data, width, stride, out);
}

/// A luma plane, then one of U and one of V.
pub fn i420(data: &[u8], width: usize, stride: usize, out: &mut [u8]) {
    grey(data, width, stride, out);
}

/// One byte per pixel.
pub fn grey(data: &[u8], width: usize, stride: usize, out: &mut [u8]) {
    for (row, out) in data.chunks(stride).zip(out.chunks_exact_mut(width)) {
        out.copy_from_slice(&row[..width]);
    }
}

/// Red, green, blue: their weighted sum, with the weights of OpenCV's
/// `cvtColor`.
pub fn rgb24(data: &[u8], width: usize, stride: usize, out: &mut [u8]) {
    triples::<0, 2>(data, width, stride, out);
}

/// Blue, green, red: their weighted sum, with the weights of OpenCV's
/// `cvtColor`.
pub fn bgr24(data: &[u8], width: usize, stride: usize, out: &mut [u8]) {
    triples::<2, 0>(data, width, stride, out);
}

fn triples<const RED: usize, const BLUE: usize>(
    data: &[u8],
    width: usize,
    stride: usize,
    out: &mut [u8],
) {
    for (row, out) in data.chunks(stride).zip(out.chunks_exact_mut(width)) {
        let (pixels, _) = row[..3 * width].as_chunks::<3>();
        for (pixel, y) in pixels.iter().zip(out) {
            *y = luma_of(pixel[RED], pixel[1], pixel[BLUE]);
        }
    }
}

/// Takes byte `LUMA` of every two.
///
/// It reads 16-bit numbers, because the compiler has vector instructions that
/// narrow those. Picking single bytes is not vectorised.
fn pairs<const LUMA: usize>(data: &[u8], width: usize, stride: usize, out: &mut [u8]) {
    for (row, out) in data.chunks(stride).zip(out.chunks_exact_mut(width)) {
        let (pairs, _) = row[..2 * width].as_chunks::<2>();
        for (&pair, y) in pairs.iter().zip(out) {
            *y = (u16::from_le_bytes(pair) >> (8 * LUMA)) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The luma in every format below, for 5x3 pixels.
    #[rustfmt::skip]
    const GOLDEN: [u8; 15] = [
        16,  40,  80, 120, 235,
        17,  41,  81, 121, 234,
        18,  42,  82, 122, 233,
    ];
    const W: u32 = 5;
    const H: u32 = 3;
    /// The value of padding and chroma bytes, so that it is visible if one is
    /// used as luma.
    const X: u8 = 99;

    fn golden(format: PixelFormat, stride: usize, data: &[u8]) {
        let layout = Layout {
            format,
            width: W,
            height: H,
            stride,
        };
        let mut out = [0; 15];
        layout.luma(data, &mut out).unwrap();
        assert_eq!(out, GOLDEN, "{format} with a stride of {stride}");
        // The last row needs no padding, but one byte less is an error.
        let need = layout.needed();
        layout.luma(&data[..need], &mut out).unwrap();
        assert_eq!(
            layout.luma(&data[..need - 1], &mut out),
            Err(Short {
                need,
                got: need - 1
            })
        );
    }

    #[test]
    #[rustfmt::skip]
    fn yuyv_of_an_odd_width() {
        golden(PixelFormat::Yuyv, 12, &[
            16, X, 40, X, 80, X, 120, X, 235, X, X, X,
            17, X, 41, X, 81, X, 121, X, 234, X, X, X,
            18, X, 42, X, 82, X, 122, X, 233, X, X, X,
        ]);
        golden(PixelFormat::Yuyv, 13, &[
            16, X, 40, X, 80, X, 120, X, 235, X, X, X, X,
            17, X, 41, X, 81, X, 121, X, 234, X, X, X, X,
            18, X, 42, X, 82, X, 122, X, 233, X, X, X, X,
        ]);
    }

    #[test]
    #[rustfmt::skip]
    fn uyvy_of_an_odd_width() {
        golden(PixelFormat::Uyvy, 12, &[
            X, 16, X, 40, X, 80, X, 120, X, 235, X, X,
            X, 17, X, 41, X, 81, X, 121, X, 234, X, X,
            X, 18, X, 42, X, 82, X, 122, X, 233, X, X,
        ]);
    }

    #[test]
    #[rustfmt::skip]
    fn y16_keeps_the_upper_byte() {
        golden(PixelFormat::Y16, 11, &[
            1, 16, 255, 40, 3, 80, 4, 120, 128, 235, X,
            1, 17, 255, 41, 3, 81, 4, 121, 128, 234, X,
            1, 18, 255, 42, 3, 82, 4, 122, 128, 233, X,
        ]);
    }

    #[test]
    #[rustfmt::skip]
    fn colours_are_weighted_in_either_order() {
        // Gray pixels keep their value with any weights.
        golden(PixelFormat::Rgb24, 16, &[
            16, 16, 16, 40, 40, 40, 80, 80, 80, 120, 120, 120, 235, 235, 235, X,
            17, 17, 17, 41, 41, 41, 81, 81, 81, 121, 121, 121, 234, 234, 234, X,
            18, 18, 18, 42, 42, 42, 82, 82, 82, 122, 122, 122, 233, 233, 233, X,
        ]);
        let pixels = [255, 0, 0, 0, 255, 0, 0, 0, 255];
        let mut out = [0; 3];
        rgb24(&pixels, 3, 9, &mut out);
        assert_eq!(out, [76, 150, 29]);
        bgr24(&pixels, 3, 9, &mut out);
        assert_eq!(out, [29, 150, 76]);
    }

    #[test]
    fn a_stride_must_have_room_for_a_row() {
        let stride = |bytes| Layout::padded(PixelFormat::Rgb24, 5, 3, Some(bytes));
        assert_eq!(stride(15).unwrap().frame(), 45);
        assert_eq!(stride(16).unwrap().frame(), 48);
        assert!(stride(14).is_err() && stride(100_000).is_err() && stride(0).is_err());
        let packed = Layout::padded(PixelFormat::Nv12, 5, 3, None).unwrap();
        assert_eq!(packed, Layout::packed(PixelFormat::Nv12, 5, 3));
        // The chroma planes of I420 have half of the stride.
        let padded = Layout::padded(PixelFormat::I420, 6, 4, Some(8)).unwrap();
        assert_eq!(padded.frame(), 8 * 4 + 2 * 4 * 2);
    }

    #[test]
    #[rustfmt::skip]
    fn planar_formats_with_a_padded_row() {
        let plane = [
            16, 40, 80, 120, 235, X, X, X,
            17, 41, 81, 121, 234, X, X, X,
            18, 42, 82, 122, 233, X, X, X,
        ];
        golden(PixelFormat::Grey, 8, &plane);
        let chroma = [X; 16];
        let whole = [plane.as_slice(), &chroma].concat();
        golden(PixelFormat::Nv12, 8, &whole);
        golden(PixelFormat::I420, 8, &whole);
    }

    #[test]
    fn whole_frames_count_their_chroma() {
        let frame = |format, w, h| Layout::packed(format, w, h).frame();
        assert_eq!(frame(PixelFormat::Yuyv, 640, 480), 640 * 480 * 2);
        assert_eq!(frame(PixelFormat::Yuyv, 5, 3), 12 * 3);
        assert_eq!(frame(PixelFormat::Nv12, 640, 480), 640 * 480 * 3 / 2);
        assert_eq!(frame(PixelFormat::I420, 5, 3), 15 + 2 * 3 * 2);
        assert_eq!(frame(PixelFormat::Nv12, 5, 3), 15 + 6 * 2);
        assert_eq!(frame(PixelFormat::Grey, 5, 3), 15);
        assert_eq!(frame(PixelFormat::Y16, 5, 3), 30);
    }

    proptest! {
        /// Any size, stride and length: the original plane, or an error.
        #[test]
        fn packed_luma_is_unpacked(
            width in 1u32..40, height in 1u32..20, pad in 0usize..9, cut in 0usize..30,
            which in 0usize..8, seed in any::<u8>(),
        ) {
            let format = PixelFormat::ALL[which];
            let mut layout = Layout::packed(format, width, height);
            layout.stride += pad;
            let (w, h) = (width as usize, height as usize);
            let plane: Vec<u8> = (0..w * h).map(|i| (i as u8).wrapping_mul(37) ^ seed).collect();
            let mut data = vec![X; layout.frame()];
            let (step, at) = match format {
                PixelFormat::Yuyv => (2, 0),
                PixelFormat::Uyvy | PixelFormat::Y16 => (2, 1),
                PixelFormat::Rgb24 | PixelFormat::Bgr24 => (3, 0),
                _ => (1, 0),
            };
            let bytes = if step == 3 { 3 } else { 1 };
            for y in 0..h {
                for x in 0..w {
                    let place = y * layout.stride + x * step + at;
                    data[place..place + bytes].fill(plane[y * w + x]);
                }
            }
            let len = data.len().saturating_sub(cut);
            let mut out = vec![0; w * h];
            match layout.luma(&data[..len], &mut out) {
                Ok(()) => prop_assert_eq!(out, plane),
                Err(short) => prop_assert!(short.got < short.need && short.need <= data.len()),
            }
        }
    }
}
