//! Displays on recorded buses: the messages are decoded as the controller would
//! decode them, and compared with the drawing, pixel by pixel.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use affectd::draw::{Canvas, Part, Theme};
use affectd::frame::Rect;
use affectd::observe::expression::Expression;
use affectd::output::display::{
    Channel, DisplayError, FramebufferPanel, Geometry, Level, OledController, OledOptions, Panel,
    Rotation, Sh1106Panel, Ssd1306Panel, TftController, TftOptions, TftPanel, TftPins, Turn, View,
    draw, draw_on,
};
use affectd::output::gpio::LineId;
use embedded_graphics::pixelcolor::raw::RawU16;
use embedded_graphics::pixelcolor::{BinaryColor, Rgb565, Rgb888, RgbColor};
use embedded_hal::i2c::{self, I2c};
use embedded_hal::spi::{self, SpiDevice};
use embedded_hal::{delay::DelayNs, digital};
use ssd1306::prelude::{DisplaySize, DisplaySize128x32, DisplaySize128x64};

use crate::display_support::sample_views;

const ROTATIONS: [Rotation; 4] = [
    Rotation::Deg0,
    Rotation::Deg90,
    Rotation::Deg180,
    Rotation::Deg270,
];

/// Draws one view after the other, sends the changes, and lets `shown` compare.
/// Returns the number of pixels sent after the first picture.
fn play<P: Panel>(panel: &mut P, mut shown: impl FnMut(&Canvas<P::Color>, &str)) -> u64 {
    let (width, height) = panel.size();
    let mut canvas = Canvas::new(width, height, P::Color::of(Part::Ground));
    let mut before = canvas.clone();
    let mut rects = vec![canvas.bounds()];
    let mut sent = 0;
    for (index, (name, view)) in sample_views().into_iter().enumerate() {
        draw_on(&mut canvas, &view, panel.outline()).unwrap();
        if index > 0 {
            canvas.changes(&before, panel.grain(), &mut rects);
            sent += rects.iter().map(|rect| rect.area()).sum::<u64>();
        }
        panel.show(&canvas, &rects).unwrap();
        shown(&canvas, name);
        before.copy_from(&canvas);
    }
    sent
}

/// How often the picture changes while all views are played.
fn changes() -> usize {
    sample_views().len() - 1
}

/// The controller of an SSD1306 as its data sheet (rev 1.1) describes it, as far
/// as the driver uses it.
struct Oled {
    memory: [[u8; 128]; 8],
    columns: (usize, usize),
    pages: (usize, usize),
    at: (usize, usize),
    on: bool,
    /// Whether the charge pump runs, without which the display stays dark.
    pump: bool,
    segments_reversed: bool,
    rows_reversed: bool,
    horizontal: bool,
    multiplex: usize,
    written: usize,
    answers: bool,
}

impl Oled {
    fn new() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            // Noise, as after switching on.
            memory: std::array::from_fn(|page| {
                std::array::from_fn(|column| (page * 37 + column * 101) as u8)
            }),
            columns: (0, 127),
            pages: (0, 7),
            at: (0, 0),
            on: false,
            pump: false,
            segments_reversed: false,
            rows_reversed: false,
            horizontal: false,
            multiplex: 63,
            written: 0,
            answers: true,
        }))
    }

    fn command(&mut self, bytes: &[u8]) {
        match *bytes {
            [0xae] => self.on = false,
            [0xaf] => self.on = true,
            [0xa0] => self.segments_reversed = false,
            [0xa1] => self.segments_reversed = true,
            [0xc0] => self.rows_reversed = false,
            [0xc8] => self.rows_reversed = true,
            [0x20, mode] => self.horizontal = mode == 0,
            [0xa8, rows] => self.multiplex = rows.into(),
            [0x21, first, last] => {
                assert!(first <= last && last < 128);
                self.columns = (first.into(), last.into());
                self.at.0 = first.into();
            }
            [0x22, first, last] => {
                assert!(first <= last && last < 8);
                self.pages = (first.into(), last.into());
                self.at.1 = first.into();
            }
            [0x8d, pump] => self.pump = pump & 4 != 0,
            // Clock, offset, pins, contrast, precharge, deselect
            // level; not inverted, no scrolling, start line 0.
            [0xd5 | 0xd3 | 0xda | 0x81 | 0xd9 | 0xdb, _] | [0xa4 | 0xa6 | 0x2e | 0x40] => {}
            ref other => panic!("an unknown command {other:02x?}"),
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        assert!(self.horizontal);
        for &byte in bytes {
            self.memory[self.at.1][self.at.0] = byte;
            self.written += 1;
            self.at.0 += 1;
            if self.at.0 > self.columns.1 {
                self.at.0 = self.columns.0;
                self.at.1 += 1;
                if self.at.1 > self.pages.1 {
                    self.at.1 = self.pages.0;
                }
            }
        }
    }

    /// The pixel at a place of an upright module, which is wired so that
    /// segments and rows run backwards.
    fn pixel(&self, x: usize, y: usize) -> bool {
        let column = if self.segments_reversed { x } else { 127 - x };
        let row = if self.rows_reversed {
            y
        } else {
            self.multiplex - y
        };
        self.memory[row / 8][column] >> (row % 8) & 1 == 1
    }
}

