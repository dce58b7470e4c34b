//! Turns coefficients into samples.

use std::num::Wrapping;

/// From zigzag order to rows of eight.
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10,
    17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34,
    27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36,
    29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46,
    53, 60, 61, 54, 47, 55, 62, 63,
];

/// The sample value of a block that has only its first coefficient.
pub(super) fn flat(dc: i16) -> u8 {
    (((i32::from(dc) + 4) >> 3) + 128).clamp(0, 255) as u8
}

type Lanes = [Wrapping<i32>; 8];

/// The inverse cosine transform of Loeffler, Ligtenberg and Moschytz (1989), in
/// the 13-bit integers of libjpeg's `jidctint.c`, whose results it gives to the
/// bit.
#[inline(always)]
pub(super) fn inverse(block: &[i16; 64]) -> [u8; 64] {
    let mut rows = [[Wrapping(0); 8]; 8];
    for (row, values) in rows.iter_mut().zip(block.as_chunks::<8>().0) {
        for (to, &value) in row.iter_mut().zip(values) {
            *to = Wrapping(i32::from(value));
        }
    }
    one_dimension::<11>(&mut rows);
    let mut columns = [[Wrapping(0); 8]; 8];
    for y in 0..8 {
        for x in 0..8 {
            columns[x][y] = rows[y][x];
        }
    }
    one_dimension::<18>(&mut columns);
    let mut out = [0; 64];
    for y in 0..8 {
        for x in 0..8 {
            out[8 * y + x] = (columns[x][y].0 + 128).clamp(0, 255) as u8;
        }
    }
    out
}

/// Transforms along the first index, in all lanes at once, and divides by
/// 2^`SHIFT`.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "the lane is the second index")]
fn one_dimension<const SHIFT: usize>(w: &mut [Lanes; 8]) {
    const fn fix(value: i32) -> Wrapping<i32> {
        Wrapping(value)
    }
    let half = Wrapping(1 << (SHIFT - 1));
    for i in 0..8 {
        let c = [
            w[0][i], w[1][i], w[2][i], w[3][i], w[4][i], w[5][i], w[6][i], w[7][i],
        ];
        // Even part.
        let z1 = (c[2] + c[6]) * fix(4433);
        let even2 = z1 - c[6] * fix(15137);
        let even3 = z1 + c[2] * fix(6270);
        let even0 = (c[0] + c[4]) << 13;
        let even1 = (c[0] - c[4]) << 13;
        let e = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];
        // Odd part.
        let z5 = (c[7] + c[3] + c[5] + c[1]) * fix(9633);
        let z1 = (c[7] + c[1]) * fix(-7373);
        let z2 = (c[5] + c[3]) * fix(-20995);
        let z3 = (c[7] + c[3]) * fix(-16069) + z5;
        let z4 = (c[5] + c[1]) * fix(-3196) + z5;
        let o = [
            c[1] * fix(12299) + z1 + z4,
            c[3] * fix(25172) + z2 + z3,
            c[5] * fix(16819) + z2 + z4,
            c[7] * fix(2446) + z1 + z3,
        ];
        for k in 0..4 {
            w[k][i] = (e[k] + o[k] + half) >> SHIFT;
            w[7 - k][i] = (e[k] - o[k] + half) >> SHIFT;
        }
    }
}
