//! [`Lanes`] of 4 windows, for 64-bit ARM.

use std::arch::aarch64::*;

use super::contrast::{Contrast, PLAIN};
use super::lanes::{Job, Lanes, Scratch, rectangle};
use crate::isa::Neon;

/// Searches some rows.
pub(super) fn rows(_: Neon, job: &Job<'_>, scratch: &mut Scratch) -> u64 {
    #[target_feature(enable = "neon")]
    fn compiled(job: &Job<'_>, scratch: &mut Scratch) -> u64 {
        // SAFETY: this function is compiled for NEON.
        unsafe { job.run::<Neon>(scratch) }
    }
    // SAFETY: the first argument proves that the processor has NEON.
    unsafe { compiled(job, scratch) }
}

// SAFETY, for all blocks below: the trait's contract is that the processor has
// NEON and that 4 values can be read from, or written to, a pointer given.
// No multiplication is fused with an addition: that would round once instead
// of twice.
impl Lanes for Neon {
    const COUNT: usize = 4;
    type Int = int32x4_t;
    type Float = float32x4_t;
    type Mask = uint32x4_t;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vld1q_s32(from) }
    }

    #[inline(always)]
    unsafe fn add(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vaddq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vsubq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn scale(a: int32x4_t, factor: i32) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vmulq_n_s32(a, factor) }
    }

    #[inline(always)]
    unsafe fn zero() -> int32x4_t {
        // SAFETY: see above.
        unsafe { vdupq_n_s32(0) }
    }

    #[inline(always)]
    unsafe fn load_floats(from: *const f32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    unsafe fn to_float(a: int32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vcvtq_f32_s32(a) }
    }

    #[inline(always)]
    unsafe fn add_floats(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_floats(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn below(a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        // SAFETY: see above.
        unsafe { vcltq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn not_below(a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        // SAFETY: see above.
        unsafe { vcgeq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn keep(mask: uint32x4_t, value: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(value))) }
    }

    #[inline(always)]
    unsafe fn select(mask: uint32x4_t, yes: float32x4_t, no: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vbslq_f32(mask, yes, no) }
    }

    #[inline(always)]
    unsafe fn bits(mask: uint32x4_t) -> u32 {
        // SAFETY: see above; the weights are 4 values.
        unsafe { vaddvq_u32(vandq_u32(mask, vld1q_u32([1, 2, 4, 8].as_ptr()))) }
    }

    #[inline(always)]
    unsafe fn push_bit(code: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: see above.
        unsafe {
            // All ones is minus one.
            let bit = vreinterpretq_s32_u32(vcgeq_s32(a, b));
            vsubq_s32(vaddq_s32(code, code), bit)
        }
    }

    #[inline(always)]
    unsafe fn in_subset(subset: &[u32; 8], code: int32x4_t) -> uint32x4_t {
        // SAFETY: see above; a subset is 32 bytes, and on little-endian
        // machines, the only ones for which Rust has this, bit `c` is in byte
        // `c / 8`.
        unsafe {
            let bytes = vld1q_u8_x2(subset.as_ptr().cast());
            let code = vreinterpretq_u32_s32(code);
            // The byte's number in the lowest byte of the lane; 0xff elsewhere
            // looks up nothing.
            let index = vorrq_u32(vshrq_n_u32::<3>(code), vdupq_n_u32(0xffff_ff00));
            let byte = vreinterpretq_u32_u8(vqtbl2q_u8(bytes, vreinterpretq_u8_u32(index)));
            let place = vreinterpretq_s32_u32(vandq_u32(code, vdupq_n_u32(7)));
            vtstq_u32(byte, vshlq_u32(vdupq_n_u32(1), place))
        }
    }

    #[inline(always)]
    unsafe fn contrast(
        contrast: &Contrast,
        sums: *const i32,
        squares: *const u32,
        factors: *mut f32,
    ) -> u32 {
        // SAFETY: see above.
        unsafe {
            let sum = rectangle::<Self>(sums, contrast.corners);
            let square = vreinterpretq_u32_s32(rectangle::<Self>(squares.cast(), contrast.corners));
            let (low, low_mask) =
                two_factors(contrast.area, vget_low_s32(sum), vget_low_u32(square));
            let (high, high_mask) =
                two_factors(contrast.area, vget_high_s32(sum), vget_high_u32(square));
            vst1q_f32(factors, vcombine_f32(low, high));
            Self::bits(vcombine_u32(low_mask, high_mask))
        }
    }
}

/// Contrast factors of two windows in `f64`, where everything up to the root is
/// exact, and which of the windows have enough contrast.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
unsafe fn two_factors(area: f64, sum: int32x2_t, square: uint32x2_t) -> (float32x2_t, uint32x2_t) {
    // SAFETY: promised by the caller.
    unsafe {
        let area = vdupq_n_f64(area);
        let sum = vcvtq_f64_s64(vmovl_s32(sum));
        let square = vcvtq_f64_u64(vmovl_u32(square));
        let variance = vsubq_f64(vmulq_f64(area, square), vmulq_f64(sum, sum));
        // NaN for a negative variance, infinite for zero: neither is below the
        // limit.
        let factor = vcvt_f32_f64(vdivq_f64(vdupq_n_f64(1.0), vsqrtq_f64(variance)));
        let part = vmulq_f64(area, vcvt_f64_f32(factor));
        let enough = vcltq_f64(part, vdupq_n_f64(PLAIN));
        (factor, vmovn_u64(enough))
    }
}