struct Wire(Rc<RefCell<Oled>>);

#[derive(Debug)]
struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote I/O error (os error 121)")
    }
}

impl i2c::Error for NoAnswer {
    fn kind(&self) -> i2c::ErrorKind {
        i2c::ErrorKind::NoAcknowledge(i2c::NoAcknowledgeSource::Address)
    }
}

impl i2c::ErrorType for Wire {
    type Error = NoAnswer;
}

impl I2c for Wire {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [i2c::Operation<'_>],
    ) -> Result<(), NoAnswer> {
        let mut oled = self.0.borrow_mut();
        if !oled.answers {
            return Err(NoAnswer);
        }
        assert_eq!(address, 0x3c);
        for operation in operations {
            let i2c::Operation::Write(bytes) = operation else {
                panic!("an SSD1306 over I2C cannot be read")
            };
            match bytes.split_first() {
                Some((0x00, command)) => oled.command(command),
                Some((0x40, data)) => oled.data(data),
                other => panic!("an unknown control byte: {other:02x?}"),
            }
        }
        Ok(())
    }
}

/// The canvas's pixel for a place of the panel of `width` x `height` pixels.
fn turned(rotation: Rotation, x: u32, y: u32, width: u32, height: u32) -> (u32, u32) {
    match rotation {
        Rotation::Deg0 => (x, y),
        Rotation::Deg90 => (y, width - 1 - x),
        Rotation::Deg180 => (width - 1 - x, height - 1 - y),
        Rotation::Deg270 => (height - 1 - y, x),
    }
}

fn oled_shows_what_was_drawn<SIZE: DisplaySize + Copy>(size: SIZE, rotation: Rotation) {
    let (width, height) = (u32::from(SIZE::WIDTH), u32::from(SIZE::HEIGHT));
    let oled = Oled::new();
    let options = OledOptions {
        rotation,
        ..OledOptions::default()
    };
    let mut panel = Ssd1306Panel::new(Wire(Rc::clone(&oled)), size, &options).unwrap();
    assert!(!oled.borrow().on, "no noise is shown");
    let mut first = 0;
    let sent = play(&mut panel, |canvas, name| {
        let oled = oled.borrow();
        assert!(oled.on);
        if first == 0 {
            first = oled.written;
        }
        for y in 0..height {
            for x in 0..width {
                let (cx, cy) = turned(rotation, x, y, width, height);
                assert_eq!(
                    oled.pixel(x as usize, y as usize),
                    canvas.row(cy)[cx as usize].is_on(),
                    "{name}, {rotation:?}, pixel {cx},{cy}"
                );
            }
        }
    });
    assert_eq!(first as u32, width * height / 8);
    let later = oled.borrow().written - first;
    assert!(later as u64 * 8 >= sent);
    assert!(
        later < first * changes() * 3 / 4,
        "{later} bytes for {} pictures of {first}: not only changes",
        changes()
    );
    panel.darken().unwrap();
    assert!(!oled.borrow().on);
}

#[test]
fn an_ssd1306_shows_what_was_drawn() {
    for rotation in ROTATIONS {
        oled_shows_what_was_drawn(DisplaySize128x64, rotation);
        oled_shows_what_was_drawn(DisplaySize128x32, rotation);
    }
}

