//! The memory of a frame: what libraries allocate while a frame is processed
//! comes from an arena of fixed size, which is emptied after the frame. So the
//! loop never asks the system for memory.
//!
//! [`FrameAllocator`] is the process's allocator. It passes all calls on to the
//! system's allocator and counts them. Only for a thread inside a [`scope`]
//! memory comes from the arena, until the scope is left. Put a scope around
//! calls whose results do not outlive it, such as decoding a JPEG into an
//! existing buffer. What must outlive the scope (the text of an error) is made
//! in [`outlasting`].
//!
//! Memory stays sound even if a scope is in the wrong place. The arena is
//! emptied only when none of its memory is in use; a block that outlives its
//! scope keeps its place and is counted ([`Usage::kept`]). A buffer from
//! outside that grows in a scope stays with the system's allocator. If the
//! arena is full, or another thread uses it, the system's allocator serves,
//! which [`Usage::overflows`] counts.
//!
//! The address range for the largest possible arenas is reserved once and never
//! changes; only the part of it that is used changes. So one number that is
//! written once says to which arena a pointer belongs, and a reload that
//! changes the size cannot race with a thread that frees memory.
//!
//! ```
//! use affectd::host::memory;
//! memory::reserve(1 << 20)?;
//! let sum: u32 = memory::scope(|| (0..100).collect::<Vec<u32>>().iter().sum());
//! assert_eq!(sum, 4950);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::io;
use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect};

/// Threads that can be in a scope at the same time: the loop, a reader that
/// decodes, and the one that prepares a reload.
const ARENAS: usize = 3;

/// The start and the length of every block are multiples of this.
const GRAIN: usize = 64;

/// Sizes of blocks: four for each power of two, up to the largest arena.
const CLASSES: usize = 4 * 26;

/// The largest arena: 1 GiB, or 64 MiB on systems with 32-bit addresses.
pub const MOST: usize = if usize::BITS >= 64 { 1 << 30 } else { 64 << 20 };

/// The process's allocator; `main.rs` installs it. With another allocator,
/// scopes do nothing.
pub struct FrameAllocator;

static ARENA: [Arena; ARENAS] = [const { Arena::new() }; ARENAS];

/// Where the addresses of all arenas begin, [`MOST`] bytes for each; 0 before
/// the first [`reserve`], and written only there.
static START: AtomicUsize = AtomicUsize::new(0);

/// How many bytes each arena may use. An arena takes a new size at the start of
/// a scope, if none of its memory is in use.
static SIZE: AtomicUsize = AtomicUsize::new(0);

static SYSTEM: AtomicU64 = AtomicU64::new(0);
static OVERFLOWS: AtomicU64 = AtomicU64::new(0);
static MISSING: AtomicUsize = AtomicUsize::new(0);
static KEPT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static HERE: Cell<Here> = const { Cell::new(Here { arena: None, depth: 0, outside: 0 }) };
    static SYSTEM_HERE: Cell<u64> = const { Cell::new(0) };
    static OVERFLOWS_HERE: Cell<u64> = const { Cell::new(0) };
}

/// The scopes that a thread is in.
#[derive(Clone, Copy)]
struct Here {
    arena: Option<&'static Arena>,
    /// How deep scopes are nested.
    depth: u32,
    /// How deep calls of [`outlasting`] are nested.
    outside: u32,
}

/// What memory was used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Size of the arena in bytes; 0 without one.
    pub arena: usize,
    /// The most bytes of it that one scope used.
    pub high_water: usize,
    /// Allocations in a scope that the arena had no room for, in all threads.
    pub overflows: u64,
    /// The same, this thread alone.
    pub overflows_here: u64,
    /// The most bytes that one scope took from the system because of that.
    pub missing: usize,
    /// Scopes that ended while some of their memory was still in use.
    pub kept: u64,
    /// Allocations and reallocations by the system's allocator, in all threads.
    pub system: u64,
    /// The same, this thread alone.
    pub system_here: u64,
}

/// What memory was used so far.
#[must_use]
pub fn usage() -> Usage {
    let highest = ARENA.iter().map(|a| a.high_water.load(Ordering::Relaxed));
    Usage {
        arena: SIZE.load(Ordering::Relaxed),
        high_water: highest.max().unwrap_or(0),
        overflows: OVERFLOWS.load(Ordering::Relaxed),
        overflows_here: OVERFLOWS_HERE.get(),
        missing: MISSING.load(Ordering::Relaxed),
        kept: KEPT.load(Ordering::Relaxed),
        system: SYSTEM.load(Ordering::Relaxed),
        system_here: SYSTEM_HERE.get(),
    }
}

