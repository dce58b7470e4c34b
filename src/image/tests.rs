use super::*;
use crate::frame::MAX_SIDE;
use proptest::prelude::*;
use tempfile::tempdir;

/// A PNG of any kind, written by the crate.
fn encode_png(
    (width, height): (u32, u32),
    colour: ::png::ColorType,
    depth: ::png::BitDepth,
    palette: Option<&[u8]>,
    bytes: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut out, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(bytes).unwrap();
    writer.finish().unwrap();
    out
}

fn luma_of(bytes: &[u8]) -> Result<LumaImage, Fault> {
    let mut image = LumaImage::default();
    luma(bytes, &mut image).map(|()| image)
}

fn rgb_of(bytes: &[u8]) -> Result<RgbImage, Fault> {
    let mut image = RgbImage::default();
    rgb(bytes, &mut image).map(|()| image)
}

/// A smooth picture, which JPEG changes only a little.
fn slope(width: u16, height: u16) -> Vec<u8> {
    let mut pixels = Vec::new();
    for y in 0..u32::from(height) {
        for x in 0..u32::from(width) {
            let value = |k: u32| ((x * 3 + y * 5) / k % 200 + 20) as u8;
            pixels.extend([value(2), value(3), value(4)]);
        }
    }
    pixels
}

fn encode_jpeg(
    (width, height): (u16, u16),
    rgb: &[u8],
    sampling: jpeg_encoder::SamplingFactor,
    progressive: bool,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut out, 95);
    encoder.set_sampling_factor(sampling);
    encoder.set_progressive(progressive);
    encoder
        .encode(rgb, width, height, jpeg_encoder::ColorType::Rgb)
        .unwrap();
    out
}

fn jpeg_8x8() -> Vec<u8> {
    encode_jpeg(
        (8, 8),
        &slope(8, 8),
        jpeg_encoder::SamplingFactor::F_2_2,
        false,
    )
}