#[test]
fn a_small_change_is_a_small_message() {
    let oled = Oled::new();
    let options = OledOptions::default();
    let mut panel = Ssd1306Panel::new(Wire(Rc::clone(&oled)), DisplaySize128x64, &options).unwrap();
    let mut canvas = Canvas::new(128, 64, BinaryColor::Off);
    let view = |confidence| View::Expression {
        expression: Expression::Happy,
        confidence: Level::nearest(confidence),
        levels: [Level::default(); Expression::COUNT],
        others: 0,
        turn: Turn::default(),
    };
    draw(&mut canvas, &view(0.74)).unwrap();
    let whole = canvas.bounds();
    panel.show(&canvas, &[whole]).unwrap();
    let before = canvas.clone();
    draw(&mut canvas, &view(0.76)).unwrap();
    let mut rects = Vec::new();
    canvas.changes(&before, panel.grain(), &mut rects);
    let written = oled.borrow().written;
    panel.show(&canvas, &rects).unwrap();
    let bytes = oled.borrow().written - written;
    assert!((1..40).contains(&bytes), "{bytes} bytes");
}

#[test]
fn an_ssd1306_that_lost_its_supply_for_a_moment_is_set_up_anew() {
    let oled = Oled::new();
    let options = OledOptions::default();
    let mut panel = Ssd1306Panel::new(Wire(Rc::clone(&oled)), DisplaySize128x64, &options).unwrap();
    let mut canvas = Canvas::new(128, 64, BinaryColor::Off);
    draw(&mut canvas, &View::NoFace).unwrap();
    panel.show(&canvas, &[canvas.bounds()]).unwrap();
    assert!(oled.borrow().pump);
    // After a reset: the old memory, or noise, and no settings.
    oled.replace(Rc::into_inner(Oled::new()).unwrap().into_inner());
    panel.show(&canvas, &[canvas.bounds()]).unwrap();
    let oled = oled.borrow();
    assert!(oled.on && oled.pump);
    for y in 0..64 {
        for x in 0..128 {
            let pixel = canvas.row(y as u32)[x].is_on();
            assert_eq!(oled.pixel(x, y), pixel, "{x},{y}");
        }
    }
}

#[test]
fn an_ssd1306_that_does_not_answer_is_named_with_bus_address_and_cause() {
    let oled = Oled::new();
    let options = OledOptions::default();
    let panel = Ssd1306Panel::new(Wire(Rc::clone(&oled)), DisplaySize128x64, &options);
    let mut panel = panel.unwrap();
    oled.borrow_mut().answers = false;
    let canvas = Canvas::new(128, 64, BinaryColor::On);
    let says = |result: Result<(), DisplayError>| {
        let text = result.unwrap_err().to_string();
        for part in ["/dev/i2c-1", "0x3c", "os error 121", "i2cdetect"] {
            assert!(text.contains(part), "no {part} in: {text}");
        }
    };
    says(panel.show(&canvas, &[canvas.bounds()]));
    says(panel.darken().map(drop));
    says(Ssd1306Panel::new(Wire(oled), DisplaySize128x64, &options).map(drop));
}

/// The controller of an SH1106 as its data sheet (2.3) describes it: 132
/// columns, of which a module's panel shows those from 2 to 129.
struct Sh1106 {
    memory: [[u8; 132]; 8],
    column: usize,
    page: usize,
    on: bool,
    /// Whether the converter that supplies the pixels is switched on.
    converter: bool,
    segments_reversed: bool,
    rows_reversed: bool,
    written: usize,
    answers: bool,
}

