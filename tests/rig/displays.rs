//! The pictures on the displays: the recorded messages, replayed as the
//! displays' controllers would, and the framebuffer's memory.

use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use png::{ColorType, Decoder, Encoder, Transformations};

use crate::guest::PATIENCE;

/// A picture with three bytes per pixel.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<[u8; 3]>,
}

const DARK: [u8; 3] = [0; 3];
const LIT: [u8; 3] = [255; 3];

impl Shown {
    fn dark(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: vec![DARK; width * height],
        }
    }

    /// A picture file of the display kind "png".
    pub fn read_png(path: &str) -> Option<Self> {
        let file = std::io::BufReader::new(fs::File::open(path).ok()?);
        let mut decoder = Decoder::new(file);
        decoder.set_transformations(Transformations::EXPAND);
        let mut reader = decoder.read_info().expect("a whole file at any time");
        let mut bytes = vec![0; reader.output_buffer_size()?];
        let info = reader.next_frame(&mut bytes).expect("a whole picture");
        let pixels = match info.color_type {
            ColorType::Grayscale => bytes.iter().map(|&grey| [grey; 3]).collect(),
            _ => bytes.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect(),
        };
        Some(Self {
            width: info.width as usize,
            height: info.height as usize,
            pixels,
        })
    }

    /// Waits until a device shows the same picture as a display of kind "png"
    /// of the same size.
    pub fn wait_for_same(what: &str, path: &str, mut device: impl FnMut() -> Self) -> Duration {
        let start = Instant::now();
        loop {
            let (shown, drawn) = (device(), Self::read_png(path));
            if drawn.as_ref().is_some_and(|drawn| drawn.is_like(&shown)) {
                shown.keep(what);
                return start.elapsed();
            }
            if start.elapsed() > PATIENCE {
                shown.keep(&format!("{what}-is"));
                if let Some(drawn) = drawn {
                    drawn.keep(&format!("{what}-should-be"));
                }
                panic!("{what} does not show what it should");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// An expected picture of tests/data/display: '#' is lit.
    pub fn read_text(name: &str) -> Self {
        let text = fs::read_to_string(Path::new("/rig/display").join(name)).expect(name);
        let rows: Vec<&str> = text.lines().collect();
        Self {
            width: rows[0].len(),
            height: rows.len(),
            pixels: rows
                .iter()
                .flat_map(|row| row.bytes())
                .map(|byte| if byte == b'#' { LIT } else { DARK })
                .collect(),
        }
    }

    /// The upper left part of a picture, with this size.
    pub fn corner(&self, width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: (0..height)
                .flat_map(|y| &self.pixels[y * self.width..][..width])
                .copied()
                .collect(),
        }
    }

    /// Whether two pictures are the same except for rounded colours: a device
    /// with five bits per colour has steps of 8, and each layer of a soft edge
    /// may add one step.
    pub fn is_like(&self, other: &Self) -> bool {
        let near = |a: &[u8; 3], b: &[u8; 3]| a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 32);
        (self.width, self.height) == (other.width, other.height)
            && self
                .pixels
                .iter()
                .zip(&other.pixels)
                .all(|(a, b)| near(a, b))
    }

    /// Leaves the picture in the rig's output.
    pub fn keep(&self, name: &str) {
        let path = format!("/out/{name}.png");
        let file = fs::File::create(&path).expect(&path);
        let mut encoder = Encoder::new(file, self.width as u32, self.height as u32);
        encoder.set_color(ColorType::Rgb);
        let mut writer = encoder.write_header().expect(&path);
        writer
            .write_image_data(self.pixels.as_flattened())
            .expect(&path);
    }
}

