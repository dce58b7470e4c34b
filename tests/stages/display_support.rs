//! What the display's tests share: a view of each kind.

use affectd::decide::fatigue::{Reason, State};
use affectd::observe::expression::Expression;
use affectd::output::display::{Level, Note, Turn, View};

/// One view of each kind, the seven expressions first.
pub fn sample_views() -> Vec<(&'static str, View)> {
    let mut views = Vec::new();
    for expression in Expression::ALL {
        let mut shares = [0.04, 0.02, 0.06, 0.03, 0.05, 0.02, 0.09];
        shares[(expression.index() + 3) % Expression::COUNT] = 0.14;
        shares[expression.index()] = 0.74;
        let view = View::Expression {
            expression,
            confidence: Level::nearest(0.74),
            levels: shares.map(Level::nearest),
            others: 0,
            turn: Turn::default(),
        };
        views.push((expression.name(), view));
    }
    let shares: [f32; Expression::COUNT] = [0.2, 0.1, 0.12, 0.06, 0.24, 0.04, 0.24];
    views.push((
        "uncertain",
        View::Uncertain {
            confidence: Level::nearest(0.24),
            levels: shares.map(Level::nearest),
            others: 2,
            turn: Turn::default(),
        },
    ));
    views.push(("no-face", View::NoFace));
    let reason = Note::new("/dev/video0: no such device (unplugged?)");
    views.push(("no-camera", View::NoCamera { reason }));
    views.push(("starting", View::Starting));
    views.push(("stopped", View::Stopped));
    views.push(("paused", View::Paused));
    let advice = Note::new("look at the camera as you are");
    views.push(("recording", View::Recording { seconds: 5, advice }));
    views.push(("recorded", View::Recorded));
    let advice = Note::new("open your eyes, or come closer");
    views.push(("not-recorded", View::NotRecorded { advice }));
    for (name, state, openness, perclos) in [
        ("eyes-ok", State::Ok, [Some(0.92), Some(0.86)], Some(0.02)),
        (
            "eyes-calibrating",
            State::Calibrating,
            [Some(0.9), None],
            None,
        ),
        (
            "eyes-drowsy",
            State::Drowsy,
            [Some(0.56), Some(0.5)],
            Some(0.24),
        ),
        (
            "eyes-microsleep",
            State::Microsleep,
            [Some(0.0); 2],
            Some(0.1),
        ),
        (
            "eyes-asleep",
            State::Asleep,
            [Some(0.04), Some(0.0)],
            Some(0.12),
        ),
        (
            "eyes-unresponsive",
            State::Unresponsive,
            [Some(0.0); 2],
            Some(0.2),
        ),
        ("eyes-no-reading", State::NoReading, [None; 2], None),
    ] {
        let view = View::Eyes {
            state,
            reason: (state == State::NoReading).then_some(Reason::LostWhileClosed),
            openness: openness.map(|share: Option<f32>| share.map(Level::nearest)),
            perclos: perclos.map(Level::nearest),
        };
        views.push((name, view));
    }
    views
}