impl Sh1106 {
    fn new() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            memory: std::array::from_fn(|page| {
                std::array::from_fn(|column| (page * 37 + column * 101) as u8)
            }),
            column: 0,
            page: 0,
            on: false,
            converter: false,
            segments_reversed: false,
            rows_reversed: false,
            written: 0,
            answers: true,
        }))
    }

    fn commands(&mut self, mut bytes: &[u8]) {
        while let Some((&command, rest)) = bytes.split_first() {
            let mut parameters = rest;
            let mut parameter = || {
                let (&value, after) = parameters.split_first().expect("a parameter");
                parameters = after;
                value
            };
            match command {
                0x00..=0x0f => self.column = self.column & 0xf0 | usize::from(command),
                0x10..=0x1f => self.column = self.column & 0x0f | usize::from(command & 0xf) << 4,
                0xb0..=0xb7 => self.page = usize::from(command & 7),
                0xa0 | 0xa1 => self.segments_reversed = command == 0xa1,
                0xc0..=0xcf => self.rows_reversed = command & 8 != 0,
                0xae | 0xaf => self.on = command == 0xaf,
                0xad => self.converter = parameter() == 0x8b,
                0xa8 => assert_eq!(parameter(), 63, "all rows"),
                0xd3 => assert_eq!(parameter(), 0, "no offset"),
                0xda => assert_eq!(parameter(), 0x12, "the pins of modules"),
                0x81 | 0xd5 | 0xd9 | 0xdb => drop(parameter()),
                0x30..=0x33 | 0x40 | 0xa4 | 0xa6 => {}
                other => panic!("the data sheet has no command {other:#04x}"),
            }
            bytes = parameters;
        }
    }

    fn pixels(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // The column stops at the end; the page never changes by itself.
            self.memory[self.page][self.column] = byte;
            self.column = (self.column + 1).min(131);
            self.written += 1;
        }
    }

    fn pixel(&self, x: usize, y: usize) -> bool {
        let glass = x + 2;
        let column = if self.segments_reversed {
            glass
        } else {
            131 - glass
        };
        let row = if self.rows_reversed { y } else { 63 - y };
        self.memory[row / 8][column] >> (row % 8) & 1 == 1
    }
}

struct ShWire(Rc<RefCell<Sh1106>>);

impl i2c::ErrorType for ShWire {
    type Error = NoAnswer;
}

impl I2c for ShWire {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [i2c::Operation<'_>],
    ) -> Result<(), NoAnswer> {
        let mut oled = self.0.borrow_mut();
        if !oled.answers {
            return Err(NoAnswer);
        }
        assert_eq!(address, 0x3d);
        for operation in operations {
            let i2c::Operation::Write(bytes) = operation else {
                panic!("nothing is read")
            };
            match bytes.split_first() {
                Some((0x00, commands)) => oled.commands(commands),
                Some((0x40, pixels)) => oled.pixels(pixels),
                other => panic!("an unknown control byte: {other:02x?}"),
            }
        }
        Ok(())
    }
}

#[test]
fn an_sh1106_shows_what_was_drawn() {
    for rotation in ROTATIONS {
        let oled = Sh1106::new();
        let options = OledOptions {
            address: 0x3d,
            rotation,
            ..OledOptions::new(OledController::Sh1106)
        };
        let mut panel = Sh1106Panel::new(ShWire(Rc::clone(&oled)), &options).unwrap();
        assert!(!oled.borrow().on, "no noise is shown");
        let mut first = 0;
        let sent = play(&mut panel, |canvas, name| {
            let oled = oled.borrow();
            assert!(oled.on && oled.converter);
            if first == 0 {
                first = oled.written;
            }
            for y in 0..64 {
                for x in 0..128 {
                    let (cx, cy) = turned(rotation, x, y, 128, 64);
                    assert_eq!(
                        oled.pixel(x as usize, y as usize),
                        canvas.row(cy)[cx as usize].is_on(),
                        "{name}, {rotation:?}, pixel {cx},{cy}"
                    );
                }
            }
        });
        assert_eq!(first, 128 * 64 / 8);
        let later = oled.borrow().written - first;
        assert!(later as u64 * 8 >= sent);
        assert!(
            later < first * changes() * 3 / 4,
            "{later} bytes: not only changes"
        );
        panel.darken().unwrap();
        assert!(!oled.borrow().on);
        oled.borrow_mut().answers = false;
        let error = panel.darken().unwrap_err().to_string();
        assert!(
            error.contains("0x3d") && error.contains("os error 121"),
            "{error}"
        );
    }
}

#[test]
fn an_sh1106_that_lost_its_supply_for_a_moment_is_set_up_anew() {
    let oled = Sh1106::new();
    let options = OledOptions {
        address: 0x3d,
        ..OledOptions::new(OledController::Sh1106)
    };
    let mut panel = Sh1106Panel::new(ShWire(Rc::clone(&oled)), &options).unwrap();
    let mut canvas = Canvas::new(128, 64, BinaryColor::Off);
    draw(&mut canvas, &View::NoFace).unwrap();
    panel.show(&canvas, &[canvas.bounds()]).unwrap();
    oled.replace(Rc::into_inner(Sh1106::new()).unwrap().into_inner());
    panel.show(&canvas, &[canvas.bounds()]).unwrap();
    let oled = oled.borrow();
    assert!(oled.on && oled.converter);
    for y in 0..64 {
        for x in 0..128 {
            assert_eq!(oled.pixel(x, y), canvas.row(y as u32)[x].is_on(), "{x},{y}");
        }
    }
}

