//! The stages that run on every frame do not touch the heap. This is a program
//! of its own, because the counting allocator counts for a whole program.

mod classify;
mod detect;
mod preview;

use affectd::host::memory::FrameAllocator;

#[global_allocator]
static ALLOCATOR: FrameAllocator = FrameAllocator;
