//! After its first face the classifier does not touch the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use affectd::classify::Classifier;
use affectd::frame::{LumaView, Rect};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn faces_of_any_size_are_classified_without_the_heap() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/classify/tiny");
    let mut classifier = Classifier::load(&model).unwrap();
    let pixels: Vec<u8> = (0..320 * 240).map(|i| ((i * 7919) >> 4) as u8).collect();
    let picture = LumaView::new(&pixels, 320, 240, 320).unwrap();
    classifier.reserve(320, 240);
    let before = ALLOCATIONS.with(Cell::get);
    assert!(before > 0, "the counter does not count");
    let mut sum = 0.0;
    for side in 1..=320 {
        let face = Rect::new(side as i32 / 2 - 60, 20, side, side);
        sum += classifier.classify(&picture, face).unwrap().0[0];
    }
    sum += classifier.classify_whole(&picture).unwrap().0[0];
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
    assert!(sum > 0.0);
}
