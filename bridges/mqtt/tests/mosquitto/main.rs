//! affectd-mqtt against Debian's mosquitto. `scripts/test-bridges` installs it.

mod faults;
mod home_assistant;
mod publishing;
mod soak;
mod support;
mod tls;
