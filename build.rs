//! Tells the linker to leave the tables for unwinding out of the release, which
//! aborts on a panic (`profile.release` in Cargo.toml).

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=packaging/no-unwinding.ld");
    let is = |key, value| env::var(key).is_ok_and(|found| found == value);
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") {
        let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{folder}/packaging/no-unwinding.ld");
    }
}
