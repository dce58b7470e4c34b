//! How many products of bytes a core can compute per second: the rate of the
//! multiply instruction of the network's kernels, on registers only.

use std::arch::asm;

use rustix::time::{ClockId, clock_gettime};

const ROUNDS: u64 = 100_000;

/// Runs `ROUNDS` times an instruction with each of twelve registers as its sum.
#[cfg(target_arch = "x86_64")]
macro_rules! rounds {
    ($instruction:literal) => {
        // SAFETY: it changes only the registers that it names. affectd chose
        // the kernel, so the processor has the instruction.
        unsafe {
            asm!(
                "2:",
                ".irp sum, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
                $instruction,
                ".endr",
                "dec rcx",
                "jnz 2b",
                inout("rcx") ROUNDS => _,
                clobber_abi("sysv64"),
                options(nomem, nostack),
            )
        }
    };
}

#[cfg(target_arch = "aarch64")]
macro_rules! rounds {
    ($instruction:literal) => {
        // SAFETY: it changes only the registers that it names. affectd chose
        // the kernel, so the processor has the instruction.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "2:",
                ".irp sum, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
                $instruction,
                ".endr",
                "subs x9, x9, #1",
                "b.ne 2b",
                inout("x9") ROUNDS => _,
                clobber_abi("C"),
                options(nomem, nostack),
            )
        }
    };
}

/// Products per second with the kernel that `affectd model` names, or `None`
/// for an unknown kernel.
pub fn products_per_second(kernel: &str) -> Option<f64> {
    let (products, run): (u64, fn()) = match kernel {
        #[cfg(target_arch = "x86_64")]
        "avx512-vnni" => (64, || rounds!("vpdpbusd zmm\\sum, zmm14, zmm15")),
        #[cfg(target_arch = "x86_64")]
        "avx2" => (16, || rounds!("vpmaddwd ymm\\sum, ymm14, ymm15")),
        #[cfg(target_arch = "aarch64")]
        "neon-dot" => (16, || rounds!("sdot v\\sum\\().4s, v28.16b, v29.16b")),
        #[cfg(target_arch = "aarch64")]
        "neon" => (4, || rounds!("smlal v\\sum\\().4s, v28.4h, v29.4h")),
        _ => return None,
    };
    // The fastest of many runs: disturbances only make a run slower.
    let nanoseconds = (0..100).map(|_| {
        let start = clock_gettime(ClockId::ThreadCPUTime);
        run();
        let end = clock_gettime(ClockId::ThreadCPUTime);
        (end.tv_sec - start.tv_sec) * 1_000_000_000 + end.tv_nsec - start.tv_nsec
    });
    Some((12 * products * ROUNDS) as f64 * 1e9 / nanoseconds.min()? as f64)
}