impl fmt::Display for Shown {
    /// As text of dark and lit pixels, for failures.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in self.pixels.chunks(self.width) {
            let line: String = row
                .iter()
                .map(|p| if *p == DARK { '.' } else { '#' })
                .collect();
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

/// An SSD1306 with 128x64 pixels on the recorded I2C bus (data sheet, section
/// 10), as far as affectd uses it: horizontal addressing, no scrolling.
pub struct Oled {
    memory: [u8; 128 * 8],
    columns: (u8, u8),
    pages: (u8, u8),
    column: u8,
    page: u8,
    pub on: bool,
    inverted: bool,
    /// Segment 127 is the leftmost column.
    mirrored: bool,
    /// The last row is the topmost.
    upside_down: bool,
    command: Vec<u8>,
    /// Number of commands that switch the controller on or off: each
    /// initialisation has some.
    pub initialised: u32,
}

impl Oled {
    pub fn new() -> Self {
        // Drops the messages of earlier scenarios.
        take("recorded-i2c");
        Self {
            memory: [0; 128 * 8],
            columns: (0, 127),
            pages: (0, 7),
            column: 0,
            page: 0,
            on: false,
            inverted: false,
            mirrored: false,
            upside_down: false,
            command: Vec::new(),
            initialised: 0,
        }
    }

    /// The picture after all messages so far.
    pub fn shown(&mut self) -> Shown {
        let log = take("recorded-i2c");
        let mut rest = &log[..];
        while let [_address, read, low, high, tail @ ..] = rest {
            let (message, tail) = tail.split_at(usize::from(u16::from_le_bytes([*low, *high])));
            rest = tail;
            if *read == 0 {
                self.hear(message);
            }
        }
        let mut shown = Shown::dark(128, 64);
        for (at, pixel) in shown.pixels.iter_mut().enumerate() {
            let (x, y) = (at % 128, at / 128);
            let x = if self.mirrored { x } else { 127 - x };
            let y = if self.upside_down { y } else { 63 - y };
            let bit = self.memory[y / 8 * 128 + x] >> (y % 8) & 1 == 1;
            if self.on && bit != self.inverted {
                *pixel = LIT;
            }
        }
        shown
    }

    /// A message: a control byte says whether commands or data follow; its bit
    /// 7 says that only one byte follows.
    fn hear(&mut self, mut message: &[u8]) {
        while let [control, rest @ ..] = message {
            let single = control & 0x80 != 0;
            let (bytes, tail) = rest.split_at(if single { 1 } else { rest.len() });
            for &byte in bytes {
                if control & 0x40 == 0 {
                    self.take_command(byte);
                } else {
                    self.take_data(byte);
                }
            }
            message = tail;
        }
    }

    fn take_command(&mut self, byte: u8) {
        self.command.push(byte);
        let arguments = match self.command[0] {
            0x20 | 0x81 | 0x8d | 0xa8 | 0xd3 | 0xd5 | 0xd9 | 0xda | 0xdb | 0xad => 1,
            0x21 | 0x22 => 2,
            _ => 0,
        };
        if self.command.len() <= arguments {
            return;
        }
        let command = std::mem::take(&mut self.command);
        match command[..] {
            [0xae] => self.on = false,
            [0xaf] => self.on = true,
            [0xa6 | 0xa7] => self.inverted = command[0] == 0xa7,
            [0xa0 | 0xa1] => self.mirrored = command[0] == 0xa1,
            [0xc0 | 0xc8] => self.upside_down = command[0] == 0xc8,
            [0x20, mode] => {
                assert_eq!(mode, 0, "only horizontal addressing is replayed");
                self.initialised += 1;
            }
            [0x21, start, end] => {
                self.columns = (start, end);
                self.column = start;
            }
            [0x22, start, end] => {
                self.pages = (start, end);
                self.page = start;
            }
            _ => {}
        }
    }