#[test]
fn png_of_every_kind() {
    use ::png::{BitDepth as D, ColorType as C};
    // Two pixels: the samples in the file, and the luma and colours that they
    // mean. The luma of colours is what OpenCV 4.14's imread gives for these
    // files.
    type Case = (C, D, &'static [u8], [u8; 2], [u8; 6]);
    #[rustfmt::skip]
    let cases: [Case; 12] = [
        (C::Grayscale, D::One, &[0b1000_0000], [255, 0], [255, 255, 255, 0, 0, 0]),
        (C::Grayscale, D::Two, &[0b1001_0000], [170, 85], [170, 170, 170, 85, 85, 85]),
        (C::Grayscale, D::Four, &[0x3f], [51, 255], [51, 51, 51, 255, 255, 255]),
        (C::Grayscale, D::Eight, &[7, 250], [7, 250], [7, 7, 7, 250, 250, 250]),
        (C::Grayscale, D::Sixteen, &[7, 255, 250, 0], [7, 250], [7, 7, 7, 250, 250, 250]),
        (C::GrayscaleAlpha, D::Eight, &[7, 0, 250, 99], [7, 250], [7, 7, 7, 250, 250, 250]),
        (C::GrayscaleAlpha, D::Sixteen, &[7, 9, 0, 0, 250, 9, 1, 1], [7, 250], [7, 7, 7, 250, 250, 250]),
        (C::Rgb, D::Eight, &[255, 0, 0, 10, 200, 30], [76, 123], [255, 0, 0, 10, 200, 30]),
        (C::Rgba, D::Eight, &[0, 255, 0, 0, 10, 200, 30, 77], [149, 123], [0, 255, 0, 10, 200, 30]),
        (C::Rgb, D::Sixteen, &[0, 0, 0, 0, 255, 255, 10, 0, 200, 0, 30, 0], [29, 123], [0, 0, 255, 10, 200, 30]),
        (C::Rgba, D::Sixteen, &[0, 0, 0, 0, 255, 255, 0, 0, 10, 0, 200, 0, 30, 0, 5, 5], [29, 123], [0, 0, 255, 10, 200, 30]),
        (C::Indexed, D::Eight, &[1, 0], [123, 255], [10, 200, 30, 255, 255, 255]),
    ];
    for (colour, depth, bytes, luma, rgb) in cases {
        let palette = [255, 255, 255, 10, 200, 30];
        let palette = (colour == C::Indexed).then_some(&palette[..]);
        let file = encode_png((2, 1), colour, depth, palette, bytes);
        assert_eq!(luma_of(&file).unwrap().pixels, luma, "{colour:?} {depth:?}");
        assert_eq!(rgb_of(&file).unwrap().pixels, rgb, "{colour:?} {depth:?}");
    }
}

/// The luma plane of a JPEG must not depend on how its chroma is sampled. The
/// reference is the same picture as a gray JPEG with the same quantisation.
#[test]
fn jpeg_luma_of_every_sampling_and_odd_size() {
    use jpeg_encoder::SamplingFactor as S;
    for (width, height) in [(1, 1), (8, 8), (17, 9), (33, 31), (40, 24), (64, 48)] {
        let rgb = slope(width, height);
        let gray = {
            let y: Vec<u8> = rgb
                .chunks_exact(3)
                .map(|p| jpeg::luma_of(p[0], p[1], p[2]))
                .collect();
            let mut out = Vec::new();
            jpeg_encoder::Encoder::new(&mut out, 95)
                .encode(&y, width, height, jpeg_encoder::ColorType::Luma)
                .unwrap();
            luma_of(&out).unwrap()
        };
        assert_eq!((gray.width, gray.height), (width.into(), height.into()));
        let usual = [S::F_1_1, S::F_2_1, S::F_1_2, S::F_2_2, S::F_4_1];
        for sampling in usual.into_iter().chain([S::F_4_2, S::F_1_4, S::F_2_4]) {
            for progressive in [false, true] {
                let file = encode_jpeg((width, height), &rgb, sampling, progressive);
                let what = format!("{width}x{height} {sampling:?} progressive {progressive}");
                let found = luma_of(&file).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!((found.width, found.height), (gray.width, gray.height));
                let worst = found
                    .pixels
                    .iter()
                    .zip(&gray.pixels)
                    .map(|(a, b)| a.abs_diff(*b))
                    .max();
                // Both are rounded before and after the transform.
                assert!(worst <= Some(3), "{what}: off by {worst:?}");
                let colours = rgb_of(&file).unwrap();
                assert_eq!(colours.pixels.len(), gray.pixels.len() * 3);
            }
        }
    }
}

/// The factors of a single component have no meaning, but some encoders write
/// 2x2.
#[test]
fn a_gray_jpeg_may_claim_to_be_sampled() {
    let rgb = slope(33, 31);
    let gray: Vec<u8> = rgb.chunks_exact(3).map(|p| p[1]).collect();
    let mut file = Vec::new();
    jpeg_encoder::Encoder::new(&mut file, 95)
        .encode(&gray, 33, 31, jpeg_encoder::ColorType::Luma)
        .unwrap();
    let plain = luma_of(&file).unwrap();
    let frame = file.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    assert_eq!(file[frame + 11], 0x11);
    file[frame + 11] = 0x22;
    assert_eq!(luma_of(&file).unwrap(), plain);
}

/// Pictures of any structure: one scan for each component, chroma first,
/// components together in any groups, progressive scans, restart markers, all
/// kinds of sampling factors. The PNGs contain libjpeg-turbo's luma, and both
/// were made by `scripts/compare-libjpeg --record tests/data/jpeg --seed 3`.
#[test]
fn jpeg_luma_of_any_structure_is_that_of_libjpeg() {
    let mut count = 0;
    for entry in fs::read_dir("tests/data/jpeg").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().unwrap() == "jpg" {
            let found = read_luma(&path).unwrap_or_else(|error| panic!("{error}"));
            let expected = read_luma(path.with_extension("png")).unwrap();
            assert!(found == expected, "{}", path.display());
            assert!(read_rgb(&path).is_ok(), "{}", path.display());
            count += 1;
        }
    }
    assert_eq!(count, 24);
}

