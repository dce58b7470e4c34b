//! Draw: shapes, text and colours shared by the displays, by annotated pictures
//! and by the preview.

pub mod annotate;
pub(crate) mod bar;
mod canvas;
mod lettering;
pub mod marks;
pub(crate) mod paint;
pub(crate) mod palette;
pub mod scale;
pub(crate) mod text;
pub mod timeline;

pub use canvas::{Canvas, Grain};
pub use palette::{Mood, Part, Theme};