/// The controller of a colour panel as the data sheets of ST7789 (v1.4), GC9A01
/// (v1.0) and ILI9341 (v1.11) describe it. The three share the commands that
/// pictures need; the commands for voltages differ, and must be the
/// controller's own.
struct Tft {
    controller: TftController,
    /// The controller's columns and rows.
    memory: Vec<u16>,
    rows_in_memory: u16,
    /// How the panel is wired: whether its columns run backwards, and whether
    /// it has blue where the controller puts red.
    columns_reversed: bool,
    blue_first: bool,
    columns: (u16, u16),
    rows: (u16, u16),
    at: (u16, u16),
    half: Option<u8>,
    command: u8,
    parameters: Vec<u8>,
    address_mode: u8,
    inverted: bool,
    awake: bool,
    on: bool,
    sixteen_bits: bool,
    resets: u32,
    data: bool,
    lit: bool,
    pixels: u64,
    writes: u64,
    answers: bool,
}

impl Tft {
    /// Wired like the usual module with this controller.
    fn new(controller: TftController) -> Rc<RefCell<Self>> {
        let rows = if controller == TftController::Gc9a01 {
            240
        } else {
            320
        };
        Rc::new(RefCell::new(Self {
            controller,
            memory: (0..240 * u32::from(rows))
                .map(|at| (at.wrapping_mul(40_503)) as u16)
                .collect(),
            rows_in_memory: rows,
            columns_reversed: controller == TftController::Ili9341,
            blue_first: controller != TftController::St7789,
            columns: (0, 239),
            rows: (0, 319),
            at: (0, 0),
            half: None,
            command: 0,
            parameters: Vec::new(),
            address_mode: 0,
            inverted: false,
            awake: false,
            on: false,
            sixteen_bits: false,
            resets: 0,
            data: false,
            lit: true,
            pixels: 0,
            writes: 0,
            answers: true,
        }))
    }

    fn write(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty() && bytes.len() <= 4096);
        self.writes += 1;
        if !self.data {
            assert_eq!(bytes.len(), 1);
            assert!(self.parameters.is_empty() && self.half.is_none());
            self.command = bytes[0];
            match self.command {
                0x01 => self.resets += 1,
                0x11 => self.awake = true,
                0x13 => {}
                0x20 => self.inverted = false,
                0x21 => self.inverted = true,
                0x29 => self.on = true,
                0x2c => self.at = (self.columns.0, self.rows.0),
                0x2a | 0x2b | 0x36 | 0x3a => {}
                // Frame inversion, and the registers of GC9A01 for its supply.
                0xb4 if self.controller == TftController::Ili9341 => {}
                0x62..=0xff if self.controller == TftController::Gc9a01 => {}
                other => panic!("{} has no command {other:#04x}", self.controller),
            }
            return;
        }
        for &byte in bytes {
            if self.command == 0x2c {
                match self.half.take() {
                    None => self.half = Some(byte),
                    Some(high) => self.pixel(u16::from_be_bytes([high, byte])),
                }
                continue;
            }
            if self.command >= 0x62 {
                continue;
            }
            self.parameters.push(byte);
            match (self.command, &self.parameters[..]) {
                (0x36, &[mode]) => self.address_mode = mode,
                (0x3a, &[format]) => self.sixteen_bits = format & 7 == 5,
                (0x2a | 0x2b, &[a, b, c, d]) => {
                    let range = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                    assert!(range.0 <= range.1);
                    if self.command == 0x2a {
                        self.columns = range;
                    } else {
                        self.rows = range;
                    }
                }
                (0x2a | 0x2b, _) => continue,
                (command, other) => panic!("{command:#04x} with {other:02x?}"),
            }
            self.parameters.clear();
        }
    }

    fn pixel(&mut self, value: u16) {
        assert!(self.sixteen_bits);
        let (mut x, mut y) = self.at;
        // Memory access control: first exchange, then mirror (8.12).
        if self.address_mode & 0x20 != 0 {
            (x, y) = (y, x);
        }
        if self.address_mode & 0x40 != 0 {
            x = 239 - x;
        }
        if self.address_mode & 0x80 != 0 {
            y = self.rows_in_memory - 1 - y;
        }
        self.memory[usize::from(y) * 240 + usize::from(x)] = value;
        self.pixels += 1;
        self.at.0 += 1;
        if self.at.0 > self.columns.1 {
            self.at.0 = self.columns.0;
            self.at.1 += 1;
        }
    }
}

