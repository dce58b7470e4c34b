//! SIGTERM and SIGINT ask the bridge to stop.

use std::io;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `stop` with the signal's name when the first one comes, in a thread of
/// its own. The process then has `patience` to end; after that, or with a second
/// signal, it is ended with exit code 1.
///
/// # Errors
/// The system gives no descriptor or no thread.
pub fn on_stop(
    patience: Duration,
    stop: impl FnOnce(&'static str) + Send + 'static,
) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let Some(signal) = signals.forever().next() else {
                return;
            };
            let late = thread::Builder::new().spawn(move || {
                thread::sleep(patience);
                log::warn!("not stopped within {patience:?}; ended without a farewell");
                std::process::exit(1);
            });
            drop(late);
            stop(if signal == SIGINT {
                "SIGINT"
            } else {
                "SIGTERM"
            });
            signals.forever().next();
            std::process::exit(1);
        })?;
    Ok(())
}
