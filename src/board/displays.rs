//! `[[display]]`: one function a kind of display.

use std::path::Path;

use super::reader::{Section, nearest};
use super::sections::{line_id, path, set, size};
use crate::output::display::{
    Coloring, Kind, Options, PngOptions, Rotation, Ssd1306Options, St7789Options,
};
use crate::output::gpio::LineId;

const KINDS: [&str; 4] = ["ssd1306", "st7789", "framebuffer", "png"];

pub(super) fn display_section(mut section: Section<'_, '_>, directory: &Path) -> Option<Options> {
    let Some(found) = section.string("kind") else {
        if !section.has("kind") {
            section.missing("kind", format_args!("there are {}", KINDS.join(", ")));
        }
        // What other keys mean depends on it.
        return None;
    };
    let kind = match found.value {
        "ssd1306" => Kind::Ssd1306(ssd1306(&mut section)),
        "st7789" => Kind::St7789(st7789(&mut section)),
        "framebuffer" => Kind::Framebuffer {
            path: path(&mut section, "path", directory).unwrap_or_else(|| "/dev/fb0".into()),
        },
        "png" => Kind::Png(png(&mut section, directory)),
        other => {
            let hint = nearest(other, KINDS.into_iter())
                .map_or_else(String::new, |kind| format!("; did you mean \"{kind}\"?"));
            found.reject(format_args!(
                "\"{other}\" is no kind of display; there are {}{hint}",
                KINDS.join(", ")
            ));
            return None;
        }
    };
    let mut options = Options::new(kind);
    set(
        &mut options.max_fps,
        section
            .number("max_fps", 0.1..=1000.0)
            .map(|fps| fps as f32),
    );
    if let Err(error) = options.validate() {
        section.reject(error);
    }
    section.finish();
    Some(options)
}

fn ssd1306(section: &mut Section<'_, '_>) -> Ssd1306Options {
    let mut options = Ssd1306Options::default();
    set(&mut options.bus, path(section, "bus", Path::new("")));
    set(&mut options.address, section.integer("address", 0..=0x7f));
    set(&mut options.size, section.parsed("size"));
    set(&mut options.rotation, rotation(section));
    options
}

fn st7789(section: &mut Section<'_, '_>) -> St7789Options {
    let chip = section.string("chip").map(|found| found.value.to_owned());
    if chip.is_none() && !section.has("chip") {
        section.missing("chip", "the GPIO chip of the display's lines");
    }
    let dc = line_id(section, "dc");
    if dc.is_none() && !section.has("dc") {
        section.missing("dc", "the display's data/command line");
    }
    let mut options = St7789Options::new(
        chip.as_deref().unwrap_or_default(),
        dc.unwrap_or(LineId::Offset(u32::MAX)),
    );
    set(&mut options.spi, path(section, "spi", Path::new("")));
    set(
        &mut options.speed_hz,
        section.integer("speed_hz", 100_000..=125_000_000),
    );
    options.reset = line_id(section, "reset");
    options.backlight = line_id(section, "backlight");
    if let Some((width, height)) = size(section, "size") {
        options.width = u16::try_from(width).unwrap_or(u16::MAX);
        options.height = u16::try_from(height).unwrap_or(u16::MAX);
    }
    set(&mut options.offset.0, section.integer("offset_x", 0..=319));
    set(&mut options.offset.1, section.integer("offset_y", 0..=319));
    set(&mut options.rotation, rotation(section));
    set(&mut options.invert, section.boolean("invert"));
    options
}

fn png(section: &mut Section<'_, '_>, directory: &Path) -> PngOptions {
    let mut options = PngOptions::default();
    match path(section, "path", directory) {
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
