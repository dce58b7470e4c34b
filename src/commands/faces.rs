//! Verifies the cascade's boxes for the commands on pictures, as the daemon
//! does.

use crate::assets::{self, ModelChoice};
use crate::detect::{Detection, Detector};
use crate::frame::LumaView;
use crate::nn::Workspace;
use crate::observe::{ClassifyError, FaceBox, FaceNetworks, FaceObservation};
use crate::track;

/// Whether boxes are verified.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Verify faces")]
pub struct VerifyArgs {
    /// Accept every box of the cascade as a face, also those that the face net
    /// rejects
    #[arg(long)]
    pub no_verify: bool,
}

/// A box that holds a face.
#[derive(Clone, Copy, Debug)]
pub struct Face {
    /// Where the face net saw it, or else the cascade's box.
    pub at: FaceBox,
    /// What the face networks saw; `None` without them.
    pub seen: Option<FaceObservation>,
}

/// Verifies boxes with the shipped face networks, where they are installed.
pub struct Verifier {
    networks: Option<FaceNetworks>,
    thresholds: track::Options,
}

impl Verifier {
    /// Loads the verifier that the options ask for.
    ///
    /// # Errors
    /// The face net or the eye net is installed, but cannot be used.
    pub fn load(
        args: VerifyArgs,
        workspace: &Workspace,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let face = if args.no_verify {
            None
        } else {
            ModelChoice::Shipped.file(assets::DEFAULT_FACE)
        };
        let eyes = ModelChoice::Shipped.file(assets::DEFAULT_EYES);
        let networks = face.map(|face| FaceNetworks::load(&face, eyes.as_deref(), workspace));
        Ok(Self {
            networks: networks.transpose()?,
            thresholds: track::Options::default(),
        })
    }

    /// Whether boxes are verified at all.
    pub const fn is_on(&self) -> bool {
        self.networks.is_some()
    }

    /// The face in a box, or `None` if there is none.
    ///
    /// # Errors
    /// The box is empty or too large, or a network fails.
    pub fn face(
        &mut self,
        picture: &LumaView<'_>,
        detection: Detection,
    ) -> Result<Option<Face>, ClassifyError> {
        let at = FaceBox::upright(detection.rect);
        let Some(networks) = &mut self.networks else {
            return Ok(Some(Face { at, seen: None }));
        };
        let first = networks.look_at_face(picture, at)?;
        if !self.thresholds.accepts(first.presence) {
            return Ok(None);
        }
        // As in the next frame of a video: upright, by the roll just measured.
        let upright = FaceBox {
            rect: detection.rect,
            roll: first.roll,
        };
        let seen = networks.look(picture, upright)?;
        Ok(Some(Face {
            at: seen.face_box().unwrap_or(upright),
            seen: Some(seen),
        }))
    }

    /// The largest box that holds a face; the first of several equally large
    /// ones, so that the answer is always the same.
    ///
    /// # Errors
    /// A box is empty or too large, or a network fails.
    pub fn largest_face(
        &mut self,
        picture: &LumaView<'_>,
        detector: &mut Detector,
    ) -> Result<Option<Face>, ClassifyError> {
        let mut largest: Option<(u64, Face)> = None;
        for &detection in detector.detect(*picture) {
            let area = detection.rect.area();
            if largest.is_none_or(|(before, _)| area > before)
                && let Some(face) = self.face(picture, detection)?
            {
                largest = Some((area, face));
            }
        }
        Ok(largest.map(|(_, face)| face))
    }
}
