//! The memory of a frame: what third-party code allocates inside a frame comes
//! from an arena of fixed size and is gone with the frame, so that the loop
//! never asks the system for memory.
//!
//! [`FrameAllocator`] is the process's allocator. It hands everything on to the
//! system's, and counts it, but for a thread inside a [`scope`]: there, memory
//! comes from the arena until the scope is left. Scopes are put around calls
//! whose results do not outlive them, such as decoding a JPEG into a buffer that
//! is there already. What is to outlive the scope after all (the text of an
//! error) is made in [`outlasting`].
//!
//! Nothing rests on scopes being put right. The arena starts anew only when
//! nothing in it is in use, whoever may hold it; a thing that stays costs its
//! place and is counted ([`Usage::kept`]). Buffers from outside that grow in a
//! scope stay with the system. An arena that is full, or in use by another
//! thread, is passed over: the system serves, and [`Usage::overflows`] tells.
//!
//! ```
//! use affectd::host::memory;
//! memory::reserve(1 << 20)?;
//! let sum: u32 = memory::scope(|| (0..100).collect::<Vec<u32>>().iter().sum());
//! assert_eq!(sum, 4950);
//! # Ok::<(), memory::InUse>(())
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Threads that can be in a scope at once: the loop, and a reader that decodes.
const ARENAS: usize = 2;

/// Every block starts at a multiple of this and is a multiple of it long.
const GRAIN: usize = 64;

/// Sizes of blocks: four for each power of two, up to the largest arena.
const CLASSES: usize = 4 * 26;

/// The largest arena, 1 GiB.
pub const MOST: usize = 1 << 30;

/// The process's allocator; `main.rs` installs it. Where another one is
/// installed scopes do nothing.
pub struct FrameAllocator;

static ARENA: [Arena; ARENAS] = [const { Arena::new() }; ARENAS];

/// Where all arenas together lie, one after the other. Changed only while none
/// of them is held or in use.
static START: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);

static SYSTEM: AtomicU64 = AtomicU64::new(0);
static OVERFLOWS: AtomicU64 = AtomicU64::new(0);
static MISSING: AtomicUsize = AtomicUsize::new(0);
static KEPT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static HERE: Cell<Here> = const { Cell::new(Here { arena: None, depth: 0, outside: 0 }) };
    static SYSTEM_HERE: Cell<u64> = const { Cell::new(0) };
}

/// What a thread is in.
#[derive(Clone, Copy)]
struct Here {
    arena: Option<&'static Arena>,
    /// Scopes within each other.
    depth: u32,
    /// Calls of [`outlasting`] within each other.
    outside: u32,
}

/// The arenas were to be replaced while something in them was in use.
#[derive(Debug, thiserror::Error)]
#[error("the frame arena is in use")]
pub struct InUse;

/// What memory was used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Size of the arena, 0 without one.
    pub arena: usize,
    /// The most of it that one scope took.
    pub high_water: usize,
    /// Allocations in a scope for which the arena had no room.
    pub overflows: u64,
    /// The most bytes that a scope asked the system for because of that.
    pub missing: usize,
    /// Scopes that something outlasted.
    pub kept: u64,
    /// Allocations and reallocations by the system's allocator, all threads.
    pub system: u64,
    /// The same, this thread alone.
    pub system_here: u64,
}

/// What memory was used so far.
#[must_use]
pub fn usage() -> Usage {
    let highest = ARENA.iter().map(|a| a.high_water.load(Ordering::Relaxed));
    Usage {
        arena: (END.load(Ordering::Relaxed) - START.load(Ordering::Relaxed)) / ARENAS,
        high_water: highest.max().unwrap_or(0),
        overflows: OVERFLOWS.load(Ordering::Relaxed),
        missing: MISSING.load(Ordering::Relaxed),
        kept: KEPT.load(Ordering::Relaxed),
        system: SYSTEM.load(Ordering::Relaxed),
        system_here: SYSTEM_HERE.get(),
    }
}

