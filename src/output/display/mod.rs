//! Display: one screen design, drawn with embedded-graphics, on several devices.
//!
//! `screen` draws the picture, for any size, at one bit or in colour, on a
//! `Canvas`; a device shows it. Only the pixels that differ from the device's
//! picture are sent. Each display has a thread of its own, so the loop never
//! waits for a bus. A display that fails is logged, opened again after growing
//! pauses and fully drawn; nothing else is affected.

mod devices;
mod error;
mod face;
mod fbdev;
mod framebuffer;
mod geometry;
mod linux;
mod oled;
mod options;
mod panel;
mod png;
mod screen;
mod sh1106;
mod ssd1306;
mod tft;
mod view;
mod worker;

use std::time::Duration;

use ::ssd1306::prelude::{DisplaySize128x32, DisplaySize128x64};
use embedded_graphics::pixelcolor::{BinaryColor, Rgb888};
use log::{error, warn};

use crate::fault::FaultLog;
use crate::incident;
use crate::output::latest::{self, Writer};
use crate::output::{Changes, Output, Report};

pub use devices::{Device, Devices, devices};
pub use error::DisplayError;
pub use framebuffer::FramebufferPanel;
pub use geometry::{Channel, Geometry};
use options::check_max_fps;
pub use options::{
    Coloring, Kind, OledController, OledOptions, OledSize, Options, PngOptions, Rotation,
    TftController, TftOptions,
};
pub use panel::{Outline, Panel};
pub use png::{PngPanel, encode};
pub use screen::{draw, draw_on, draw_watched};
pub use sh1106::Sh1106Panel;
pub use ssd1306::Ssd1306Panel;
pub use tft::{TftPanel, TftPins};
pub use view::{Level, Levels, Note, Shown, Turn, View, Viewer};

/// How long [`Output::finish`] waits for a display to show that affectd stopped.
const FAREWELL: Duration = Duration::from_millis(150);

/// A display on a thread of its own.
#[derive(Debug)]
pub struct Display {
    /// `None` once finished, or when the thread is gone.
    writer: Option<Writer<Shown>>,
    viewer: Viewer,
    shown: Shown,
    subject: String,
}

impl Display {
    /// Starts the thread. `connect` opens the device; it is called on the
    /// thread, at once and again after each failure. `subject` is the start of
    /// log lines, and `max_fps` limits how often the device is written to.
    ///
    /// # Errors
    /// The thread cannot be started, or `max_fps` is outside of
    /// [`Options::MAX_FPS_RANGE`].
    pub fn start<P: Panel>(
        subject: String,
        max_fps: f32,
        connect: impl FnMut() -> Result<P, DisplayError> + Send + 'static,
    ) -> Result<Self, DisplayError> {
        check_max_fps(&subject, max_fps)?;
        let interval = Duration::from_secs_f32(1.0 / max_fps);
        let (writer, reader) = latest::slot();
        let fault =
            FaultLog::new(subject.clone()).telling(incident::DISPLAY_LOST, incident::DISPLAY_BACK);
        std::thread::Builder::new()
            .name("display".into())
            .spawn(move || worker::run(&reader, connect, interval, fault))
            .map_err(DisplayError::Thread)?;
        Ok(Self {
            writer: Some(writer),
            viewer: Viewer::default(),
            shown: Shown::FIRST,
            subject,
        })
    }
}

impl Output for Display {
    fn update(&mut self, report: &Report<'_>) -> Changes {
        let wanted = Shown {
            view: self.viewer.view(report),
            is_watched: report.is_watched,
        };
        if wanted == self.shown {
            return Changes::NONE;
        }
        let Some(writer) = &self.writer else {
            return Changes::NONE;
        };
        writer.put(wanted);
        if writer.is_read() {
            self.shown = wanted;
        } else {
            error!(
                "{}: its thread ended because of a bug in affectd; the display does not change until affectd is started again",
                self.subject
            );
            self.writer = None;
        }
        Changes::NONE
    }

    fn finish(&mut self) {
        if let Some(writer) = self.writer.take()
            && !writer.close(FAREWELL)
        {
            // The thread ends with the process.
            warn!(
                "{}: no answer while affectd stopped; it may still show the last picture",
                self.subject
            );
        }
    }
}

/// Starts a display. A device that does not answer is logged, and tried again
/// while affectd runs.
///
/// # Errors
/// No device can have these options.
pub fn open(options: &Options) -> Result<Box<dyn Output>, DisplayError> {
    options.validate()?;
    let start = Start {
        subject: options.kind.to_string(),
        max_fps: options.max_fps,
    };
    Ok(Box::new(with_panel(options.kind.clone(), start)?))
}

/// Opens a display's device and closes it again, to check whether it answers. A
/// framebuffer is cleared, any other panel stays dark; a picture file is not
/// changed.
///
/// # Errors
/// No device can have these options, or the device cannot be opened.
pub fn probe(options: &Options) -> Result<(), DisplayError> {
    options.validate()?;
    match &options.kind {
        Kind::Png(picture) => png::probe(&picture.path),
        kind => with_panel(kind.clone(), Probe),
    }
}

/// Work on a kind of display, for any type of panel.
trait PanelUse {
    type Outcome;

    fn with<P: Panel>(
        self,
        connect: impl FnMut() -> Result<P, DisplayError> + Send + 'static,
    ) -> Self::Outcome;
}

struct Start {
    subject: String,
    max_fps: f32,
}

impl PanelUse for Start {
    type Outcome = Result<Display, DisplayError>;

    fn with<P: Panel>(
        self,
        connect: impl FnMut() -> Result<P, DisplayError> + Send + 'static,
    ) -> Self::Outcome {
        Display::start(self.subject, self.max_fps, connect)
    }
}

struct Probe;

impl PanelUse for Probe {
    type Outcome = Result<(), DisplayError>;

    fn with<P: Panel>(
        self,
        mut connect: impl FnMut() -> Result<P, DisplayError> + Send + 'static,
    ) -> Self::Outcome {
        connect().map(drop)
    }
}

fn with_panel<U: PanelUse>(kind: Kind, panel_use: U) -> U::Outcome {
    match kind {
        Kind::Oled(oled) => match (oled.controller, oled.size) {
            (OledController::Ssd1306, OledSize::W128H64) => panel_use
                .with(move || Ssd1306Panel::new(linux::i2c(&oled.bus)?, DisplaySize128x64, &oled)),
            (OledController::Ssd1306, OledSize::W128H32) => panel_use
                .with(move || Ssd1306Panel::new(linux::i2c(&oled.bus)?, DisplaySize128x32, &oled)),
            (OledController::Sh1106, _) => {
                panel_use.with(move || Sh1106Panel::new(linux::i2c(&oled.bus)?, &oled))
            }
        },
        Kind::Tft(panel) => panel_use.with(move || {
            let spi = linux::spi(&panel.spi, panel.speed_hz)?;
            TftPanel::new(spi, linux::pins(&panel)?, &mut linux::Delay, &panel)
        }),
        Kind::Framebuffer { path } => panel_use.with(move || FramebufferPanel::open(&path)),
        Kind::Png(png) => match png.coloring {
            Coloring::Mono => panel_use.with(move || PngPanel::<BinaryColor>::open(&png)),
            Coloring::Color => panel_use.with(move || PngPanel::<Rgb888>::open(&png)),
        },
    }
}
