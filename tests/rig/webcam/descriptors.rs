//! The webcam's USB 2.0 and UVC 1.0 descriptors (Universal Serial Bus Device
//! Class Definition for Video Devices, 3.7 to 3.9).

/// Sizes in the order of the frame descriptors, which count from 1.
pub const SIZES: [(u16, u16); 2] = [(640, 480), (320, 240)];

/// Format descriptors count from 1 too.
pub const YUYV: u8 = 1;
pub const MJPG: u8 = 2;

/// Units of 100 ns.
pub const INTERVAL_30: u32 = 333_333;
const INTERVAL_10: u32 = 1_000_000;

/// V4L2 uses this as the card's name.
pub const PRODUCT: &str = "Rig Webcam";

/// The largest payload in one bulk transfer, header included.
pub const PAYLOAD: u32 = 16_384;

pub const DEVICE: [u8; 18] = [
    18, 1, 0x00, 0x02, // USB 2.0
    0xef, 2, 1,  // interfaces are associated
    64, // bytes of endpoint 0
    0x6b, 0x1d, 0x02, 0x01, // Linux Foundation
    0x00, 0x01, 1, 2, 3, // strings
    1, // one configuration
];

/// String `index`, `None` where there is none.
pub fn string(index: u8) -> Option<Vec<u8>> {
    let text = match index {
        // The list of languages: US English.
        0 => return Some(vec![4, 3, 0x09, 0x04]),
        1 => "affectd",
        2 => PRODUCT,
        3 => "rig-0001",
        _ => return None,
    };
    let mut string = vec![0, 3];
    string.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    string[0] = string.len() as u8;
    Some(string)
}

pub fn configuration() -> Vec<u8> {
    let mut streaming = vec![
        // Video streaming interface, one bulk endpoint.
        9, 4, 1, 0, 1, 14, 2, 0, 0,
    ];
    let formats = formats();
    // Its header: two formats, endpoint 0x81, to output terminal 2.
    let header = 13 + 2;
    streaming.extend([header, 0x24, 1, 2]);
    streaming.extend((u16::from(header) + formats.len() as u16).to_le_bytes());
    streaming.extend([0x81, 0, 2, 0, 0, 0, 1, 0, 0]);
    streaming.extend(formats);
    streaming.extend([7, 5, 0x81, 2, 0x00, 0x02, 0]);

    let mut control = vec![
        // Both interfaces belong together.
        8, 11, 0, 2, 14, 3, 0, 2, //
        // Video control interface.
        9, 4, 0, 0, 0, 14, 1, 0, 2,
    ];
    let camera = [
        18, 0x24, 2, 1, 0x01, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0,
    ];
    let output = [9, 0x24, 3, 2, 0x01, 0x01, 0, 1, 0];
    control.extend([13, 0x24, 1, 0x00, 0x01]);
    control.extend((13 + camera.len() as u16 + output.len() as u16).to_le_bytes());
    control.extend(48_000_000_u32.to_le_bytes());
    control.extend([1, 1]);
    control.extend(camera);
    control.extend(output);

    let mut whole = vec![9, 2, 0, 0, 2, 1, 0, 0x80, 250];
    whole.extend(control);
    whole.extend(streaming);
    let length = whole.len() as u16;
    whole[2..4].copy_from_slice(&length.to_le_bytes());
    whole
}

fn formats() -> Vec<u8> {
    let mut all = vec![27, 0x24, 4, YUYV, SIZES.len() as u8];
    // The format's GUID begins with its four characters.
    all.extend(*b"YUY2\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71");
    all.extend([16, 1, 0, 0, 0, 0]);
    frames(&mut all, 5);
    all.extend([11, 0x24, 6, MJPG, SIZES.len() as u8, 1, 1, 0, 0, 0, 0]);
    frames(&mut all, 7);
    all
}

fn frames(into: &mut Vec<u8>, kind: u8) {
    for (index, (width, height)) in SIZES.into_iter().enumerate() {
        let bytes = u32::from(width) * u32::from(height) * 2;
        into.extend([34, 0x24, kind, index as u8 + 1, 0]);
        into.extend(width.to_le_bytes());
        into.extend(height.to_le_bytes());
        into.extend((bytes * 8 * 10).to_le_bytes());
        into.extend((bytes * 8 * 30).to_le_bytes());
        into.extend(bytes.to_le_bytes());
        into.extend(INTERVAL_30.to_le_bytes());
        into.push(2);
        into.extend(INTERVAL_30.to_le_bytes());
        into.extend(INTERVAL_10.to_le_bytes());
    }
}
