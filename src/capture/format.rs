//! Pixel formats and their usual names.

use std::fmt;
use std::str::FromStr;

/// A pixel format of a camera or of raw frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    Yuyv,
    Uyvy,
    /// Luma, then both chroma planes interleaved. Only luma is used, so that
    /// NV21, where chroma lies the other way round, is the same.
    Nv12,
    /// Planar YUV 4:2:0 (V4L2's YU12, I420). The same holds for YV12.
    I420,
    Grey,
    /// 16-bit little-endian gray; the upper 8 bits are used.
    Y16,
    /// 3 bytes per pixel: red, green, blue.
    Rgb24,
    /// 3 bytes per pixel: blue, green, red.
    Bgr24,
    Mjpg,
}

impl PixelFormat {
    /// All formats, the cheapest to convert first.
    pub const ALL: [Self; 9] = [
        Self::Grey,
        Self::Nv12,
        Self::I420,
        Self::Yuyv,
        Self::Uyvy,
        Self::Y16,
        Self::Rgb24,
        Self::Bgr24,
        Self::Mjpg,
    ];

    /// The name in board files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.names()[0]
    }

    /// The name in board files, then the names that V4L2 (its four letters),
    /// ffmpeg (`-pix_fmt`), GStreamer (`video/x-raw,format=`) and libcamera use.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Yuyv => &["yuyv", "yuyv422", "yuy2"],
            Self::Uyvy => &["uyvy", "uyvy422"],
            Self::Nv12 => &["nv12", "nv21"],
            Self::I420 => &[
                "i420", "yu12", "yuv420p", "yuvj420p", "yuv420", "iyuv", "yv12",
            ],
            Self::Grey => &["grey", "gray", "gray8", "y8", "y800", "r8"],
            Self::Y16 => &["y16", "gray16le", "gray16_le", "gray16", "r16"],
            Self::Rgb24 => &["rgb24", "rgb", "rgb3"],
            Self::Bgr24 => &["bgr24", "bgr", "bgr3"],
            Self::Mjpg => &["mjpg", "mjpeg", "jpeg", "jpg"],
        }
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name is not that of a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown pixel format '{given}'; formats are yuyv, uyvy, nv12, i420, grey, y16, rgb24, bgr24 and mjpg, by these names or those of ffmpeg, GStreamer and V4L2{advice}"
)]
pub struct UnknownFormat {
    pub given: String,
    /// What to do about this format, with a semicolon before it, or nothing.
    pub advice: &'static str,
}

impl FromStr for PixelFormat {
    type Err = UnknownFormat;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let name = given.trim().to_ascii_lowercase();
        let name = name.strip_prefix("v4l2_pix_fmt_").unwrap_or(&name);
        let known = |format: &Self| format.names().contains(&name);
        Self::ALL.into_iter().find(known).ok_or_else(|| {
            let advice = match name {
                "y4m" | "yuv4mpeg" | "yuv4mpegpipe" | "yuv4mpeg2" => {
                    "; Y4M contains its own format: leave the format out"
                }
                "h264" | "h265" | "hevc" | "vp8" | "vp9" | "av1" => {
                    "; affectd cannot decode video codecs: let the sender write mjpg or i420"
                }
                _ => "",
            };
            UnknownFormat {
                given: given.to_owned(),
                advice,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_their_board_names() {
        for format in PixelFormat::ALL {
            assert_eq!(format.to_string().parse::<PixelFormat>().unwrap(), format);
        }
    }

    #[test]
    fn formats_by_the_names_of_other_programs() {
        for (name, format) in [
            ("yuyv422", PixelFormat::Yuyv),
            ("YUY2", PixelFormat::Yuyv),
            ("V4L2_PIX_FMT_YUYV", PixelFormat::Yuyv),
            ("uyvy422", PixelFormat::Uyvy),
            ("NV12", PixelFormat::Nv12),
            ("NV21", PixelFormat::Nv12),
            ("YV12", PixelFormat::I420),
            ("yu12", PixelFormat::I420),
            ("yuv420p", PixelFormat::I420),
            ("yuv420", PixelFormat::I420),
            ("I420", PixelFormat::I420),
            ("gray", PixelFormat::Grey),
            ("GRAY8", PixelFormat::Grey),
            ("gray16le", PixelFormat::Y16),
            ("GRAY16_LE", PixelFormat::Y16),
            ("RGB", PixelFormat::Rgb24),
            ("rgb3", PixelFormat::Rgb24),
            ("bgr24", PixelFormat::Bgr24),
            ("BGR", PixelFormat::Bgr24),
            ("mjpeg", PixelFormat::Mjpg),
            ("jpeg", PixelFormat::Mjpg),
        ] {
            assert_eq!(name.parse::<PixelFormat>().unwrap(), format, "{name}");
        }
    }

    #[test]
    fn the_error_for_an_unknown_format_lists_the_known_ones() {
        let error = |name: &str| name.parse::<PixelFormat>().unwrap_err().to_string();
        let told = error("p010");
        assert!(
            told.contains("'p010'") && told.contains("mjpg") && told.contains("bgr24"),
            "{told}"
        );
        assert!(error("y4m").contains("leave the format out"));
        assert!(error("h264").contains("mjpg or i420"));
    }
}
