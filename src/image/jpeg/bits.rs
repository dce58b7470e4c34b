//! The bits of entropy-coded data, and the Huffman codes in them
//! (ITU T.81, annexes C and F).

/// Codes of up to this many bits need one look-up. Longer codes are rare.
const FAST: u32 = 9;

/// Reads bits, most significant first, up to the next marker.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// The first byte that is not in `buffer` yet.
    at: usize,
    /// The next bits, from the most significant one down.
    buffer: u64,
    /// How many bits of `buffer` count.
    count: u32,
    /// How many of these are zeros in place of bits after the end of the data.
    made_up: u32,
}

impl<'a> Bits<'a> {
    pub(super) const fn new(data: &'a [u8], at: usize) -> Self {
        Self {
            data,
            at,
            buffer: 0,
            count: 0,
            made_up: 0,
        }
    }

    /// Fills up to at least 32 bits: a code and the number after it.
    #[inline(always)]
    pub(super) fn fill(&mut self) {
        if self.count < 32 {
            self.fill_more();
        }
    }

    #[inline]
    fn fill_more(&mut self) {
        if let Some(next) = self.data.get(self.at..self.at + 8) {
            let next = u64::from_be_bytes(next.try_into().expect("eight bytes"));
            // If no byte of the complement is zero, no byte is 0xFF.
            let inverse = !next;
            if inverse.wrapping_sub(0x0101_0101_0101_0101) & !inverse & 0x8080_8080_8080_8080 == 0 {
                // Bits that do not fit are added again next time, unchanged.
                self.buffer |= next >> self.count;
                let bytes = (63 - self.count) / 8;
                self.at += bytes as usize;
                self.count += bytes * 8;
                return;
            }
        }
        while self.count <= 56 {
            let byte = match self.data[self.at..] {
                [0xff, 0x00, ..] => {
                    self.at += 2;
                    0xff
                }
                [] | [0xff, ..] => {
                    self.made_up += 8;
                    0
                }
                [byte, ..] => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next `count` bits, 1 to 16. The buffer must have them: see
    /// [`fill`](Self::fill).
    #[inline(always)]
    pub(super) const fn take(&mut self, count: u32) -> u32 {
        let value = (self.buffer >> (64 - count)) as u32;
        self.skip(count);
        value
    }

    #[inline(always)]
    pub(super) const fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// A number of `size` bits, 1 to 16: of negative ones the top bit is 0
    /// (T.81, figure F.12).
    #[inline(always)]
    pub(super) const fn signed(&mut self, size: u32) -> i32 {
        let value = self.take(size) as i32;
        if value < 1 << (size - 1) {
            value - (1 << size) + 1
        } else {
            value
        }
    }

    /// The next symbol, or `None` for a code that the table lacks. Takes at
    /// most 16 bits.
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &Table) -> Option<u8> {
        let entry = table.fast[(self.buffer >> (64 - FAST)) as usize];
        if entry != 0 {
            self.skip(u32::from(entry & 0xff));
            return Some((entry >> 8) as u8);
        }
        self.long_symbol(table)
    }

    #[cold]
    fn long_symbol(&mut self, table: &Table) -> Option<u8> {
        let next = (self.buffer >> 48) as u32;
        let length = (FAST + 1..=16).find(|&length| next < table.end[length as usize])?;
        self.skip(length);
        let index = (next >> (16 - length)) as i32 + table.offset[length as usize];
        table.symbols.get(usize::try_from(index).ok()?).copied()
    }

    /// Whether more bits were read than the data has.
    pub(super) const fn overdrawn(&self) -> bool {
        self.made_up > self.count
    }

    /// Whole bytes that were read ahead and not taken.
    pub(super) const fn unread(&self) -> usize {
        (self.count.saturating_sub(self.made_up) / 8) as usize
    }

    /// The position in the data, without unread bytes.
    pub(super) const fn position(&self) -> usize {
        self.at
    }
}

/// A Huffman table.
#[derive(Clone)]
pub(super) struct Table {
    /// By the next [`FAST`] bits: the symbol (upper byte) and its code's length,
    /// or 0 for longer codes.
    fast: [u16; 1 << FAST],
    /// By length: the first 16-bit value after all codes of this length.
    end: [u32; 17],
    /// By length: from a code to its symbol's place.
    offset: [i32; 17],
    symbols: [u8; 256],
}

impl Table {
    /// Without a code.
    pub(super) const EMPTY: Self = Self {
        fast: [0; 1 << FAST],
        end: [0; 17],
        offset: [0; 17],
        symbols: [0; 256],
    };

    /// Builds the table from the numbers of codes with 1 to 16 bits and the
    /// symbols in the order of their codes. `None` if the codes do not fit, or
    /// one is all ones.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self::EMPTY;
        table
            .symbols
            .get_mut(..symbols.len())?
            .copy_from_slice(symbols);
        let (mut code, mut place) = (0_u32, 0_usize);
        for (length, &count) in (1_u32..).zip(counts) {
            let count = usize::from(count);
            table.offset[length as usize] = place as i32 - code as i32;
            for &symbol in symbols.get(place..place + count)? {
                if length <= FAST {
                    let first = (code << (FAST - length)) as usize;
                    let entries = table.fast.get_mut(first..first + (1 << (FAST - length)))?;
                    entries.fill(u16::from(symbol) << 8 | length as u16);
                }
                code += 1;
            }
            if count > 0 && code >= 1 << length {
                return None;
            }
            place += count;
            table.end[length as usize] = code << (16 - length);
            code <<= 1;
        }
        (place == symbols.len()).then_some(table)
    }
}
