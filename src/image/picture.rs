//! Pictures in memory.

use crate::frame::{LumaError, LumaView};

/// A picture with one byte per pixel, row by row without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LumaImage {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u8>,
}

impl LumaImage {
    /// A view for the stages.
    ///
    /// # Panics
    /// If `pixels` was made shorter than width times height. Pictures from this
    /// module never are.
    #[must_use]
    pub fn view(&self) -> LumaView<'_> {
        self.try_view()
            .expect("a LumaImage holds width x height pixels")
    }

    /// Like [`view`](Self::view), for pictures that came from elsewhere.
    ///
    /// # Errors
    /// The sizes do not fit together.
    pub fn try_view(&self) -> Result<LumaView<'_>, LumaError> {
        LumaView::new(&self.pixels, self.width, self.height, self.width as usize)
    }
}

/// A picture with three bytes per pixel (red, green, blue), row by row without
/// gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RgbImage {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u8>,
}
