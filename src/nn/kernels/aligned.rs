//! Memory that starts on a cache line.

/// A slice on a cache line's border, for vector loads.
#[derive(Debug, Default)]
pub struct Aligned<T> {
    data: Vec<T>,
    start: usize,
    length: usize,
}

const LINE: usize = 64;

impl<T: Copy + Default> Aligned<T> {
    pub fn new(length: usize) -> Self {
        let data = vec![T::default(); length + LINE / size_of::<T>()];
        let start = data.as_ptr().align_offset(LINE).min(LINE / size_of::<T>());
        Self {
            data,
            start,
            length,
        }
    }
}

impl<T> std::ops::Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.data[self.start..self.start + self.length]
    }
}

impl<T> std::ops::DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data[self.start..self.start + self.length]
    }
}

/// Memory that kernels work in, shared by all layers.
#[derive(Debug, Default)]
pub struct Scratch {
    rows: Aligned<u8>,
}

impl Scratch {
    /// With room for the largest of the layers' needs, in bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            rows: Aligned::new(bytes),
        }
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.len()
    }

    /// The first `bytes` of it.
    pub(super) fn rows(&mut self, bytes: usize) -> &mut [u8] {
        &mut self.rows[..bytes]
    }
}
