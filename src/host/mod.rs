//! What affectd needs from the machine it runs on: memory that stays fixed,
//! real-time scheduling, a log, state that outlasts a restart, signals, the service
//! manager, the hardware watchdog and the temperature.
//!
//! The loop polls all of these. None of them makes the loop wait.

pub mod identity;
pub mod journal;
pub mod logging;
pub mod memory;
pub mod passed;
pub mod realtime;
pub mod replace;
pub mod restarts;
#[cfg(feature = "rig")]
pub mod rig;
pub mod service;
pub mod signals;
pub mod state;
pub mod thermal;
pub mod unix_socket;
pub mod watchdog;
