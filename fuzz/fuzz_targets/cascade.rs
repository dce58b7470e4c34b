//! A cascade's XML: it is read and used for a search, or refused.
#![no_main]

use affectd::detect::{Cascade, Detector, Options};
use affectd::frame::LumaView;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(xml) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(cascade) = Cascade::parse(xml) else {
        return;
    };
    let Ok(mut detector) = Detector::new(cascade, Options::default()) else {
        return;
    };
    let pixels: Vec<u8> = (0..48 * 48_u32).map(|n| (n * 37 % 251) as u8).collect();
    let picture = LumaView::new(&pixels, 48, 48, 48).expect("numbers that fit");
    for found in detector.detect(picture) {
        let rect = found.rect;
        assert!(rect.x >= 0 && rect.y >= 0);
        assert!(rect.x + rect.width as i32 <= 48 && rect.y + rect.height as i32 <= 48);
    }
});
