//! The instruction sets that kernels are written for.
//!
//! A value of [`Isa`] proves that this processor has the instruction set,
//! because only the detection can make one. A kernel takes this proof as an
//! argument, so no safe code can run instructions that the processor lacks.

use std::fmt;

/// Proof that this processor has AVX2 and FMA (Haswell, Zen and later).
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

/// Proof that this processor has AVX-512 (F, BW, VL) with its integer dot
/// product (Ice Lake, Zen 4).
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512Vnni(Avx2);

/// Proof that this processor has NEON, as every 64-bit ARM has (Raspberry Pi 3,
/// 4 and Zero 2 W, Jetson Nano).
#[cfg(target_arch = "aarch64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neon(());

/// Proof that this processor has NEON with the dot product (Raspberry Pi 5,
/// Jetson Orin).
#[cfg(target_arch = "aarch64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeonDot(Neon);

#[cfg(target_arch = "x86_64")]
impl Avx512Vnni {
    /// A processor with AVX-512 has AVX2 and FMA.
    #[must_use]
    pub const fn avx2(self) -> Avx2 {
        self.0
    }
}

#[cfg(target_arch = "aarch64")]
impl NeonDot {
    /// A processor with the dot product has NEON.
    #[must_use]
    pub const fn neon(self) -> Neon {
        self.0
    }
}

/// An instruction set that this processor has.
///
/// ```
/// use affectd::isa::Isa;
/// assert!(Isa::available().contains(&Isa::best()));
/// assert!(Isa::available().contains(&Isa::Scalar));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, which every processor runs: the reference for the others.
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(Avx512Vnni),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    #[cfg(target_arch = "aarch64")]
    NeonDot(NeonDot),
}

impl Isa {
    /// All that this processor has, the fastest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let avx2 = Avx2(());
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                found.push(Self::Avx512Vnni(Avx512Vnni(avx2)));
            }
            found.push(Self::Avx2(avx2));
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            let neon = Neon(());
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                found.push(Self::NeonDot(NeonDot(neon)));
            }
            found.push(Self::Neon(neon));
        }
        found.push(Self::Scalar);
        found
    }

    /// The fastest that this processor has.
    #[must_use]
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// A short name for logs and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(_) => "avx512-vnni",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot(_) => "neon-dot",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