impl Tft {
    /// The colour that a person sees at a place of the panel.
    fn seen(&self, x: u32, y: u32) -> Rgb565 {
        let column = if self.columns_reversed { 239 - x } else { x };
        let at = (y * 240 + column) as usize;
        let value = Rgb565::from(RawU16::new(self.memory[at]));
        // Bit 3 of memory access control exchanges red and blue on their way.
        if (self.address_mode & 0x08 != 0) == self.blue_first {
            value
        } else {
            Rgb565::new(value.b(), value.g(), value.r())
        }
    }
}

struct Spi(Rc<RefCell<Tft>>);

#[derive(Debug)]
struct SpiBroken;

impl fmt::Display for SpiBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("spi gone")
    }
}

impl spi::Error for SpiBroken {
    fn kind(&self) -> spi::ErrorKind {
        spi::ErrorKind::Other
    }
}

impl spi::ErrorType for Spi {
    type Error = SpiBroken;
}

impl SpiDevice for Spi {
    fn transaction(&mut self, operations: &mut [spi::Operation<'_, u8>]) -> Result<(), SpiBroken> {
        let mut tft = self.0.borrow_mut();
        if !tft.answers {
            return Err(SpiBroken);
        }
        for operation in operations {
            match operation {
                spi::Operation::Write(bytes) => tft.write(bytes),
                other => panic!("only writes are expected: {other:?}"),
            }
        }
        Ok(())
    }
}

struct Pin(Rc<RefCell<Tft>>, fn(&mut Tft, bool));

impl digital::ErrorType for Pin {
    type Error = Infallible;
}

impl digital::OutputPin for Pin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        (self.1)(&mut self.0.borrow_mut(), false);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        (self.1)(&mut self.0.borrow_mut(), true);
        Ok(())
    }
}

struct NoDelay;

impl DelayNs for NoDelay {
    fn delay_ns(&mut self, _: u32) {}
}

fn tft_panel(
    tft: &Rc<RefCell<Tft>>,
    options: &TftOptions,
    backlight: bool,
) -> Result<TftPanel<Spi, Pin>, DisplayError> {
    let pin = |action| Pin(Rc::clone(tft), action);
    let pins = TftPins {
        dc: pin(|tft, high| tft.data = high),
        reset: Some(pin(|tft, high| tft.resets += u32::from(!high))),
        backlight: backlight.then(|| pin(|tft, high| tft.lit = high)),
    };
    TftPanel::new(Spi(Rc::clone(tft)), pins, &mut NoDelay, options)
}

fn tft_shows_what_was_drawn(tft: &Rc<RefCell<Tft>>, options: &TftOptions) {
    let noise = tft.borrow().memory.clone();
    let mut panel = tft_panel(tft, options, true).unwrap();
    {
        let tft = tft.borrow();
        assert!(tft.awake && tft.on && tft.resets >= 1);
        assert_eq!(tft.inverted, options.invert);
        assert!(!tft.lit, "no noise is shown");
    }
    let (width, height) = (u32::from(options.width), u32::from(options.height));
    let sent = play(&mut panel, |canvas, name| {
        let tft = tft.borrow();
        assert!(tft.lit);
        for y in 0..u32::from(tft.rows_in_memory) {
            for x in 0..240u32 {
                let at = (y * 240 + x) as usize;
                let gx = x.wrapping_sub(options.offset.0.into());
                let gy = y.wrapping_sub(options.offset.1.into());
                if gx < width && gy < height {
                    let (cx, cy) = turned(options.rotation, gx, gy, width, height);
                    let expected = canvas.row(cy)[cx as usize];
                    assert_eq!(tft.seen(x, y), expected, "{name}, {options:?}, {x},{y}");
                } else {
                    assert_eq!(tft.memory[at], noise[at], "{name}, {options:?}, {x},{y}");
                }
            }
        }
    });
    assert_eq!(tft.borrow().pixels, sent + u64::from(width * height));
    assert!(
        sent < u64::from(width * height) * changes() as u64 * 3 / 4,
        "{sent} pixels"
    );
    assert!(panel.darken().unwrap());
    assert!(!tft.borrow().lit);
}

