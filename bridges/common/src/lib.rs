//! What affectd's bridges share. A bridge is a program of its own that reads the
//! daemon's event socket and passes the events on to a network: MQTT, ROS 2. It
//! never sees a picture, and the daemon never sees a network.
//!
//! | module | what it does |
//! |---|---|
//! | [`events`] | reads the event socket, and connects again for ever |
//! | [`control`] | sends `pause` and `resume` to the control socket |
//! | [`config`] | reads a TOML file and reports all errors with their lines |
//! | [`service`] | tells systemd: ready, status, watchdog, stopping |
//! | [`logging`] | log lines to standard error, with priorities in the journal |
//! | [`fault`] | logs a fault once until it is gone |
//! | [`backoff`] | waits longer after each failure, with full jitter |
//! | [`cli`] | the command line that all bridges have |
//! | [`signals`] | SIGTERM and SIGINT |
//!
//! All of it blocks; a bridge gives each source a thread of its own.

pub mod backoff;
pub mod cli;
pub mod config;
pub mod control;
pub mod events;
pub mod fault;
pub mod logging;
pub mod service;
pub mod signals;
