//! Raises the contrast of dark and infra-red scenes, bit-equal to OpenCV's
//! `equalizeHist` and `createCLAHE(2.0, (8, 8))`.

use super::Enhance;
use crate::frame::LumaView;

/// Tiles of CLAHE along each side.
const TILES: usize = 8;

/// The most pixels of a gray level, as a multiple of an equal share; the pixels
/// above are spread over all levels. `OpenCV`'s examples use 2; its default of
/// 40 limits nothing.
const CLIP_LIMIT: f64 = 2.0;

/// Enhances pictures of one size into a buffer of its own.
#[derive(Debug)]
pub(super) struct Enhancer {
    how: Enhance,
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    /// One table of 256 per tile.
    tables: Vec<[u8; 256]>,
}

impl Enhancer {
    pub(super) fn new(how: Enhance, width: u32, height: u32) -> Self {
        let (pixels, tables) = match how {
            Enhance::Off => (0, 0),
            Enhance::Equalize => (width as usize * height as usize, 1),
            Enhance::Clahe => (width as usize * height as usize, TILES * TILES),
        };
        Self {
            how,
            width,
            height,
            pixels: vec![0; pixels],
            tables: vec![[0; 256]; tables],
        }
    }

    /// Enhances `picture`, which must have the size given at construction.
    pub(super) fn run(&mut self, picture: LumaView<'_>) {
        match self.how {
            Enhance::Off => {}
            Enhance::Equalize => self.equalize(picture),
            Enhance::Clahe => self.clahe(picture),
        }
    }

    /// The enhanced picture; `None` if enhancement is off.
    pub(super) fn result(&self) -> Option<LumaView<'_>> {
        if self.how == Enhance::Off {
            return None;
        }
        LumaView::new(&self.pixels, self.width, self.height, self.width as usize).ok()
    }

    /// Spreads the gray levels so that their cumulative histogram is a line.
    fn equalize(&mut self, picture: LumaView<'_>) {
        let mut histogram = [0_u32; 256];
        for row in picture.rows() {
            for &pixel in row {
                histogram[usize::from(pixel)] += 1;
            }
        }
        let total = self.width * self.height;
        // The darkest level becomes 0, so its own share is left out.
        let darkest = histogram.iter().position(|&count| count > 0).unwrap_or(0);
        let table = &mut self.tables[0];
        if histogram[darkest] == total {
            table.fill(darkest as u8);
        } else {
            let scale = 255.0 / (total - histogram[darkest]) as f32;
            let mut sum = 0;
            table[..=darkest].fill(0);
            for level in darkest + 1..256 {
                sum += histogram[level];
                table[level] = (sum as f32 * scale).round_ties_even() as u8;
            }
        }
        for (out, row) in self
            .pixels
            .chunks_exact_mut(self.width as usize)
            .zip(picture.rows())
        {
            for (out, &pixel) in out.iter_mut().zip(row) {
                *out = table[usize::from(pixel)];
            }
        }
    }

    /// Contrast-limited adaptive histogram equalisation (K. Zuiderveld,
    /// Graphics Gems IV, 1994): a table per tile, interpolated between tiles.
    fn clahe(&mut self, picture: LumaView<'_>) {
        // Tiles of equal size; if the picture does not fill them, it is
        // continued by reflection. (OpenCV enlarges both sides if either is not
        // a multiple of 8.)
        let (width, height) = (self.width as usize, self.height as usize);
        let extra = usize::from(width % TILES != 0 || height % TILES != 0);
        let (tile_width, tile_height) = (width / TILES + extra, height / TILES + extra);
        let area = tile_width * tile_height;
        let limit = ((CLIP_LIMIT * area as f64 / 256.0) as u32).max(1);
        let scale = 255.0 / area as f32;

        for (index, table) in self.tables.iter_mut().enumerate() {
            let (tile_x, tile_y) = (index % TILES, index / TILES);
            let mut histogram = [0_u32; 256];
            for y in tile_y * tile_height..(tile_y + 1) * tile_height {
                let row = picture.row(reflect(y, height) as u32);
                for x in tile_x * tile_width..(tile_x + 1) * tile_width {
                    histogram[usize::from(row[reflect(x, width)])] += 1;
                }
            }
            clip(&mut histogram, limit);
            let mut sum = 0;
            for (out, count) in table.iter_mut().zip(histogram) {
                sum += count;
                *out = (sum as f32 * scale).round_ties_even().clamp(0.0, 255.0) as u8;
            }
        }

        let (across, down) = (1.0 / tile_width as f32, 1.0 / tile_height as f32);
        for (y, out) in self.pixels.chunks_exact_mut(width).enumerate() {
            let (upper, lower, dy) = between(y, down);
            for (x, (out, &pixel)) in out.iter_mut().zip(picture.row(y as u32)).enumerate() {
                let (left, right, dx) = between(x, across);
                let at = |tile_y: usize, tile_x: usize| {
                    f32::from(self.tables[tile_y * TILES + tile_x][usize::from(pixel)])
                };
                let top = at(upper, left) * (1.0 - dx) + at(upper, right) * dx;
                let bottom = at(lower, left) * (1.0 - dx) + at(lower, right) * dx;
                let value = top * (1.0 - dy) + bottom * dy;
                *out = value.round_ties_even().clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// `BORDER_REFLECT_101`: the index after reflection at the last pixel, back and
/// forth.
fn reflect(index: usize, size: usize) -> usize {
    if size == 1 {
        return 0;
    }
    let period = 2 * (size - 1);
    let index = index % period;
    index.min(period - index)
}

/// Spreads the pixels above the limit equally over all gray levels, and the
/// remainder in even steps.
fn clip(histogram: &mut [u32; 256], limit: u32) {
    let mut clipped = 0;
    for count in histogram.iter_mut() {
        clipped += count.saturating_sub(limit);
        *count = (*count).min(limit);
    }
    let (share, rest) = (clipped / 256, clipped % 256);
    for count in histogram.iter_mut() {
        *count += share;
    }
    if rest > 0 {
        let step = (256 / rest as usize).max(1);
        for count in histogram.iter_mut().step_by(step).take(rest as usize) {
            *count += 1;
        }
    }
}

/// The tiles before and after a pixel, and how far it is towards the latter.
fn between(index: usize, per_pixel: f32) -> (usize, usize, f32) {
    let at = index as f32 * per_pixel - 0.5;
    let before = at.floor();
    let last = TILES as i32 - 1;
    (
        (before as i32).clamp(0, last) as usize,
        (before as i32 + 1).clamp(0, last) as usize,
        at - before,
    )
}
