//! Windows of a convolution: their positions, and the inputs that they cover.

/// The geometry of a convolution with a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    /// Rows and columns of the window.
    pub window: [usize; 2],
    pub stride: [usize; 2],
    /// Padding above and to the left.
    pub pad: [usize; 2],
    pub out_height: usize,
    pub out_width: usize,
}

impl Geometry {
    /// Positions of the window.
    #[must_use]
    pub fn taps(&self) -> usize {
        self.window[0] * self.window[1]
    }

    /// Whether each output sees the input at its own position only.
    #[must_use]
    pub fn is_pointwise(&self) -> bool {
        self.taps() == 1
            && self.pad == [0, 0]
            && self.stride == [1, 1]
            && (self.height, self.width) == (self.out_height, self.out_width)
    }

    /// Bytes that [`gather`] writes for each output: a multiple of four, because
    /// kernels take inputs in pairs or in fours.
    #[must_use]
    pub fn gathered_inputs(&self) -> usize {
        (self.taps() * self.channels).next_multiple_of(4)
    }

    /// Bytes that [`gather`] writes for this number of rows of outputs.
    #[must_use]
    pub fn gathered(&self, rows: usize) -> usize {
        rows * self.out_width * self.gathered_inputs()
    }

    /// How many rows of the input, from the first on, the rows of outputs up to
    /// `out_row` need.
    #[must_use]
    pub fn rows_for(&self, out_row: usize) -> usize {
        (out_row * self.stride[0] + self.window[0])
            .saturating_sub(self.pad[0])
            .min(self.height)
    }

    /// Bytes of the input and of an output with as many channels.
    #[cfg(test)]
    pub(super) fn lengths(&self) -> (usize, usize) {
        (
            self.height * self.width * self.channels,
            self.out_height * self.out_width * self.channels,
        )
    }
}

/// Lays out the inputs of each output of a convolution one after another, as a
/// matrix product reads them: `outputs x gathered inputs`, where the inputs of
/// an output are `taps x channels` and up to three filler bytes. `zero` is the
/// padding, `first` the first row of outputs. It computes as many rows as
/// `output` has room for.
pub fn gather(geometry: &Geometry, zero: u8, first: usize, input: &[u8], output: &mut [u8]) {
    let channels = geometry.channels;
    let across = geometry.window[1] * channels;
    let line = geometry.width * channels;
    assert_eq!(input.len(), geometry.height * line);
    let inputs = geometry.gathered_inputs();
    let out_line = geometry.out_width * inputs;
    assert!(output.len().is_multiple_of(out_line));
    let [down, _] = geometry.window;
    // Copying a word is faster than copying three bytes. The surplus byte is
    // overwritten by the next row of the window, or is a filler byte.
    let words = across <= 4 && (down - 1) * across + 4 <= inputs;
    let read = if words { 4 } else { across };
    // The columns whose `read` bytes are all inside of the picture.
    let step = geometry.stride[1] * channels;
    let left = geometry.pad[1] * channels;
    let begin = left.div_ceil(step).min(geometry.out_width);
    let end = match (line + left).checked_sub(read) {
        Some(room) => (room / step + 1).clamp(begin, geometry.out_width),
        None => begin,
    };
    for (row, output) in output.chunks_exact_mut(out_line).enumerate() {
        for tap_row in 0..down {
            let y = ((first + row) * geometry.stride[0] + tap_row).checked_sub(geometry.pad[0]);
            let source = y
                .filter(|y| *y < geometry.height)
                .map(|y| &input[y * line..][..line]);
            let to = tap_row * across;
            let mut at = (begin * step).saturating_sub(left);
            let inside = &mut output[begin * inputs..end * inputs];
            match source {
                Some(source) if words => {
                    for position in inside.chunks_exact_mut(inputs) {
                        position[to..to + 4].copy_from_slice(&source[at..at + 4]);
                        at += step;
                    }
                }
                Some(source) => {
                    for position in inside.chunks_exact_mut(inputs) {
                        position[to..][..across].copy_from_slice(&source[at..at + across]);
                        at += step;
                    }
                }
                None => {
                    for position in inside.chunks_exact_mut(inputs) {
                        position[to..][..across].fill(zero);
                    }
                }
            }
            for column in (0..begin).chain(end..geometry.out_width) {
                let position = &mut output[column * inputs + to..][..across];
                for (tap, to) in position.chunks_exact_mut(channels).enumerate() {
                    let x = (column * geometry.stride[1] + tap).checked_sub(geometry.pad[1]);
                    match (source, x.filter(|x| *x < geometry.width)) {
                        (Some(source), Some(x)) => {
                            to.copy_from_slice(&source[x * channels..][..channels]);
                        }
                        _ => to.fill(zero),
                    }
                }
            }
        }
    }
}

/// The input of a depthwise convolution, or only the rows that are needed: row
/// `y` is stored at `y` modulo their number.
#[derive(Clone, Copy)]
pub(super) struct Picture<'a> {
    pub data: &'a [u8],
    /// A row of padding.
    pub padding: &'a [u8],
}

impl<'a> Picture<'a> {
    /// The row of the picture under a row of an output's window.
    fn row(&self, geometry: &Geometry, out_row: usize, row: usize) -> &'a [u8] {
        let line = geometry.width * geometry.channels;
        let y = (out_row * geometry.stride[0] + row).checked_sub(geometry.pad[0]);
        match y.filter(|y| *y < geometry.height) {
            Some(y) => &self.data[y % (self.data.len() / line) * line..][..line],
            None => &self.padding[..line],
        }
    }

    /// The channels under a tap of an output's window.
    pub fn position(&self, geometry: &Geometry, row: usize, column: usize, tap: usize) -> &'a [u8] {
        let [_, across] = geometry.window;
        let row = self.row(geometry, row, tap / across);
        let x = (column * geometry.stride[1] + tap % across).checked_sub(geometry.pad[1]);
        match x.filter(|x| *x < geometry.width) {
            Some(x) => &row[x * geometry.channels..][..geometry.channels],
            None => &self.padding[..geometry.channels],
        }
    }

    /// The first `N` rows under the windows of a row of outputs.
    pub fn rows<const N: usize>(&self, geometry: &Geometry, out_row: usize) -> Rows<'a, N> {
        Rows {
            rows: std::array::from_fn(|row| self.row(geometry, out_row, row)),
            padding: self.padding,
            width: geometry.width,
            channels: geometry.channels,
        }
    }
}

/// The rows under a window.
pub(super) struct Rows<'a, const N: usize> {
    /// Each of `width` positions.
    rows: [&'a [u8]; N],
    padding: &'a [u8],
    width: usize,
    channels: usize,
}

impl<const N: usize> Rows<'_, N> {
    /// Where column `x` of each row has its channels from `channel` on.
    ///
    /// # Safety
    /// A position has more than `channel` channels.
    #[inline(always)]
    pub unsafe fn column(&self, x: isize, channel: usize) -> [*const u8; N] {
        if !(0..self.width as isize).contains(&x) {
            return self.beside(channel);
        }
        let offset = x as usize * self.channels + channel;
        let mut at = [self.padding.as_ptr(); N];
        for (at, row) in at.iter_mut().zip(&self.rows) {
            // SAFETY: column `x` is in the row; the caller guarantees the channel.
            *at = unsafe { row.as_ptr().add(offset) };
        }
        at
    }

    /// The same for a column beside the picture.
    #[cold]
    fn beside(&self, channel: usize) -> [*const u8; N] {
        [self.padding[channel..].as_ptr(); N]
    }
}