/// Gives each arena `bytes`, rounded up to whole pages, at most [`MOST`]; 0
/// means no arenas. Can be called again at any time, by any thread: each arena
/// takes the new size at the start of the next scope that finds it empty. Pages
/// count as memory of the process only after their first use.
///
/// # Errors
/// The system refuses the address range or the memory (for example because of a
/// limit on the address space, `ulimit -v`). The arenas keep their size.
pub fn reserve(bytes: usize) -> io::Result<()> {
    static RESERVING: Mutex<()> = Mutex::new(());
    let _reserving = RESERVING.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes = bytes.min(MOST).next_multiple_of(PAGE);
    if bytes > 0 {
        let mut start = START.load(Ordering::Relaxed);
        if start == 0 {
            // SAFETY: the kernel places the new mapping where nothing is in
            // use. It is not accessible yet.
            let range = unsafe {
                mmap_anonymous(
                    null_mut(),
                    ARENAS * MOST,
                    ProtFlags::empty(),
                    MapFlags::PRIVATE | MapFlags::NORESERVE,
                )
            };
            start = range? as usize;
            START.store(start, Ordering::SeqCst);
        }
        for index in 0..ARENAS {
            // SAFETY: the range lies in the mapping above, which lasts for ever.
            // What was usable stays usable: memory is never protected again.
            unsafe {
                mprotect(
                    (start + index * MOST) as *mut c_void,
                    bytes,
                    MprotectFlags::READ | MprotectFlags::WRITE,
                )?;
            }
        }
    }
    if SIZE.swap(bytes, Ordering::SeqCst) != bytes {
        for arena in &ARENA {
            arena.high_water.store(0, Ordering::Relaxed);
        }
    }
    Ok(())
}

const PAGE: usize = 4096;

/// Makes glibc return large blocks to the system as soon as they are freed.
///
/// Otherwise glibc concludes from the first one (the contents of a model file)
/// that more will follow, and keeps such blocks in its heap: 7 MB would stay
/// resident for nothing.
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
        let size = SIZE.load(Ordering::SeqCst);
        if here.depth == 0 && size > 0 {
            let start = START.load(Ordering::SeqCst);
            let held = (0..).zip(&ARENA).find_map(|(index, arena)| {
                let held = arena.hold()?;
                Some((held, start + index * MOST))
            });
            if held.is_none() {
                count_overflow();
            }
            here.arena = held.map(|(held, start)| {
                held.0.reset_if_empty(start, size);
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
    /// True while a thread is in a scope with this arena; only that thread uses
    /// `blocks`.
    held: AtomicBool,
    /// Blocks in use by any thread.
    live: AtomicUsize,
    high_water: AtomicUsize,
    blocks: UnsafeCell<Blocks>,
}

// SAFETY: only the thread that holds the arena (see `Held`) uses `blocks`; the
// rest is atomic.
unsafe impl Sync for Arena {}

/// The right to use an arena's blocks, until it is dropped.
struct Held(&'static Arena);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.store(false, Ordering::Release);
    }
}

struct Blocks {
    start: usize,
    end: usize,
    /// No block lies above this offset.
    top: usize,
    /// First freed block of each class, 0 for none; its first bytes hold the
    /// next one's address.
    free: [usize; CLASSES],
    /// Bytes that the system gave in this scope instead of the arena.
    missing: usize,
}

/// The class of a block for `size` bytes, and the block's length.
fn class(size: usize) -> (usize, usize) {
    let grains = size.div_ceil(GRAIN).max(1);
    if grains <= 4 {
        return (grains - 1, grains * GRAIN);
    }
    // The largest power of two below; lengths are rounded up to quarters of it.
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

    /// Only the thread that holds the arena may call this.
    fn blocks(&self) -> *mut Blocks {
        debug_assert!(self.held.load(Ordering::Relaxed));
        self.blocks.get()
    }

    /// Empties the arena, with `size` bytes from `start` on, if no block is in
    /// use. Only the holder hands out blocks, so none can come into use between
    /// the check and the reset.
    fn reset_if_empty(&self, start: usize, size: usize) {
        // SAFETY: this thread holds the arena, and there is no other reference
        // to its blocks.
        let blocks = unsafe { &mut *self.blocks() };
        blocks.missing = 0;
        if self.live.load(Ordering::Acquire) > 0 {
            return;
        }
        let end = start + size;
        if end < blocks.end {
            // After an error the pages stay, which does no harm. SAFETY:
            // nothing uses this part of the arena before it grows again; its
            // pages then begin with zeros.
            let _ = unsafe { madvise(end as *mut c_void, blocks.end - end, Advice::LinuxDontNeed) };
        }
        if blocks.top > blocks.start || blocks.start != start {
            blocks.free = [0; CLASSES];
        }
        (blocks.start, blocks.top, blocks.end) = (start, start, end);
    }

    /// A block, or `None` if there is no room. Only the holder may call this.
    fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: as in `reset_if_empty`.
        let blocks = unsafe { &mut *self.blocks() };
        let (class, length) = class(layout.size());
        if layout.align() <= GRAIN && class < CLASSES {
            let first = blocks.free[class];
            if first != 0 {
                // SAFETY: a block on the list has at least GRAIN bytes that
                // nothing uses, and `give` wrote the next address there.
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
        count_overflow();
        blocks.missing += length;
        MISSING.fetch_max(blocks.missing, Ordering::Relaxed);
        None
    }

    /// Takes a block back; `own` if this thread holds the arena.
    fn give(&self, block: NonNull<u8>, size: usize, own: bool) {
        if own {
            // SAFETY: as in `reset_if_empty`.
            let blocks = unsafe { &mut *self.blocks() };
            let (class, _) = class(size);
            // SAFETY: a returned block is no longer used; it has at least GRAIN
            // bytes and is aligned to GRAIN.
            unsafe { *block.as_ptr().cast::<usize>() = blocks.free[class] };
            blocks.free[class] = block.as_ptr() as usize;
        }
        // A thread that reads 0 here must see every write to the block.
        self.live.fetch_sub(1, Ordering::Release);
    }
}

/// The arena in which a pointer lies.
fn owner(pointer: *mut u8) -> Option<&'static Arena> {
    // One load of a value that is written once. A pointer into an arena can
    // only exist after that write, so a stale 0 is still right: this pointer is
    // not one of an arena.
    let start = START.load(Ordering::Relaxed);
    #[cfg(test)]
    tests::between_loads();
    if start == 0 {
        return None;
    }
    ARENA.get((pointer as usize).checked_sub(start)? / MOST)
}

/// The arena that serves this thread now.
fn serving() -> Option<&'static Arena> {
    let here = HERE.get();
    if here.outside > 0 { None } else { here.arena }
}

