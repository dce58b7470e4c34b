//! A JPEG as a camera delivers it: whatever it holds, luma comes out whole or
//! an error does.
#![no_main]

use affectd::image::{self, LumaImage};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut image = LumaImage::default();
    if image::luma(data, &mut image).is_ok() {
        let view = image.try_view().expect("a whole picture");
        assert!(view.width() <= 8000 && view.height() <= 8000);
    }
});
