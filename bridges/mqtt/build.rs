//! Tells the linker to leave the tables for unwinding out of the release, which
//! aborts on a panic, as the daemon's build.rs does.

use std::env;

fn main() {
    let is = |key, value| env::var(key).is_ok_and(|found| found == value);
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let script = format!("{folder}/../../packaging/no-unwinding.ld");
    println!("cargo::rerun-if-changed={script}");
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{script}");
    }
}
