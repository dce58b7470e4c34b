//! Errors from building a detector.

/// Why a detector cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DetectError {
    #[error(
        "a scale factor of {0} is out of range: it must be from 1.01 (finest, slowest) to 10; 1.1 to 1.3 is usual"
    )]
    ScaleFactor(f64),
    #[error(
        "the largest face ({}x{}) is smaller than the smallest ({}x{})",
        max.0, max.1, min.0, min.1
    )]
    Sizes { min: (u32, u32), max: (u32, u32) },
    #[error("{name} is {value}, but must be from {from} to {to}")]
    Range {
        name: &'static str,
        value: f64,
        from: f64,
        to: f64,
    },
}
