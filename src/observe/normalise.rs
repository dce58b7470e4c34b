//! Turns luma into the numbers that a network was trained on.

use super::manifest::Input;
use crate::nn::Layout;

/// Turns luma into a network's input by a manifest's mean and std.
#[derive(Debug)]
pub struct Normaliser {
    layout: Layout,
    /// For each channel, the network's input for each of the 256 luma values.
    tables: Vec<[f32; 256]>,
    input: Vec<f32>,
}

impl Normaliser {
    pub fn new(input: &Input) -> Self {
        // The same arithmetic as in the training script, in f32 and in the same
        // order.
        let tables = std::iter::zip(&input.mean, &input.std)
            .map(|(mean, std)| std::array::from_fn(|luma| (luma as f32 / 255.0 - mean) / std))
            .collect();
        let (width, height) = (input.width as usize, input.height as usize);
        Self {
            layout: input.layout,
            tables,
            input: vec![0.0; width * height * input.channels],
        }
    }

    /// The input for a picture of the network's size.
    pub fn input(&mut self, pixels: &[u8]) -> &[f32] {
        match self.layout {
            Layout::Nchw => {
                let planes = self.input.chunks_exact_mut(pixels.len());
                for (plane, table) in planes.zip(&self.tables) {
                    for (value, &pixel) in plane.iter_mut().zip(pixels) {
                        *value = table[usize::from(pixel)];
                    }
                }
            }
            Layout::Nhwc => {
                let values = self.input.chunks_exact_mut(self.tables.len());
                for (values, &pixel) in values.zip(pixels) {
                    for (value, table) in values.iter_mut().zip(&self.tables) {
                        *value = table[usize::from(pixel)];
                    }
                }
            }
        }
        &self.input
    }

    /// An input of zeros.
    pub fn blank(&mut self) -> &[f32] {
        self.input.fill(0.0);
        &self.input
    }
}