#[test]
fn a_colour_panel_shows_what_was_drawn() {
    for controller in [
        TftController::St7789,
        TftController::Gc9a01,
        TftController::Ili9341,
    ] {
        for rotation in ROTATIONS {
            let options = TftOptions {
                rotation,
                ..TftOptions::new(controller, "chip", LineId::Offset(25))
            };
            tft_shows_what_was_drawn(&Tft::new(controller), &options);
        }
    }
}

#[test]
fn a_small_st7789_lies_in_the_middle_of_the_memory() {
    for rotation in ROTATIONS {
        // A 1.14 inch panel.
        let options = TftOptions {
            rotation,
            width: 135,
            height: 240,
            offset: (52, 40),
            ..TftOptions::new(TftController::St7789, "chip", LineId::Offset(25))
        };
        tft_shows_what_was_drawn(&Tft::new(TftController::St7789), &options);
    }
}

#[test]
fn panels_wired_otherwise_are_set_right_by_their_keys() {
    for controller in [TftController::St7789, TftController::Ili9341] {
        for rotation in ROTATIONS {
            let usual = TftOptions {
                rotation,
                ..TftOptions::new(controller, "chip", LineId::Offset(25))
            };
            let tft = Tft::new(controller);
            tft.borrow_mut().blue_first ^= true;
            let other = TftOptions {
                bgr: !usual.bgr,
                ..usual.clone()
            };
            tft_shows_what_was_drawn(&tft, &other);
            let tft = Tft::new(controller);
            tft.borrow_mut().columns_reversed ^= true;
            let other = TftOptions {
                mirror: true,
                ..usual
            };
            tft_shows_what_was_drawn(&tft, &other);
        }
    }
}

/// Outside of the circle of a round panel there is only the ground colour.
#[test]
fn a_round_panel_has_nothing_in_its_corners() {
    let options = TftOptions::new(TftController::Gc9a01, "chip", LineId::Offset(25));
    let tft = Tft::new(TftController::Gc9a01);
    let mut panel = tft_panel(&tft, &options, true).unwrap();
    let ground = Rgb565::of(Part::Ground);
    play(&mut panel, |canvas, name| {
        let mut drawn = 0;
        for y in 0..240i32 {
            for x in 0..240i32 {
                let (dx, dy) = (2 * x - 239, 2 * y - 239);
                let pixel = canvas.row(y as u32)[x as usize];
                if dx * dx + dy * dy > 240 * 240 {
                    assert_eq!(pixel, ground, "{name}, {x},{y}");
                } else if pixel != ground {
                    drawn += 1;
                }
            }
        }
        assert!(drawn > 1000, "{name}: {drawn} pixels");
    });
}

#[test]
fn an_st7789_without_a_backlight_line_keeps_the_farewell() {
    let tft = Tft::new(TftController::St7789);
    let options = TftOptions::new(TftController::St7789, "chip", LineId::Offset(25));
    let mut panel = tft_panel(&tft, &options, false).unwrap();
    assert!(!panel.darken().unwrap());
}

