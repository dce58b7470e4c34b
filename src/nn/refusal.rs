//! Why a network is refused, in words for users.
//!
//! tract's own errors name its Rust types and rules. They go to the log, at the
//! level debug. Users get a text that says what to do.

use std::fmt;

use tract_core::prelude::TractError;

/// What is wrong with a network, where, and what to do.
#[derive(Debug)]
pub struct Refusal(pub String);

pub type Result<T> = std::result::Result<T, Refusal>;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<TractError> for Refusal {
    fn from(error: TractError) -> Self {
        log::debug!("tract: {error:#}");
        Self(
            "shapes or attributes do not fit together; simplify the model (onnxsim), or export it \
             with fixed shapes (the log has details at the level debug)"
                .into(),
        )
    }
}

impl From<std::num::TryFromIntError> for Refusal {
    fn from(_: std::num::TryFromIntError) -> Self {
        Self("a size is negative or too large".into())
    }
}

/// Refuses the network for a reason.
macro_rules! refuse {
    ($($reason:tt)+) => {
        return Err($crate::nn::refusal::Refusal(format!($($reason)+)))
    };
}

/// Refuses the network for a reason, unless something holds.
macro_rules! require {
    ($holds:expr, $($reason:tt)+) => {
        if !$holds {
            refuse!($($reason)+);
        }
    };
}

pub(super) use {refuse, require};

pub trait OrRefuse<T> {
    /// The value, or a refusal for a reason.
    fn or_refuse<R: Into<String>>(self, reason: impl FnOnce() -> R) -> Result<T>;
}

impl<T> OrRefuse<T> for Option<T> {
    fn or_refuse<R: Into<String>>(self, reason: impl FnOnce() -> R) -> Result<T> {
        self.ok_or_else(|| Refusal(reason().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tract_s_words_do_not_reach_users() {
        let inner = TractError::msg("wiring TypedBinOp: 3 != 5").context("Failed analyse");
        let Refusal(text) = Refusal::from(inner);
        assert!(text.contains("do not fit together"), "{text}");
        assert!(
            !text.contains("TypedBinOp") && !text.contains("Failed"),
            "{text}"
        );
    }
}