/// Gives each arena `bytes`, rounded up to whole pages; 0 does without arenas.
/// Pages count as the process's only from when they are first used.
///
/// # Errors
/// A thread is in a scope, or something made in one is still there.
pub fn reserve(bytes: usize) -> Result<(), InUse> {
    let bytes = bytes.min(MOST).next_multiple_of(PAGE);
    let held: Vec<_> = ARENA.iter().map_while(Arena::hold).collect();
    if held.len() < ARENAS || ARENA.iter().any(|a| a.live.load(Ordering::Acquire) > 0) {
        return Err(InUse);
    }
    let (start, end) = (START.load(Ordering::Relaxed), END.load(Ordering::Relaxed));
    if (end - start) / ARENAS == bytes {
        return Ok(());
    }
    // The range is empty before the old memory goes, and set after the new has
    // come: no pointer of the system's is ever taken for one of the arenas'.
    END.store(start, Ordering::SeqCst);
    if let Ok(layout) = Layout::from_size_align(end - start, PAGE)
        && layout.size() > 0
    {
        // SAFETY: it was allocated below, with this layout, and all arenas are
        // held and empty.
        unsafe { System.dealloc(start as *mut u8, layout) }
    }
    let layout = Layout::from_size_align(bytes * ARENAS, PAGE).map_err(|_| InUse)?;
    let start = if bytes == 0 {
        0
    } else {
        // SAFETY: the size is not zero.
        unsafe { System.alloc(layout) as usize }
    };
    let bytes = if start == 0 { 0 } else { bytes };
    for (index, arena) in held.iter().enumerate() {
        arena.0.renew(start + index * bytes, bytes);
        arena.0.high_water.store(0, Ordering::Relaxed);
    }
    START.store(start, Ordering::SeqCst);
    END.store(start + bytes * ARENAS, Ordering::SeqCst);
    Ok(())
}

const PAGE: usize = 4096;

/// Has large blocks go back to the system whenever they are freed.
///
/// glibc otherwise takes the first one (a model's file, read and done with) for a
/// sign that more will come, and from then on keeps such in its heap: 7 MB that
/// stay resident for nothing.
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a parameter of glibc's allocator, to its own default.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
    }
}

/// Runs `work` with this thread's memory from the arena.
pub fn scope<T>(work: impl FnOnce() -> T) -> T {
    let _scope = Scope::enter();
    work()
}

/// Runs `work`, inside a scope, with memory from the system: for what outlives
/// the scope.
pub fn outlasting<T>(work: impl FnOnce() -> T) -> T {
    struct Outside;
    impl Drop for Outside {
        fn drop(&mut self) {
            HERE.set(Here {
                outside: HERE.get().outside - 1,
                ..HERE.get()
            });
        }
    }
    let here = HERE.get();
    HERE.set(Here {
        outside: here.outside + 1,
        ..here
    });
    let _outside = Outside;
    work()
}

/// Leaves the scope when it is dropped. Belongs to its thread.
struct Scope(PhantomData<*const ()>);

impl Scope {
    fn enter() -> Self {
        let mut here = HERE.get();
        if here.depth == 0 && END.load(Ordering::Relaxed) > 0 {
            let held = ARENA.iter().find_map(Arena::hold);
            if held.is_none() {
                OVERFLOWS.fetch_add(1, Ordering::Relaxed);
            }
            here.arena = held.map(|held| {
                held.0.reset_if_empty();
                let arena = held.0;
                std::mem::forget(held);
                arena
            });
        }
        here.depth += 1;
        HERE.set(here);
        Self(PhantomData)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let mut here = HERE.get();
        here.depth -= 1;
        let left = if here.depth == 0 {
            here.arena.take()
        } else {
            None
        };
        HERE.set(here);
        if let Some(arena) = left {
            if arena.live.load(Ordering::Acquire) > 0 {
                KEPT.fetch_add(1, Ordering::Relaxed);
            }
            drop(Held(arena));
        }
    }
}

/// A bump allocator with lists of freed blocks by size, so that what a network
/// frees in a frame is used again in the same frame.
struct Arena {
    /// A thread is in a scope with it, and alone touches `blocks`.
    held: AtomicBool,
    /// Blocks given out and not returned, by any thread.
    live: AtomicUsize,
    high_water: AtomicUsize,
    blocks: UnsafeCell<Blocks>,
}

// SAFETY: `blocks` is touched only by the thread that holds the arena (see
// `Held`); the rest is atomic.
unsafe impl Sync for Arena {}

/// The right to touch an arena's blocks, until it is dropped.
struct Held(&'static Arena);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.store(false, Ordering::Release);
    }
}

struct Blocks {
    start: usize,
    end: usize,
    /// Above this nothing has been given out.
    top: usize,
    /// First freed block of each class, 0 for none; its first bytes hold the
    /// next one's address.
    free: [usize; CLASSES],
    /// What the system gave in this scope in place of the arena.
    missing: usize,
}

/// The class of a block for `size` bytes, and the block's length.
fn class(size: usize) -> (usize, usize) {
    let grains = size.div_ceil(GRAIN).max(1);
    if grains <= 4 {
        return (grains - 1, grains * GRAIN);
    }
    // The largest power of two below, in quarters of which lengths are counted.
    let power = usize::BITS - 1 - (grains - 1).leading_zeros();
    let quarter = 1usize << (power - 2);
    let quarters = grains.div_ceil(quarter);
    let class = 4 * (power as usize - 1) + (quarters - 5);
    (class, quarters * quarter * GRAIN)
}