fn is_own(arena: &'static Arena) -> bool {
    HERE.get().arena.is_some_and(|own| std::ptr::eq(own, arena))
}

fn count_overflow() {
    OVERFLOWS.fetch_add(1, Ordering::Relaxed);
    OVERFLOWS_HERE.set(OVERFLOWS_HERE.get() + 1);
}

fn count_system() {
    SYSTEM.fetch_add(1, Ordering::Relaxed);
    SYSTEM_HERE.set(SYSTEM_HERE.get() + 1);
}

// SAFETY: a pointer comes either from an arena, whose blocks do not overlap,
// have the requested length and alignment, and are not reused before they are
// freed; or from the system's allocator. `owner` says which.
//
// Nothing is inlined: with so many callers that would take 170 kB.
unsafe impl GlobalAlloc for FrameAllocator {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(block) = serving().and_then(|arena| arena.take(layout)) {
            return block.as_ptr();
        }
        count_system();
        // SAFETY: the caller keeps the same promise to this function.
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
        // SAFETY: the caller keeps the same promise to this function.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match (owner(pointer), NonNull::new(pointer)) {
            (Some(arena), Some(block)) => arena.give(block, layout.size(), is_own(arena)),
            // SAFETY: the caller keeps the same promise to this function.
            _ => unsafe { System.dealloc(pointer, layout) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if owner(pointer).is_none() {
            // A buffer from the system's allocator stays there when it grows.
            count_system();
            // SAFETY: the caller keeps the same promise to this function.
            return unsafe { System.realloc(pointer, layout, size) };
        }
        let (_, length) = class(layout.size());
        if class(size).1 == length {
            return pointer;
        }
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else {
            return null_mut();
        };
        // SAFETY: the caller guarantees a size above zero; both blocks have at
        // least the smaller of the two sizes; the old one is not used again.
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

    thread_local! {
        static BETWEEN_LOADS: Cell<Option<fn()>> = const { Cell::new(None) };
    }

    /// Runs a test's code inside of `owner`, in the place of another thread.
    pub fn between_loads() {
        if let Some(work) = BETWEEN_LOADS.take() {
            work();
        }
    }

    /// An arena of its own, outside of the process's allocator.
    struct Own {
        arena: &'static Arena,
        start: usize,
        bytes: usize,
        _held: Held,
    }

    fn arena(bytes: usize) -> Own {
        let arena: &'static Arena = Box::leak(Box::new(Arena::new()));
        let memory: &'static mut [u64] = vec![0; bytes / 8 + GRAIN / 8].leak();
        let start = (memory.as_mut_ptr() as usize).next_multiple_of(GRAIN);
        let held = arena.hold().unwrap();
        arena.reset_if_empty(start, bytes);
        Own {
            arena,
            start,
            bytes,
            _held: held,
        }
    }

    impl std::ops::Deref for Own {
        type Target = Arena;

        fn deref(&self) -> &Arena {
            self.arena
        }
    }

    impl Own {
        fn begin_scope(&self) {
            self.arena.reset_if_empty(self.start, self.bytes);
        }
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
        let arena = arena(1 << 12);
        let first = arena.take(layout(100, 8)).unwrap();
        let second = arena.take(layout(1000, 64)).unwrap();
        arena.give(first, 100, false);
        arena.begin_scope();
        assert_ne!(arena.take(layout(100, 8)).unwrap(), first, "one is in use");
        arena.give(second, 1000, false);
        arena.give(second, 100, false);
        arena.begin_scope();
        assert_eq!(arena.take(layout(100, 8)).unwrap(), first);
    }

    #[test]
    fn a_size_that_changes_while_a_pointer_is_looked_at_changes_no_owner() {
        // A pointer of the system's allocator, looked up while arenas appear,
        // grow, shrink and vanish. If `owner` read a start and an end one after
        // the other, it would take the pointer for an arena's.
        let outside = Box::into_raw(Box::new(0_u64));
        let sizes: [fn(); 4] = [
            || reserve(1 << 20).unwrap(),
            || reserve(8 << 20).unwrap(),
            || reserve(PAGE).unwrap(),
            || reserve(0).unwrap(),
        ];
        for change in sizes {
            BETWEEN_LOADS.set(Some(change));
            assert!(owner(outside.cast()).is_none());
            assert!(BETWEEN_LOADS.take().is_none(), "it did not happen");
        }
        // Every address of an arena's range has the same owner, whatever size
        // the arenas have.
        let start = START.load(Ordering::Relaxed);
        for (index, arena) in ARENA.iter().enumerate() {
            for at in [0, MOST - 1] {
                for change in sizes {
                    BETWEEN_LOADS.set(Some(change));
                    let owner = owner((start + index * MOST + at) as *mut u8).unwrap();
                    assert!(std::ptr::eq(owner, arena));
                }
            }
        }
        assert!(owner((start + ARENAS * MOST) as *mut u8).is_none());
        assert!(owner((start - 1) as *mut u8).is_none());
        // SAFETY: it came from `Box::into_raw` above.
        drop(unsafe { Box::from_raw(outside) });
    }

    #[test]
    fn an_arena_takes_a_new_size_when_it_is_empty() {
        let mut arena = arena(1 << 13);
        let block = arena.take(layout(5000, 8)).unwrap();
        arena.bytes = 1 << 12;
        arena.begin_scope();
        assert!(arena.take(layout(2000, 8)).is_some(), "it keeps its size");
        arena.give(block, 5000, false);
        arena.give(block, 2000, false);
        arena.begin_scope();
        assert!(arena.take(layout(5000, 8)).is_none(), "it has shrunk");
        arena.bytes = 1 << 13;
        arena.begin_scope();
        assert!(arena.take(layout(5000, 8)).is_some(), "it has grown");
    }

    #[test]
    fn a_freed_block_serves_again_in_the_same_scope() {
        let arena = arena(1 << 12);
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
            let arena = arena(1 << 16);
            let mut blocks: Vec<(NonNull<u8>, usize, u8)> = Vec::new();
            for (number, (size, align, which)) in steps.into_iter().enumerate() {
                let mark = number as u8;
                match arena.take(layout(size, 1 << align)) {
                    Some(block) => {
                        prop_assert_eq!(block.as_ptr() as usize % (1 << align), 0);
                        // SAFETY: the block is that long; if it is not, the
                        // checks of the marks below fail.
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
