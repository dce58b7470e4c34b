//! Pictures in memory.

use crate::frame::{LumaError, LumaView};

/// A picture of one byte a pixel, row by row without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LumaImage {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u8>,
}

impl LumaImage {
    /// The picture as the stages take it.
    ///
    /// # Panics
    /// If `pixels` has been made shorter than width times height. What this
    /// module returns never is.
    #[must_use]
    pub fn view(&self) -> LumaView<'_> {
        self.try_view()
            .expect("a LumaImage holds width x height pixels")
    }

    /// Like [`view`](Self::view), for pictures that came from elsewhere.
    ///
    /// # Errors
    /// Numbers that do not fit together.
    pub fn try_view(&self) -> Result<LumaView<'_>, LumaError> {
        LumaView::new(&self.pixels, self.width, self.height, self.width as usize)
    }
}

/// A picture of three bytes a pixel (red, green, blue), row by row without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RgbImage {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u8>,
}