#[test]
fn a_broken_spi_is_named() {
    let tft = Tft::new(TftController::St7789);
    let options = TftOptions::new(TftController::St7789, "chip", LineId::Offset(25));
    let mut panel = tft_panel(&tft, &options, true).unwrap();
    tft.borrow_mut().answers = false;
    let canvas = Canvas::new(240, 240, Rgb565::BLACK);
    let error = panel.show(&canvas, &[canvas.bounds()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot write to /dev/spidev0.0: spi gone"
    );
    assert!(tft_panel(&tft, &options, true).is_err());
}

fn geometry(bytes: u32, channels: [(u32, u32); 3]) -> Geometry {
    let [red, green, blue] = channels.map(|(offset, length)| Channel { offset, length });
    Geometry {
        width: 161,
        height: 90,
        left: 3,
        top: 5,
        stride: 700,
        bytes,
        red,
        green,
        blue,
    }
}

const RGB565: [(u32, u32); 3] = [(11, 5), (5, 6), (0, 5)];
const XRGB8888: [(u32, u32); 3] = [(16, 8), (8, 8), (0, 8)];
const BGR888: [(u32, u32); 3] = [(0, 8), (8, 8), (16, 8)];

#[test]
fn a_framebuffer_shows_what_was_drawn() {
    for (bytes, channels) in [(2, RGB565), (4, XRGB8888), (3, BGR888)] {
        let geometry = geometry(bytes, channels);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fb");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        let noise = vec![0xa5; 700 * 100];
        file.write_all_at(&noise, 0).unwrap();
        let reader = file.try_clone().unwrap();
        let mut panel = FramebufferPanel::new(file, &path, geometry).unwrap();
        play(&mut panel, |canvas, name| {
            let mut memory = vec![0; noise.len()];
            reader.read_exact_at(&mut memory, 0).unwrap();
            let bytes = bytes as usize;
            for (at, pixel) in memory.chunks_exact(700).enumerate() {
                let Some(y) = at.checked_sub(5).filter(|&y| y < 90) else {
                    assert_eq!(pixel, &noise[..700], "row {at} is outside");
                    continue;
                };
                assert!(pixel[..3 * bytes].iter().all(|&byte| byte == 0xa5));
                assert!(pixel[164 * bytes..].iter().all(|&byte| byte == 0xa5));
                for x in 0..161 {
                    let place = (3 + x) * bytes;
                    let mut word = [0; 4];
                    word[..bytes].copy_from_slice(&pixel[place..place + bytes]);
                    let value = u32::from_le_bytes(word);
                    let color = canvas.row(y as u32)[x];
                    let wanted = [color.r(), color.g(), color.b()];
                    for ((offset, length), wanted) in channels.into_iter().zip(wanted) {
                        let got = value >> offset & ((1 << length) - 1);
                        assert_eq!(got, u32::from(wanted) >> (8 - length), "{name} {x},{y}");
                    }
                }
            }
        });
    }
}

#[test]
fn a_large_framebuffer_is_filled_in_blocks() {
    let geometry = Geometry {
        width: 1921,
        height: 1080,
        left: 0,
        top: 0,
        stride: 1921 * 4,
        ..geometry(4, XRGB8888)
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fb");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    let reader = file.try_clone().unwrap();
    let mut panel = FramebufferPanel::new(file, &path, geometry).unwrap();
    assert_eq!(panel.size(), (960, 540));
    let mut canvas = Canvas::new(960, 540, Rgb888::of(Part::Ground));
    draw(&mut canvas, &View::NoFace).unwrap();
    panel.show(&canvas, &[canvas.bounds()]).unwrap();
    let mut memory = vec![0; 1921 * 1080 * 4];
    reader.read_exact_at(&mut memory, 0).unwrap();
    for y in 0..1080u32 {
        for x in 0..1921u32 {
            let at = ((y * 1921 + x) * 4) as usize;
            // The odd column on the right keeps the ground's colour.
            let color = canvas
                .row(y / 2)
                .get((x / 2) as usize)
                .copied()
                .unwrap_or(Rgb888::of(Part::Ground));
            assert_eq!(memory[at..at + 3], [color.b(), color.g(), color.r()]);
        }
    }
}

#[test]
fn a_device_that_is_not_a_framebuffer_is_refused() {
    let says = |path: &str| {
        let path = std::path::Path::new(path);
        FramebufferPanel::open(path)
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    assert!(says("/nowhere/fb0").contains("/nowhere/fb0"));
    assert!(says("/dev/null").contains("/dev/null: this is not a framebuffer"));
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(says(file.path().to_str().unwrap()).contains("no device"));
}

#[test]
fn rectangles_need_not_lie_on_whole_bytes() {
    // A panel that is turned by 90 degrees gets bands of 8 rows, which are not
    // whole bytes there: the pixels around them must not change.
    let oled = Oled::new();
    let options = OledOptions {
        rotation: Rotation::Deg90,
        ..OledOptions::default()
    };
    let mut panel = Ssd1306Panel::new(Wire(Rc::clone(&oled)), DisplaySize128x64, &options).unwrap();
    let mut canvas = Canvas::new(64, 128, BinaryColor::Off);
    draw(&mut canvas, &View::Starting).unwrap();
    panel.show(&canvas, &[canvas.bounds()]).unwrap();
    panel.show(&canvas, &[Rect::new(11, 40, 3, 8)]).unwrap();
    for y in 0..64 {
        for x in 0..128 {
            let (cx, cy) = turned(Rotation::Deg90, x, y, 128, 64);
            assert_eq!(
                oled.borrow().pixel(x as usize, y as usize),
                canvas.row(cy)[cx as usize].is_on()
            );
        }
    }
}
