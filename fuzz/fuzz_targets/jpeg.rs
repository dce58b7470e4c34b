//! A JPEG as a camera delivers it: whatever it contains, the result is complete
//! luma and RGB, or an error.
//!
//! The mutator knows the structure of JPEG. Besides bytes it changes sampling
//! factors, component numbers, sizes, tables, restart intervals and scan
//! headers; it moves, repeats, drops and cuts off segments and scans.
#![no_main]

use affectd::image::{self, LumaImage, RgbImage};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| {
    let mut luma = LumaImage::default();
    let is_luma = image::luma(data, &mut luma).is_ok();
    if is_luma {
        let view = luma.try_view().expect("a whole picture");
        assert!(view.width() <= 8000 && view.height() <= 8000);
        // A pixel that the decoder leaves out keeps what was there before.
        let mut again = luma.clone();
        again.pixels.iter_mut().for_each(|pixel| *pixel = !*pixel);
        image::luma(data, &mut again).expect("the same picture as before");
        assert_eq!(again, luma);
    }
    let mut rgb = RgbImage::default();
    if image::rgb(data, &mut rgb).is_ok() {
        assert_eq!(
            rgb.pixels.len(),
            rgb.width as usize * rgb.height as usize * 3
        );
        if is_luma {
            assert_eq!((rgb.width, rgb.height), (luma.width, luma.height));
        }
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random(u64::from(seed));
    if random.below(4) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let Some(mut segments) = split(&data[..size]) else {
        return fuzzer_mutate(data, size, max_size);
    };
    for _ in 0..=random.below(3) {
        mutate(&mut segments, &mut random);
    }
    let mut whole = vec![0xff, 0xd8];
    for segment in &segments {
        whole.extend_from_slice(segment);
    }
    match random.below(20) {
        0 => {}
        1 => whole.truncate(random.below(whole.len())),
        _ => whole.extend([0xff, 0xd9]),
    }
    let length = whole.len().min(max_size);
    data[..length].copy_from_slice(&whole[..length]);
    length
});

/// Random numbers of the generator SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}

type Segment = Vec<u8>;

const DHT: u8 = 0xc4;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;

/// The segments of a JPEG with their markers, each scan header with its data.
/// `None` if it is not a JPEG or has no segment.
fn split(data: &[u8]) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = data.get(at..at + 4) {
        if marker == 0xd9 {
            break;
        }
        let mut end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == SOS {
            while data
                .get(end..end + 2)
                .is_some_and(|pair| pair[0] != 0xff || is_of_scan(pair[1]))
            {
                end += 1;
            }
        }
        segments.push(data[at..end.min(data.len())].to_vec());
        at = end;
    }
    (data.starts_with(&[0xff, 0xd8]) && !segments.is_empty()).then_some(segments)
}

/// Whether scan data continues after this marker.
fn is_of_scan(marker: u8) -> bool {
    matches!(marker, 0x00 | 0x01 | 0xd0..=0xd7 | 0xff)
}

/// Changes the structure in one place.
fn mutate(segments: &mut Vec<Segment>, random: &mut Random) {
    if segments.is_empty() {
        return;
    }
    match random.below(12) {
        0 | 1 => change_sampling_factors(segments, random),
        2 => change_frame_header(segments, random),
        3 | 4 => move_scans(segments, random),
        5 => change_scan_header(segments, random),
        6 => change_scan_data(segments, random),
        7 => change_table(segments, random, DHT),
        8 => change_table(segments, random, DQT),
        9 => {
            let interval = random.one_of(&[0, 1, 2, 3, 4, 8, 255]);
            let place = random.below(segments.len() + 1);
            segments.insert(place, vec![0xff, 0xdd, 0, 4, 0, interval]);
        }
        10 => {
            let segment = random.below(segments.len());
            let marker = random.one_of(&[
                0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc9, 0xcc, 0xd8, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xe0,
                0xe1, 0xee, 0xfe, 0x01,
            ]);
            if let Some(byte) = segments[segment].get_mut(1) {
                *byte = marker;
            }
        }
        _ => {
            let segment = random.below(segments.len());
            if random.below(2) == 0 {
                segments.remove(segment);
            } else {
                let copy = segments[segment].clone();
                let place = random.below(segments.len() + 1);
                segments.insert(place, copy);
            }
        }
    }
}

/// The numbers of the segments whose marker `is_wanted`.
fn places(segments: &[Segment], is_wanted: impl Fn(u8) -> bool) -> Vec<usize> {
    (0..segments.len())
        .filter(|&i| segments[i].get(1).is_some_and(|&marker| is_wanted(marker)))
        .collect()
}

/// The frame header, if it has a component.
fn frame_header(segments: &mut [Segment]) -> Option<&mut Segment> {
    segments
        .iter_mut()
        .find(|segment| matches!(segment.get(1), Some(0xc0..=0xc2)) && segment.len() >= 13)
}