impl Arena {
    const fn new() -> Self {
        Self {
            held: AtomicBool::new(false),
            live: AtomicUsize::new(0),
            high_water: AtomicUsize::new(0),
            blocks: UnsafeCell::new(Blocks {
                start: 0,
                end: 0,
                top: 0,
                free: [0; CLASSES],
                missing: 0,
            }),
        }
    }

    fn hold(&'static self) -> Option<Held> {
        let free = !self.held.swap(true, Ordering::Acquire);
        free.then(|| Held(self))
    }

    /// To be called by the thread that holds the arena.
    fn blocks(&self) -> *mut Blocks {
        debug_assert!(self.held.load(Ordering::Relaxed));
        self.blocks.get()
    }

    fn renew(&self, start: usize, bytes: usize) {
        // SAFETY: the arena is held by this thread, and nothing else refers to
        // its blocks while this runs.
        let blocks = unsafe { &mut *self.blocks() };
        (blocks.start, blocks.top, blocks.end) = (start, start, start + bytes);
        blocks.free = [0; CLASSES];
        blocks.missing = 0;
    }

    /// Starts anew if nothing is in use. Only the holder gives blocks out, so
    /// that none can come into use between the look and the reset.
    fn reset_if_empty(&self) {
        // SAFETY: as in `renew`.
        let blocks = unsafe { &mut *self.blocks() };
        blocks.missing = 0;
        if self.live.load(Ordering::Acquire) == 0 && blocks.top > blocks.start {
            blocks.top = blocks.start;
            blocks.free = [0; CLASSES];
        }
    }

    /// A block, or `None` if there is no room. For the holder.
    fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: as in `renew`.
        let blocks = unsafe { &mut *self.blocks() };
        let (class, length) = class(layout.size());
        if layout.align() <= GRAIN && class < CLASSES {
            let first = blocks.free[class];
            if first != 0 {
                // SAFETY: a block on the list is at least GRAIN bytes of the
                // arena that nobody uses, and `give` wrote the next address there.
                blocks.free[class] = unsafe { *(first as *const usize) };
                self.live.fetch_add(1, Ordering::Relaxed);
                return NonNull::new(first as *mut u8);
            }
            if length <= blocks.end - blocks.top {
                let block = blocks.top;
                blocks.top += length;
                self.live.fetch_add(1, Ordering::Relaxed);
                let used = blocks.top - blocks.start;
                if used > self.high_water.load(Ordering::Relaxed) {
                    self.high_water.store(used, Ordering::Relaxed);
                }
                return NonNull::new(block as *mut u8);
            }
        }
        OVERFLOWS.fetch_add(1, Ordering::Relaxed);
        blocks.missing += length;
        MISSING.fetch_max(blocks.missing, Ordering::Relaxed);
        None
    }

    /// Takes a block back; `own` if this thread holds the arena.
    fn give(&self, block: NonNull<u8>, size: usize, own: bool) {
        if own {
            // SAFETY: as in `renew`.
            let blocks = unsafe { &mut *self.blocks() };
            let (class, _) = class(size);
            // SAFETY: whoever returns a block uses it no more, and it is at
            // least GRAIN bytes long and aligned to GRAIN.
            unsafe { *block.as_ptr().cast::<usize>() = blocks.free[class] };
            blocks.free[class] = block.as_ptr() as usize;
        }
        // Whoever finds 0 here must see all that was done to the block.
        self.live.fetch_sub(1, Ordering::Release);
    }
}

/// The arena in which a pointer lies.
fn owner(pointer: *mut u8) -> Option<&'static Arena> {
    let at = pointer as usize;
    let (start, end) = (START.load(Ordering::Relaxed), END.load(Ordering::Relaxed));
    if at < start || at >= end {
        return None;
    }
    Some(&ARENA[(at - start) / ((end - start) / ARENAS)])
}

/// The arena that serves this thread now.
fn serving() -> Option<&'static Arena> {
    let here = HERE.get();
    if here.outside > 0 { None } else { here.arena }
}

fn is_own(arena: &'static Arena) -> bool {
    HERE.get().arena.is_some_and(|own| std::ptr::eq(own, arena))
}

fn count_system() {
    SYSTEM.fetch_add(1, Ordering::Relaxed);
    SYSTEM_HERE.set(SYSTEM_HERE.get() + 1);
}