/// Splits a JPEG into its segments, each scan header with its data.
fn segments(file: &[u8]) -> Vec<Vec<u8>> {
    let mut segments = Vec::new();
    let mut at = 2;
    while file[at + 1] != 0xd9 {
        let mut end = at + 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        if file[at + 1] == 0xda {
            while file[end] != 0xff || matches!(file[end + 1], 0x00 | 0xd0..=0xd7) {
                end += 1;
            }
        }
        segments.push(file[at..end].to_vec());
        at = end;
    }
    segments
}

fn joined(segments: &[Vec<u8>]) -> Vec<u8> {
    [&[0xff, 0xd8][..], &segments.concat(), &[0xff, 0xd9]].concat()
}

/// A progressive picture of many scans, and where they are.
fn many_scans() -> (Vec<Vec<u8>>, Vec<usize>) {
    let file = encode_jpeg(
        (40, 24),
        &slope(40, 24),
        jpeg_encoder::SamplingFactor::F_2_2,
        true,
    );
    let segments = segments(&file);
    let scans = (0..segments.len()).filter(|&i| segments[i][1] == 0xda);
    let scans = scans.collect();
    (segments, scans)
}

#[test]
fn scans_that_are_missing_doubled_or_out_of_order_are_no_picture() {
    let (whole, scans) = many_scans();
    assert!(luma_of(&joined(&whole)).is_ok());
    // Whether a scan has a part of the luma, whose number is in the frame header.
    let frame = whole.iter().find(|s| s[1] == 0xc2).unwrap();
    let number = frame[10];
    let has_luma = |segment: &[u8]| {
        segment[5..5 + 2 * usize::from(segment[4])]
            .iter()
            .step_by(2)
            .any(|&id| id == number)
    };
    let expected = luma_of(&joined(&whole)).unwrap();
    let mut refused = 0;
    for &scan in &scans {
        let mut missing = whole.clone();
        missing.remove(scan);
        let mut doubled = whole.clone();
        doubled.insert(scan, whole[scan].clone());
        for changed in [missing, doubled] {
            match luma_of(&joined(&changed)) {
                Ok(found) => {
                    assert!(!has_luma(&whole[scan]));
                    assert_eq!(found, expected);
                }
                Err(fault) => {
                    assert!(matches!(fault, Fault::Damaged { .. }), "{fault}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused >= 4, "{refused}");
}

/// With other factors the same data means other blocks, and never fits.
#[test]
fn wrong_sampling_factors_give_no_stripes() {
    let file = encode_jpeg(
        (48, 48),
        &slope(48, 48),
        jpeg_encoder::SamplingFactor::F_2_2,
        false,
    );
    let frame = file.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    assert_eq!(file[frame + 11], 0x22);
    for factors in [0x00, 0x11, 0x12, 0x21, 0x41, 0x14, 0x33, 0x42, 0x44, 0x55] {
        let mut wrong = file.clone();
        wrong[frame + 11] = factors;
        assert!(luma_of(&wrong).is_err(), "{factors:#x}");
    }
}

#[test]
fn luma_with_fewer_samples_than_chroma_is_refused_in_words() {
    use jpeg_encoder::SamplingFactor as S;
    let mut file = encode_jpeg((16, 16), &slope(16, 16), S::F_1_1, false);
    let frame = file.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    file[frame + 14] = 0x21;
    let fault = luma_of(&file).unwrap_err();
    assert!(fault.to_string().contains("fewer samples"), "{fault}");
}

#[test]
fn what_is_not_decoded_is_named() {
    for (marker, word) in [
        (0xc3, "lossless"),
        (0xc5, "hierarchical"),
        (0xc9, "arithmetic"),
        (0xca, "arithmetic"),
    ] {
        let mut file = jpeg_8x8();
        let frame = file.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        file[frame + 1] = marker;
        let fault = luma_of(&file).unwrap_err();
        assert!(matches!(fault, Fault::Unsupported { .. }), "{fault}");
        assert!(fault.to_string().contains(word), "{fault}");
    }
}

/// Cameras fill the space before the end marker.
#[test]
fn a_few_bytes_before_the_end_marker_are_passed_over() {
    let whole = jpeg_8x8();
    let end = whole.len() - 2;
    let padded = |count| [&whole[..end], &vec![0; count], &whole[end..]].concat();
    for count in [1, 4, 16] {
        assert_eq!(luma_of(&padded(count)), luma_of(&whole));
    }
    assert!(luma_of(&padded(17)).is_err());
}

#[test]
fn a_jpeg_without_huffman_tables_gets_the_standard_ones() {
    let whole = jpeg_8x8();
    // Without DHT segments, as from webcams.
    let mut bare = whole[..2].to_vec();
    let mut at = 2;
    while whole[at + 1] != 0xda {
        let end = at + 2 + usize::from(u16::from_be_bytes([whole[at + 2], whole[at + 3]]));
        if whole[at + 1] != 0xc4 {
            bare.extend_from_slice(&whole[at..end]);
        }
        at = end;
    }
    bare.extend_from_slice(&whole[at..]);
    assert!(bare.len() + 400 < whole.len());
    assert_eq!(luma_of(&bare).unwrap(), luma_of(&whole).unwrap());
    assert_eq!(rgb_of(&bare).unwrap(), rgb_of(&whole).unwrap());
}

#[test]
fn a_blank_picture_is_gray_in_every_size() {
    for (width, height) in [(1, 1), (17, 33), (640, 480), (1281, 719)] {
        let image = luma_of(&jpeg::blank(width, height)).unwrap();
        assert_eq!((image.width, image.height), (width.into(), height.into()));
        assert!(
            image.pixels.iter().all(|luma| *luma == 128),
            "{width}x{height}"
        );
    }
}

#[test]
fn coefficients_behind_the_end_of_a_block_are_refused() {
    // Of the first block: no difference in DC, three times 16 zeros, then 15
    // zeros and a coefficient, which has the place 64 of 0 to 63.
    let bits = [
        "00",
        "11111111001",
        "11111111001",
        "11111111001",
        "1111111111110101",
        "1",
    ];
    let mut bits = bits.concat();
    bits.push_str(&"0".repeat(64 - bits.len()));
    let mut file = jpeg::blank(16, 16);
    file.truncate(file.len() - 6);
    for byte in bits.as_bytes().chunks(8) {
        let byte = byte.iter().fold(0, |sum, bit| sum << 1 | (bit - b'0'));
        file.push(byte);
        if byte == 0xff {
            file.push(0);
        }
    }
    file.extend([0xff, 0xd9]);
    for fault in [luma_of(&file).unwrap_err(), rgb_of(&file).unwrap_err()] {
        let text = fault.to_string();
        assert!(text.contains("picture data makes no sense"), "{text}");
    }
}

#[test]
fn a_picture_is_turned_upright() {
    // 16x8, dark on the left.
    let pixels: Vec<u8> = (0..16 * 8)
        .map(|i| if i % 16 < 8 { 40 } else { 200 })
        .collect();
    let mut plain = Vec::new();
    jpeg_encoder::Encoder::new(&mut plain, 95)
        .encode(&pixels, 16, 8, jpeg_encoder::ColorType::Luma)
        .unwrap();
    let with_orientation = |value: u8| {
        let mut exif = vec![0xff, 0xe1, 0, 34];
        exif.extend_from_slice(b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0");
        exif.extend_from_slice(&[value, 0, 0, 0, 0, 0, 0]);
        [&plain[..2], &exif, &plain[2..]].concat()
    };
    for (value, size, corner) in [
        (1, (16, 8), 40),
        (2, (16, 8), 200),
        (3, (16, 8), 200),
        (4, (16, 8), 40),
        (5, (8, 16), 40),
        (6, (8, 16), 40),
        (7, (8, 16), 200),
        (8, (8, 16), 200),
        (9, (16, 8), 40),
    ] {
        let file = with_orientation(value);
        let image = luma_of(&file).unwrap();
        assert_eq!((image.width, image.height), size, "orientation {value}");
        assert!(image.pixels[0].abs_diff(corner) < 3, "orientation {value}");
        let colours = rgb_of(&file).unwrap();
        assert_eq!((colours.width, colours.height), size);
        assert!(colours.pixels[0].abs_diff(corner) < 3);
    }
}

/// The EXIF orientation of a PNG stands in its chunk eXIf, before or behind the
/// pixels.
#[test]
fn a_png_is_turned_upright() {
    use ::png::{BitDepth, ColorType};
    let plain = encode_png(
        (2, 1),
        ColorType::Grayscale,
        BitDepth::Eight,
        None,
        &[40, 200],
    );
    let mut chunk = b"eXIfMM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    let places = [33, plain.len() - 12];
    for (value, size, pixels) in [
        (1, (2, 1), [40, 200]),
        (2, (2, 1), [200, 40]),
        (3, (2, 1), [200, 40]),
        (6, (1, 2), [40, 200]),
        (8, (1, 2), [200, 40]),
        (9, (2, 1), [40, 200]),
    ] {
        chunk.truncate(23);
        chunk.extend([value, 0, 0, 0, 0, 0, 0]);
        let whole = [
            &(chunk.len() as u32 - 4).to_be_bytes()[..],
            &chunk,
            &crc(&chunk).to_be_bytes(),
        ]
        .concat();
        for place in places {
            let file = [&plain[..place], &whole, &plain[place..]].concat();
            let image = luma_of(&file).unwrap();
            assert_eq!((image.width, image.height), size, "orientation {value}");
            assert_eq!(image.pixels, pixels, "orientation {value}");
            assert_eq!(rgb_of(&file).unwrap().width, size.0);
        }
    }
}

/// The checksum of a PNG's chunk.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}

#[test]
fn broken_files_say_what_is_wrong() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("picture.png");
    let fault_of = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = read_luma(&path).unwrap_err();
        assert!(error.to_string().contains("picture.png"), "{error}");
        assert!(read_rgb(&path).is_err());
        match error {
            MediaError::Picture { fault, .. } => fault,
            other => panic!("{other}"),
        }
    };
    assert_eq!(fault_of(b""), Fault::Empty);
    assert_eq!(fault_of(b"GIF89a"), Fault::NotAPicture);
    assert_eq!(fault_of(b"\x89PN"), Fault::Truncated("file"));

    let png = encode_png(
        (9, 9),
        ::png::ColorType::Rgb,
        ::png::BitDepth::Eight,
        None,
        &slope(9, 9),
    );
    let jpeg = encode_jpeg(
        (9, 9),
        &slope(9, 9),
        jpeg_encoder::SamplingFactor::F_2_2,
        false,
    );
    // A picture that is cut anywhere is an error. (The chunks after a PNG's
    // pixels may be missing.)
    let pixels_end = png.windows(4).position(|w| w == b"IEND").unwrap() - 8;
    for cut in 10..pixels_end {
        assert!(luma_of(&png[..cut]).is_err(), "PNG cut at {cut}");
    }
    // Without its end marker a JPEG is still complete.
    for end in [jpeg.len() - 2, jpeg.len() - 1] {
        assert_eq!(luma_of(&jpeg[..end]), luma_of(&jpeg));
    }
    for cut in 4..jpeg.len() - 2 {
        assert_eq!(
            luma_of(&jpeg[..cut]),
            Err(Fault::Truncated("JPEG")),
            "JPEG cut at {cut}"
        );
    }

    let missing = read_luma(directory.path().join("none.png")).unwrap_err();
    assert!(matches!(missing, MediaError::Read { .. }));
    assert!(matches!(
        read_luma(directory.path()),
        Err(MediaError::Read { .. })
    ));
}

#[test]
fn sizes_are_checked_before_memory_is_taken() {
    let mut png = encode_png(
        (1, 1),
        ::png::ColorType::Grayscale,
        ::png::BitDepth::Eight,
        None,
        &[0],
    );
    // Another width in IHDR, with the checksum that belongs to it.
    png[16..20].copy_from_slice(&100_000u32.to_be_bytes());
    let checksum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(
        luma_of(&png),
        Err(Fault::Size {
            width: 100_000,
            height: 1
        })
    );

    let mut jpeg = jpeg_8x8();
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    jpeg[frame + 7..frame + 9].copy_from_slice(&8001u16.to_be_bytes());
    assert_eq!(
        luma_of(&jpeg),
        Err(Fault::Size {
            width: 8001,
            height: 8
        })
    );
}

#[test]
fn the_smallest_picture_and_a_long_one() {
    for (width, height) in [(1, 1), (MAX_SIDE, 1), (1, MAX_SIDE)] {
        let pixels = vec![77; (width * height) as usize];
        let view = LumaView::new(&pixels, width, height, width as usize).unwrap();
        let directory = tempdir().unwrap();
        let path = directory.path().join("a.png");
        write_png_luma(&path, view).unwrap();
        let read = read_luma(&path).unwrap();
        assert_eq!((read.width, read.height), (width, height));
        assert_eq!(read.pixels, pixels);
    }
}

#[test]
fn a_written_picture_can_be_read_again() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("a.png");
    // A view with gaps between its rows.
    let data = [1, 2, 9, 3, 4];
    write_png_luma(&path, LumaView::new(&data, 2, 2, 3).unwrap()).unwrap();
    assert_eq!(read_luma(&path).unwrap().pixels, [1, 2, 3, 4]);
    let image = RgbImage {
        width: 3,
        height: 2,
        pixels: slope(3, 2),
    };
    write_png_rgb(&path, &image).unwrap();
    assert_eq!(read_rgb(&path).unwrap(), image);
    // Only the picture is left.
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_picture_that_cannot_be_written_leaves_nothing_behind() {
    let directory = tempdir().unwrap();
    let image = RgbImage {
        width: 2,
        height: 2,
        pixels: vec![0; 12],
    };
    let nowhere = directory.path().join("no/such/a.png");
    let error = write_png_rgb(&nowhere, &image).unwrap_err().to_string();
    assert!(error.contains("no/such/a.png"), "{error}");
    // A directory has the name, so the last step fails.
    let taken = directory.path().join("taken.png");
    fs::create_dir(&taken).unwrap();
    assert!(write_png_rgb(&taken, &image).is_err());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let wrong = RgbImage {
        width: 2,
        height: 3,
        pixels: vec![0; 12],
    };
    assert!(matches!(
        write_png_rgb(directory.path().join("b.png"), &wrong),
        Err(MediaError::Shape { .. })
    ));
}

/// Damages a whole picture in a few places.
fn damage(file: &mut [u8], places: &[(usize, u8)]) {
    for &(at, value) in places {
        let at = at % file.len();
        file[at] = value;
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(mut data in proptest::collection::vec(any::<u8>(), 0..200), head in 0usize..5) {
        let magic: &[u8] = [&b""[..], png::MAGIC, jpeg::START, b"P5 9 7 255 ", b"P2 3 2 "][head];
        data.splice(0..0, magic.iter().copied());
        let _ = luma_of(&data);
        let _ = rgb_of(&data);
    }

    #[test]
    fn no_damage_panics(
        places in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..12),
        width in 1u16..40, height in 1u16..40, sampling in 0usize..4, progressive: bool,
    ) {
        use jpeg_encoder::SamplingFactor as S;
        let sampling = [S::F_1_1, S::F_2_1, S::F_1_2, S::F_2_2][sampling];
        let rgb = slope(width, height);
        let mut file = encode_jpeg((width, height), &rgb, sampling, progressive);
        damage(&mut file, &places);
        if let Ok(image) = luma_of(&file) {
            prop_assert!(image.try_view().is_ok());
        }
        let _ = rgb_of(&file);
        let size = (u32::from(width), u32::from(height));
        let mut file = encode_png(size, ::png::ColorType::Rgb, ::png::BitDepth::Eight, None, &rgb);
        damage(&mut file, &places);
        if let Ok(image) = luma_of(&file) {
            prop_assert!(image.try_view().is_ok());
        }
    }
}
