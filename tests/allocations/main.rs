//! The stages that run on every frame do not touch the heap. A program of its
//! own, because the allocator that counts serves a whole program.

mod classify;
mod detect;

use affectd::host::memory::FrameAllocator;

#[global_allocator]
static ALLOCATOR: FrameAllocator = FrameAllocator;
