//! [`Lanes`] of 8 windows, for x86-64 with AVX2.

use std::arch::x86_64::*;

use super::contrast::{Contrast, PLAIN};
use super::lanes::{Job, Lanes, Scratch, rectangle};
use crate::isa::Avx2;

/// Searches some rows.
pub(super) fn rows(_: Avx2, job: &Job<'_>, scratch: &mut Scratch) -> u64 {
    #[target_feature(enable = "avx2")]
    fn compiled(job: &Job<'_>, scratch: &mut Scratch) -> u64 {
        // SAFETY: this function is compiled for AVX2.
        unsafe { job.run::<Avx2>(scratch) }
    }
    // SAFETY: the first argument proves that the processor has AVX2.
    unsafe { compiled(job, scratch) }
}

// SAFETY, for all blocks below: the trait's contract is that the processor has
// AVX2 and that 8 values can be read from, or written to, a pointer given. No
// alignment is needed.
impl Lanes for Avx2 {
    const COUNT: usize = 8;
    type Int = __m256i;
    type Float = __m256;
    type Mask = __m256;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_sub_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn scale(a: __m256i, factor: i32) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_mullo_epi32(a, _mm256_set1_epi32(factor)) }
    }

    #[inline(always)]
    unsafe fn zero() -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn load_floats(from: *const f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn to_float(a: __m256i) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_cvtepi32_ps(a) }
    }

    #[inline(always)]
    unsafe fn add_floats(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_floats(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn below(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(a, b) }
    }

    #[inline(always)]
    unsafe fn not_below(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_cmp_ps::<_CMP_GE_OQ>(a, b) }
    }

    #[inline(always)]
    unsafe fn keep(mask: __m256, value: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_and_ps(mask, value) }
    }

    #[inline(always)]
    unsafe fn select(mask: __m256, yes: __m256, no: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_blendv_ps(no, yes, mask) }
    }

    #[inline(always)]
    unsafe fn bits(mask: __m256) -> u32 {
        // SAFETY: see above.
        unsafe { _mm256_movemask_ps(mask) as u32 }
    }

    #[inline(always)]
    unsafe fn push_bit(code: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe {
            // All ones, which is minus one, where `b > a`: this cancels the one
            // that is added.
            let not = _mm256_cmpgt_epi32(b, a);
            let bit = _mm256_add_epi32(_mm256_set1_epi32(1), not);
            _mm256_add_epi32(_mm256_add_epi32(code, code), bit)
        }
    }

    #[inline(always)]
    unsafe fn in_subset(subset: &[u32; 8], code: __m256i) -> __m256 {
        // SAFETY: see above; a subset is 8 words.
        unsafe {
            let words = _mm256_loadu_si256(subset.as_ptr().cast());
            let word = _mm256_permutevar8x32_epi32(words, _mm256_srli_epi32::<5>(code));
            // The wanted bit becomes the sign, which then fills the lane.
            let left = _mm256_andnot_si256(code, _mm256_set1_epi32(31));
            let sign = _mm256_sllv_epi32(word, left);
            _mm256_castsi256_ps(_mm256_srai_epi32::<31>(sign))
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
            // As signed numbers, minus 2^31.
            let square = _mm256_xor_si256(
                rectangle::<Self>(squares.cast(), contrast.corners),
                _mm256_set1_epi32(i32::MIN),
            );
            let (low, low_bits) = four_factors(
                contrast.area,
                _mm256_castsi256_si128(sum),
                _mm256_castsi256_si128(square),
            );
            let (high, high_bits) = four_factors(
                contrast.area,
                _mm256_extracti128_si256::<1>(sum),
                _mm256_extracti128_si256::<1>(square),
            );
            _mm256_storeu_ps(factors, _mm256_set_m128(high, low));
            low_bits | high_bits << 4
        }
    }
}

/// Contrast factors of four windows in `f64`, where everything up to the root
/// is exact, from the sums of pixels and the sums of squares less 2^31; and
/// which of the windows have enough contrast.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn four_factors(area: f64, sum: __m128i, square: __m128i) -> (__m128, u32) {
    // SAFETY: promised by the caller.
    unsafe {
        let area = _mm256_set1_pd(area);
        let sum = _mm256_cvtepi32_pd(sum);
        let square = _mm256_add_pd(_mm256_cvtepi32_pd(square), _mm256_set1_pd(2_147_483_648.0));
        let variance = _mm256_sub_pd(_mm256_mul_pd(area, square), _mm256_mul_pd(sum, sum));
        // NaN for a negative variance, infinite for zero: neither is below the
        // limit.
        let factor = _mm256_cvtpd_ps(_mm256_div_pd(_mm256_set1_pd(1.0), _mm256_sqrt_pd(variance)));
        let part = _mm256_mul_pd(area, _mm256_cvtps_pd(factor));
        let enough = _mm256_cmp_pd::<_CMP_LT_OQ>(part, _mm256_set1_pd(PLAIN));
        (factor, _mm256_movemask_pd(enough) as u32)
    }
}