fn change_sampling_factors(segments: &mut [Segment], random: &mut Random) {
    if let Some(frame) = frame_header(segments) {
        let component = random.below((frame.len() - 10) / 3);
        frame[10 + 3 * component + 1] = random.one_of(&[
            0x11, 0x21, 0x12, 0x22, 0x41, 0x14, 0x42, 0x24, 0x31, 0x13, 0x32, 0x44, 0x01, 0x55,
        ]);
    }
}

/// Another size, component number, table number, or number of components.
fn change_frame_header(segments: &mut [Segment], random: &mut Random) {
    let Some(frame) = frame_header(segments) else {
        return;
    };
    let component = 10 + 3 * random.below((frame.len() - 10) / 3);
    match random.below(4) {
        0 => {
            let place = random.one_of(&[6, 8]);
            frame[place] = random.one_of(&[0, 1, 7, 8, 9, 16, 17, 40, 255]);
        }
        1 => frame[component] = random.one_of(&[0, 1, 2, 3, 4, b'R', b'G', b'B', 200]),
        2 => frame[component + 2] = random.one_of(&[0, 1, 2, 3, 4]),
        _ => {
            let count = random.one_of(&[1, 2, 3, 4]);
            frame.resize(10 + 3 * count, 0x11);
            frame[3] = 8 + 3 * count as u8;
            frame[9] = count as u8;
        }
    }
}

/// Exchanges two scans, repeats one or drops one.
fn move_scans(segments: &mut Vec<Segment>, random: &mut Random) {
    let scans = places(segments, |marker| marker == SOS);
    if scans.is_empty() {
        return;
    }
    let (scan, other) = (random.one_of(&scans), random.one_of(&scans));
    match random.below(3) {
        0 => segments.swap(scan, other),
        1 => {
            let copy = segments[scan].clone();
            segments.insert(other, copy);
        }
        _ => {
            segments.remove(scan);
        }
    }
}

/// Another number of components, component, table, range of coefficients or of
/// bits.
fn change_scan_header(segments: &mut [Segment], random: &mut Random) {
    let scans = places(segments, |marker| marker == SOS);
    if scans.is_empty() {
        return;
    }
    let scan = &mut segments[random.one_of(&scans)];
    let Some(&count) = scan.get(4) else { return };
    let parameters = 5 + 2 * usize::from(count.min(4));
    let (place, values): (_, &[u8]) = match random.below(6) {
        0 => (4, &[1, 2, 3, 4]),
        1 => (
            5 + random.below(2 * usize::from(count.min(4))),
            &[0, 1, 2, 3, 4, 0x10, 0x11, 0x22],
        ),
        2 => (parameters, &[0, 1, 2, 5, 6, 63, 64]),
        3 => (parameters + 1, &[0, 1, 5, 6, 62, 63, 64]),
        _ => (
            parameters + 2,
            &[0, 0x01, 0x10, 0x12, 0x21, 0x02, 0x0d, 0xed, 0x0e, 0x33],
        ),
    };
    if let Some(byte) = scan.get_mut(place) {
        *byte = random.one_of(values);
    }
}

/// Cuts a scan off, adds bytes, or puts a marker into it.
fn change_scan_data(segments: &mut [Segment], random: &mut Random) {
    let scans = places(segments, |marker| marker == SOS);
    if scans.is_empty() {
        return;
    }
    let scan = &mut segments[random.one_of(&scans)];
    if scan.len() < 8 {
        return;
    }
    let place = 8 + random.below(scan.len() - 7);
    match random.below(4) {
        0 => scan.truncate(place),
        1 => {
            let added = random.one_of(&[1, 2, 4, 20]);
            scan.extend((0..added).map(|_| random.below(255) as u8));
        }
        2 => {
            let marker = random.one_of(&[0xd0, 0xd1, 0xd2, 0xd7, 0x00, 0xff]);
            scan.splice(place..place, [0xff, marker]);
        }
        // The existing restart markers, in another order.
        _ => {
            for i in 8..scan.len() - 1 {
                if scan[i] == 0xff && matches!(scan[i + 1], 0xd0..=0xd7) && random.below(3) == 0 {
                    scan[i + 1] = 0xd0 + random.below(8) as u8;
                }
            }
        }
    }
}

/// Changes a byte of a table: its number, numbers of codes, symbols or steps.
fn change_table(segments: &mut [Segment], random: &mut Random, marker: u8) {
    let tables = places(segments, |found| found == marker);
    if tables.is_empty() {
        return;
    }
    let table = &mut segments[random.one_of(&tables)];
    if table.len() < 6 {
        return;
    }
    let place = if random.below(3) == 0 {
        4
    } else {
        4 + random.below(table.len() - 4)
    };
    table[place] = random.one_of(&[
        0, 1, 2, 3, 4, 0x10, 0x11, 0x12, 0x0f, 0x1f, 0x7f, 0xf0, 0xff,
    ]);
}