    fn take_data(&mut self, byte: u8) {
        self.memory[usize::from(self.page) * 128 + usize::from(self.column)] = byte;
        if self.column < self.columns.1 {
            self.column += 1;
            return;
        }
        self.column = self.columns.0;
        self.page = if self.page < self.pages.1 {
            self.page + 1
        } else {
            self.pages.0
        };
    }
}

/// An ST7789 with 240x240 pixels on the recorded SPI bus (data sheet, section
/// 9), as far as affectd uses it: 16 bits a pixel, not rotated.
pub struct Tft {
    memory: Shown,
    columns: (u16, u16),
    rows: (u16, u16),
    x: u16,
    y: u16,
    pub on: bool,
    command: u8,
    arguments: Vec<u8>,
}

impl Tft {
    pub fn new() -> Self {
        take("recorded-spi");
        Self {
            memory: Shown::dark(240, 240),
            columns: (0, 239),
            rows: (0, 239),
            x: 0,
            y: 0,
            on: false,
            command: 0,
            arguments: Vec::new(),
        }
    }

    pub fn shown(&mut self) -> Shown {
        let log = take("recorded-spi");
        let mut rest = &log[..];
        while let [data, _, _, _, _, _, _, _, a, b, c, d, tail @ ..] = rest {
            let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            let (bytes, tail) = tail.split_at(length);
            rest = tail;
            match data {
                0 => bytes.iter().for_each(|&byte| self.take_command(byte)),
                1 => bytes.iter().for_each(|&byte| self.take_data(byte)),
                level => panic!("the data/command line's level is {level}"),
            }
        }
        if self.on {
            self.memory.clone()
        } else {
            Shown::dark(240, 240)
        }
    }

    fn take_command(&mut self, command: u8) {
        self.command = command;
        self.arguments.clear();
        match command {
            0x28 => self.on = false,
            0x29 => self.on = true,
            0x2c => (self.x, self.y) = (self.columns.0, self.rows.0),
            _ => {}
        }
    }

    fn take_data(&mut self, byte: u8) {
        self.arguments.push(byte);
        match (self.command, &self.arguments[..]) {
            (0x2a | 0x2b, &[a, b, c, d]) => {
                let range = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                if self.command == 0x2a {
                    self.columns = range;
                } else {
                    self.rows = range;
                }
            }
            (0x3a, &[format]) => assert_eq!(format & 7, 5, "only 16 bits a pixel are replayed"),
            (0x2c, &[high, low]) => {
                self.arguments.clear();
                self.take_pixel(u16::from_be_bytes([high, low]));
            }
            _ => {}
        }
    }

    fn take_pixel(&mut self, pixel: u16) {
        let at = usize::from(self.y) * 240 + usize::from(self.x);
        self.memory.pixels[at] = rgb565(pixel);
        if self.x < self.columns.1 {
            self.x += 1;
            return;
        }
        self.x = self.columns.0;
        self.y = if self.y < self.rows.1 {
            self.y + 1
        } else {
            self.rows.0
        };
    }
}

/// The framebuffer /dev/fb0 with 16 bits a pixel, as the rig loads vfb. Red is
/// in the lowest bits, unlike on the TFT.
pub fn framebuffer(width: usize, height: usize) -> Shown {
    let memory = fs::read("/dev/fb0").expect("/dev/fb0");
    Shown {
        width,
        height,
        pixels: memory
            .chunks_exact(2)
            .take(width * height)
            .map(|pixel| {
                let [blue, green, red] = rgb565(u16::from_le_bytes([pixel[0], pixel[1]]));
                [red, green, blue]
            })
            .collect(),
    }
}

fn rgb565(pixel: u16) -> [u8; 3] {
    let scale = |value: u16, most: u16| (value * 255 / most) as u8;
    [
        scale(pixel >> 11, 31),
        scale(pixel >> 5 & 63, 63),
        scale(pixel & 31, 31),
    ]
}

/// Takes the messages that a recorder has stored.
fn take(recorder: &str) -> Vec<u8> {
    let folder = Path::new("/sys/kernel/debug").join(recorder);
    let lost = fs::read_to_string(folder.join("lost")).expect("the recorder's module");
    assert_eq!(lost.trim(), "0", "{recorder} could not keep all");
    fs::read(folder.join("log")).expect("the recorder's module")
}