// SAFETY: a pointer comes either from an arena, whose blocks do not overlap, are
// as long and as aligned as asked for, and are not reused before they are given
// back; or from the system's allocator, which is as sound. `owner` tells which.
//
// None of it is inlined: it is called from so many places that this takes
// 170 kB.
unsafe impl GlobalAlloc for FrameAllocator {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(block) = serving().and_then(|arena| arena.take(layout)) {
            return block.as_ptr();
        }
        count_system();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if let Some(block) = serving().and_then(|arena| arena.take(layout)) {
            // SAFETY: the block is at least this long.
            unsafe { block.as_ptr().write_bytes(0, layout.size()) };
            return block.as_ptr();
        }
        count_system();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match (owner(pointer), NonNull::new(pointer)) {
            (Some(arena), Some(block)) => arena.give(block, layout.size(), is_own(arena)),
            // SAFETY: the caller's promise is handed on.
            _ => unsafe { System.dealloc(pointer, layout) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if owner(pointer).is_none() {
            // A buffer from outside stays outside, also where it grows.
            count_system();
            // SAFETY: the caller's promise is handed on.
            return unsafe { System.realloc(pointer, layout, size) };
        }
        let (_, length) = class(layout.size());
        if class(size).1 == length {
            return pointer;
        }
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else {
            return null_mut();
        };
        // SAFETY: the size is not zero, as the caller promises; both blocks are
        // as long as the lesser of the sizes; the old one is not used again.
        unsafe {
            let new = self.alloc(wanted);
            if !new.is_null() {
                new.copy_from_nonoverlapping(pointer, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An arena of its own, outside of the process's allocator.
    fn arena(bytes: usize) -> (&'static Arena, Held) {
        let arena: &'static Arena = Box::leak(Box::new(Arena::new()));
        let memory: &'static mut [u64] = vec![0; bytes / 8 + GRAIN / 8].leak();
        let start = (memory.as_mut_ptr() as usize).next_multiple_of(GRAIN);
        let held = arena.hold().unwrap();
        arena.renew(start, bytes);
        (arena, held)
    }

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn a_class_has_one_length_and_room_for_its_sizes() {
        let mut lengths = [0; CLASSES];
        let mut sizes: Vec<usize> = (0..70_000).collect();
        for power in 16..=30 {
            sizes.extend([(1 << power) - 1, 1 << power, (1 << power) + 1]);
        }
        for size in sizes.into_iter().filter(|size| *size <= MOST) {
            let (class, length) = class(size);
            assert!(length >= size && length % GRAIN == 0, "{size}: {length}");
            assert!(
                length <= (size * 5 / 4).max(4 * GRAIN) + GRAIN,
                "{size}: {length}"
            );
            assert!(lengths[class] == 0 || lengths[class] == length, "{size}");
            lengths[class] = length;
        }
        let used: Vec<_> = lengths.iter().filter(|length| **length > 0).collect();
        assert!(used.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn memory_comes_back_when_nothing_is_in_use() {
        let (arena, _held) = arena(1 << 12);
        let first = arena.take(layout(100, 8)).unwrap();
        let second = arena.take(layout(1000, 64)).unwrap();
        arena.give(first, 100, false);
        arena.reset_if_empty();
        assert_ne!(arena.take(layout(100, 8)).unwrap(), first, "one is in use");
        arena.give(second, 1000, false);
        arena.give(second, 100, false);
        arena.reset_if_empty();
        assert_eq!(arena.take(layout(100, 8)).unwrap(), first);
    }

    #[test]
    fn a_freed_block_serves_again_in_the_same_scope() {
        let (arena, _held) = arena(1 << 12);
        for _ in 0..1000 {
            let block = arena.take(layout(3000, 16)).unwrap();
            assert!(arena.take(layout(3000, 16)).is_none(), "it is full");
            arena.give(block, 2900, true);
        }
        assert_eq!(arena.high_water.load(Ordering::Relaxed), 3072);
    }

    proptest! {
        #[test]
        fn blocks_are_as_asked_for_and_nobody_elses(
            steps in prop::collection::vec((0usize..5000, 0u32..7, any::<prop::sample::Index>()), 1..200),
        ) {
            let (arena, _held) = arena(1 << 16);
            let mut blocks: Vec<(NonNull<u8>, usize, u8)> = Vec::new();
            for (number, (size, align, which)) in steps.into_iter().enumerate() {
                let mark = number as u8;
                match arena.take(layout(size, 1 << align)) {
                    Some(block) => {
                        prop_assert_eq!(block.as_ptr() as usize % (1 << align), 0);
                        // SAFETY: the block is that long; if it is not, the
                        // marks below tell.
                        unsafe { block.as_ptr().write_bytes(mark, size) };
                        blocks.push((block, size, mark));
                    }
                    None => prop_assert!(!blocks.is_empty(), "an empty arena had no room"),
                }
                if number % 3 == 2 && !blocks.is_empty() {
                    let (block, size, mark) = blocks.swap_remove(which.index(blocks.len()));
                    // SAFETY: it was written in full when it was taken.
                    let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), size) };
                    prop_assert!(bytes.iter().all(|byte| *byte == mark), "overwritten");
                    arena.give(block, size, true);
                }
                prop_assert_eq!(arena.live.load(Ordering::Relaxed), blocks.len());
            }
        }
    }
}
