//! `[[display]]`: one function for each kind of display.

use std::path::PathBuf;

use super::claims::Resource;
use super::keys::{line_id, own_path, path, set, size};
use super::reader::{Section, nearest};
use crate::output::display::{
    Coloring, Kind, OledController, OledOptions, Options, PngOptions, Rotation, TftController,
    TftOptions,
};
use crate::output::gpio::LineId;

const KINDS: [&str; 7] = [
    "ssd1306",
    "sh1106",
    "st7789",
    "gc9a01",
    "ili9341",
    "framebuffer",
    "png",
];

pub(super) fn display_section(mut section: Section<'_, '_>) -> Option<Options> {
    let Some(found) = section.string("kind") else {
        if !section.has("kind") {
            section.missing("kind", format_args!("kinds are {}", KINDS.join(", ")));
        }
        // The meaning of the other keys depends on it.
        return None;
    };
    let kind = match found.value {
        "ssd1306" => Kind::Oled(oled(&mut section, OledController::Ssd1306)),
        "sh1106" => Kind::Oled(oled(&mut section, OledController::Sh1106)),
        "st7789" => Kind::Tft(tft(&mut section, TftController::St7789)),
        "gc9a01" => Kind::Tft(tft(&mut section, TftController::Gc9a01)),
        "ili9341" => Kind::Tft(tft(&mut section, TftController::Ili9341)),
        "framebuffer" => {
            let path = path(&mut section, "path").unwrap_or_else(|| "/dev/fb0".into());
            section.claim("path", Resource::File(path.clone()));
            Kind::Framebuffer { path }
        }
        "png" => Kind::Png(png(&mut section)),
        other => {
            let hint = nearest(other, KINDS.into_iter())
                .map_or_else(String::new, |kind| format!("; did you mean \"{kind}\"?"));
            found.reject(format_args!(
                "unknown kind of display \"{other}\"; kinds are {}{hint}",
                KINDS.join(", ")
            ));
            return None;
        }
    };
    let mut options = Options::new(kind);
    set(
        &mut options.max_fps,
        section
            .number("max_fps", Options::MAX_FPS_RANGE)
            .map(|fps| fps as f32),
    );
    if let Err(error) = options.validate() {
        section.reject(error);
    }
    section.finish();
    Some(options)
}

fn oled(section: &mut Section<'_, '_>, controller: OledController) -> OledOptions {
    let mut options = OledOptions::new(controller);
    set(&mut options.bus, device(section, "bus"));
    set(&mut options.address, section.integer("address", 0..=0x7f));
    set(&mut options.size, section.parsed("size"));
    set(&mut options.rotation, rotation(section));
    let resource = Resource::I2c {
        bus: options.bus.clone(),
        address: options.address,
    };
    section.claim("address", resource);
    options
}

fn tft(section: &mut Section<'_, '_>, controller: TftController) -> TftOptions {
    let chip = section.string("chip").map(|found| found.value.to_owned());
    if chip.is_none() && !section.has("chip") {
        section.missing("chip", "the GPIO chip of the display's lines");
    }
    let chip_name = chip.clone().unwrap_or_default();
    let dc = line_id(section, "dc", &chip_name);
    if dc.is_none() && !section.has("dc") {
        section.missing("dc", "the display's data/command line");
    }
    let mut options = TftOptions::new(
        controller,
        &chip_name,
        dc.unwrap_or(LineId::Offset(u32::MAX)),
    );
    set(&mut options.spi, device(section, "spi"));
    section.claim("spi", Resource::File(options.spi.clone()));
    set(
        &mut options.speed_hz,
        section.integer("speed_hz", TftOptions::SPEED_HZ),
    );
    options.reset = line_id(section, "reset", &chip_name);
    options.backlight = line_id(section, "backlight", &chip_name);
    if let Some((width, height)) = size(section, "size") {
        options.width = u16::try_from(width).unwrap_or(u16::MAX);
        options.height = u16::try_from(height).unwrap_or(u16::MAX);
    }
    set(&mut options.offset.0, section.integer("offset_x", 0..=319));
    set(&mut options.offset.1, section.integer("offset_y", 0..=319));
    set(&mut options.rotation, rotation(section));
    set(&mut options.mirror, section.boolean("mirror"));
    set(&mut options.invert, section.boolean("invert"));
    set(&mut options.bgr, section.boolean("bgr"));
    options
}

/// A device. Its path does not depend on the folder of the board file.
fn device(section: &mut Section<'_, '_>, key: &str) -> Option<PathBuf> {
    section.string(key).map(|found| PathBuf::from(found.value))
}

fn png(section: &mut Section<'_, '_>) -> PngOptions {
    let mut options = PngOptions::default();
    match own_path(section, "path") {
        Some(path) => options.path = path,
        None if section.has("path") => {}
        None => section.missing("path", "the picture file, such as \"display.png\""),
    }
    if let Some((width, height)) = size(section, "size") {
        (options.width, options.height) = (width, height);
    }
    if section.boolean("color") == Some(false) {
        options.coloring = Coloring::Mono;
    }
    set(&mut options.every_change, section.boolean("every_change"));
    options
}

fn rotation(section: &mut Section<'_, '_>) -> Option<Rotation> {
    let degrees = section.integer("rotation", 0..=359)?;
    match Rotation::from_degrees(degrees) {
        Ok(rotation) => Some(rotation),
        Err(error) => {
            section.reject(error);
            None
        }
    }
}
