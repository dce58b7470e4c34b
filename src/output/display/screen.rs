//! The screen: one design for every display, which adapts to the target's size.
//!
//! The parts are the face, its label, the confidence and, if there is room, a
//! bar for each class: side by side on wide targets, otherwise one below the
//! other. Parts that do not fit are left out, the last one first.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::primitives::Rectangle;

use crate::decide::fatigue::{Reason, State};
use crate::observe::expression::Expression;

use super::face::{self, Spot};
use super::panel::Outline;
use super::view::{Level, Levels, View};
use crate::draw::bar::{Way, draw_bar};
use crate::draw::paint::Layers;
use crate::draw::palette::{Mood, Part, Theme};
use crate::draw::text::{self, Align, Style, Weight};

/// Draws a view over the whole target.
///
/// ```
/// use affectd::draw::Canvas;
/// use affectd::output::display::{View, draw};
/// use embedded_graphics::pixelcolor::BinaryColor;
///
/// let mut canvas = Canvas::new(128, 64, BinaryColor::Off);
/// draw(&mut canvas, &View::Starting).unwrap();
/// assert!(canvas.pixels().contains(&BinaryColor::On));
/// ```
///
/// # Errors
/// The target's errors.
pub fn draw<D>(target: &mut D, view: &View) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: Theme,
{
    draw_on(target, view, Outline::Rectangle)
}

/// Draws a mark that says that somebody sees the camera's pictures by the
/// preview: an eye beside the face, over a view that was
/// [drawn](draw_on).
///
/// # Errors
/// The target's errors.
pub fn draw_watched<D>(target: &mut D, view: &View, outline: Outline) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: Theme,
{
    let layout = Layout::of(target.bounding_box(), view, outline);
    let picture = layout.face;
    // The free corner beside a round face, but never too small to be seen.
    let side = (picture.size.width * 22 / 100).max(11);
    let side = side.min(picture.size.width).min(picture.size.height);
    let bottom = picture.top_left.y + (picture.size.height - side) as i32;
    let corner = match outline {
        Outline::Rectangle => Point::new(picture.top_left.x, bottom),
        // In a circle the face's corners may be outside of the display.
        Outline::Round => Point::new(
            picture.top_left.x + (picture.size.width - side) as i32 / 2,
            bottom,
        ),
    };
    let mut layers = Layers::new();
    let spot = Spot {
        centre: (
            corner.x as f32 + side as f32 / 2.0,
            corner.y as f32 + side as f32 / 2.0,
        ),
        radius: side as f32 / 2.0,
    };
    face::watched(&mut layers, spot);
    let area = Rectangle::new(corner, Size::new(side, side));
    layers.draw(target, area, Theme::of(Part::Ground))
}

/// Draws a view over the whole target, within the outline of the display.
///
/// # Errors
/// The target's errors.
pub fn draw_on<D>(target: &mut D, view: &View, outline: Outline) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: Theme,
{
    let bounds = target.bounding_box();
    target.fill_solid(&bounds, Theme::of(Part::Ground))?;
    let layout = Layout::of(bounds, view, outline);
    draw_picture(target, view, layout.face)?;
    match *view {
        View::Expression {
            expression,
            confidence,
            ref levels,
            others,
            ..
        } => {
            draw_label(target, expression.name(), &LABELS, &layout)?;
            draw_others(target, others, &layout)?;
            draw_gauge(target, confidence, Mood::Of(expression), &layout)?;
            draw_bars(target, levels, Some(expression), &layout)
        }
        View::Uncertain {
            confidence,
            ref levels,
            others,
            ..
        } => {
            draw_label(target, "uncertain", &LABELS, &layout)?;
            draw_others(target, others, &layout)?;
            draw_gauge(target, confidence, Mood::None, &layout)?;
            draw_bars(target, levels, None, &layout)
        }
        View::Starting => draw_message(target, "starting", &LABELS, "", &layout),
        View::Paused => draw_message(target, "paused", &LABELS, "", &layout),
        View::NoFace => draw_message(target, "no face", &LABELS, "", &layout),
        View::Stopped => draw_message(target, "stopped", &LABELS, "", &layout),
        View::Recording {
            seconds,
            ref advice,
        } => {
            let digits = [b'0' + seconds.min(9)];
            let left = std::str::from_utf8(&digits).unwrap_or_default();
            draw_message(target, left, &LABELS, advice.as_str(), &layout)
        }
        View::Recorded => draw_message(target, "recorded", &LABELS, "", &layout),
        View::NotRecorded { ref advice } => {
            draw_message(target, "not done", &LABELS, advice.as_str(), &layout)
        }
        View::NoCamera { ref reason } => {
            draw_message(target, "no camera", &LABELS, reason.as_str(), &layout)
        }
        View::Eyes {
            state: State::NoReading,
            reason,
            ..
        } => {
            let label = "no reading";
            draw_message(target, label, &[label], reason.map_or("", why), &layout)
        }
        View::Eyes {
            state,
            openness,
            perclos,
            ..
        } => {
            // Each state in letters as large as fit: the long ones would make all
            // of them small.
            draw_label(target, state.name(), &[state.name()], &layout)?;
            draw_eyes(target, openness, perclos, Mood::of_state(state), &layout)
        }
    }
}

const fn has_bars(view: &View) -> bool {
    match view {
        View::Expression { .. } | View::Uncertain { .. } => true,
        View::Eyes { state, .. } => !matches!(state, State::NoReading),
        View::Starting
        | View::NoCamera { .. }
        | View::Paused
        | View::NoFace
        | View::Recording { .. }
        | View::Recorded
        | View::NotRecorded { .. }
        | View::Stopped => false,
    }
}

/// A reason in words.
const fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Pose => "head turned away",
        Reason::Dark => "too dark",
        Reason::Glare => "too bright",
        Reason::EyesHidden => "eyes hidden",
        Reason::Rate => "too few frames",
        Reason::LostWhileClosed => "lost with shut eyes",
        Reason::CameraLost => "camera lost",
    }
}

/// The places of the parts. A part with an empty rectangle is left out.
#[derive(Clone, Copy, Debug)]
struct Layout {
    face: Rectangle,
    label: Rectangle,
    gauge: Rectangle,
    bars: Rectangle,
    align: Align,
}

/// The smallest width for text: 9 characters of 4 pixels.
const NARROWEST: i32 = 36;

/// The smallest useful height of a bar.
const LOWEST: i32 = 6;

impl Layout {
    fn of(bounds: Rectangle, view: &View, outline: Outline) -> Self {
        match outline {
            Outline::Rectangle => Self::new(bounds, has_bars(view)),
            Outline::Round => Self::round(bounds, has_bars(view)),
        }
    }

    fn new(bounds: Rectangle, has_bars: bool) -> Self {
        // Larger sides would show nothing more; so the arithmetic stays within
        // i32.
        let side = |length: u32| length.min(1 << 20) as i32;
        let (w, h) = (side(bounds.size.width), side(bounds.size.height));
        if w * 10 >= h * 13 && w - h.min(w / 2) >= NARROWEST {
            Self::beside(bounds.top_left, w, h, has_bars)
        } else {
            Self::below(bounds.top_left, w, h, has_bars)
        }
    }

    /// The face at the top of a circle, then the label and the gauge, each as
    /// wide as the circle at that height. There is no room for bars.
    fn round(bounds: Rectangle, has_bars: bool) -> Self {
        let side = |length: u32| length.min(1 << 20) as i32;
        let (w, h) = (side(bounds.size.width), side(bounds.size.height));
        let corner = bounds.top_left;
        // A row that fits into the ellipse with these sides.
        let row = |top: i32, bottom: i32| {
            let far = (2 * top - h).abs().max((2 * bottom - h).abs()) as f32 / h.max(1) as f32;
            let width = (w as f32 * (1.0 - far * far).max(0.0).sqrt()) as i32;
            area(
                corner + Point::new((w - width) / 2, top),
                width,
                bottom - top,
            )
        };
        let margin = h / 16;
        let face = even((h * 54 / 100).min(w - 2 * margin));
        let text = margin + face + h / 40;
        let mut layout = Self {
            face: area(corner + Point::new((w - face) / 2, margin), face, face),
            label: row(text, h - margin),
            gauge: NOWHERE,
            bars: NOWHERE,
            align: Align::Centre,
        };
        if has_bars {
            layout.label = row(text, text + h * 16 / 100);
            layout.gauge = row(text + h * 19 / 100, text + h * 19 / 100 + (h / 18).max(7));
        }
        layout
    }

    /// The face on the left, the rest on the right of it.
    fn beside(corner: Point, w: i32, h: i32, has_bars: bool) -> Self {
        let margin = h.min(w) / 40;
        let face = even((h - 2 * margin).min((w - 3 * margin) * 48 / 100));
        let left = margin + face + (2 * margin + 1).max(3);
        let width = w - left - margin.max(1);
        // On tall targets the panel is a little higher than the face, but not
        // as high as the target.
        let height = (h - 2 * margin).min(face * 7 / 5);
        let mut rows = Rows::new(corner + Point::new(left, (h - height) / 2), width, height);
        let space = (height / 20).max(1);
        let mut layout = Self {
            face: area(corner + Point::new(margin, (h - face) / 2), face, face),
            label: NOWHERE,
            gauge: NOWHERE,
            bars: NOWHERE,
            align: Align::Left,
        };
        if has_bars {
            layout.label = rows.next((height * 23 / 100).max(13.min(h)), space);
            layout.gauge = rows.next((height / 11).max(7), space * 2);
            layout.bars = rows.rest(LOWEST);
        } else {
            layout.label = rows.rest(0);
        }
        layout
    }

    /// The face at the top, the rest below it.
    fn below(corner: Point, w: i32, h: i32, has_bars: bool) -> Self {
        let margin = h.min(w) / 40;
        let width = w - 2 * margin;
        let with_text = w >= NARROWEST && h >= 24;
        let share = match (with_text, has_bars) {
            (false, _) => 100,
            (true, true) => 51,
            (true, false) => 60,
        };
        let face = even((w - 2 * margin).min((h - 2 * margin) * share / 100));
        let mut layout = Self {
            face: area(corner + Point::new((w - face) / 2, margin), face, face),
            label: NOWHERE,
            gauge: NOWHERE,
            bars: NOWHERE,
            align: Align::Centre,
        };
        if !with_text {
            layout.face = area(
                corner + Point::new((w - face) / 2, (h - face) / 2),
                face,
                face,
            );
            return layout;
        }
        let space = (h / 40).max(1);
        let top = margin + face + space;
        let mut rows = Rows::new(corner + Point::new(margin, top), width, h - margin - top);
        // A label may go up to the edges: at 64 pixels it needs 63 of them.
        let broad = |label: Rectangle| Rectangle {
            top_left: Point::new(corner.x, label.top_left.y),
            size: Size::new(w as u32, label.size.height),
        };
        if has_bars {
            layout.label = broad(rows.next((h * 14 / 100).max(8), space));
            layout.gauge = rows.next((h / 18).max(7), space * 2);
            layout.bars = rows.rest(LOWEST);
        } else {
            layout.label = broad(rows.rest(0));
        }
        layout
    }
}

const NOWHERE: Rectangle = Rectangle::zero();

fn area(corner: Point, width: i32, height: i32) -> Rectangle {
    if width < 1 || height < 1 {
        return NOWHERE;
    }
    Rectangle::new(corner, Size::new(width as u32, height as u32))
}

/// Divides the height of a column, from the top.
struct Rows {
    corner: Point,
    width: i32,
    height: i32,
}

impl Rows {
    const fn new(corner: Point, width: i32, height: i32) -> Self {
        Self {
            corner,
            width,
            height,
        }
    }

    /// The next rows, with a space below them; empty if there are too few.
    fn next(&mut self, height: i32, space: i32) -> Rectangle {
        if height > self.height {
            return NOWHERE;
        }
        let taken = area(self.corner, self.width, height);
        self.corner.y += height + space;
        self.height -= height + space;
        taken
    }

    /// The remaining rows; empty if there are less than `least`.
    fn rest(&self, least: i32) -> Rectangle {
        if self.height < least {
            return NOWHERE;
        }
        area(self.corner, self.width, self.height)
    }
}

fn even(length: i32) -> i32 {
    length.max(0) & !1
}

fn draw_picture<D>(target: &mut D, view: &View, area: Rectangle) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: Theme,
{
    let radius = area.size.width as f32 / 2.0;
    let spot = Spot {
        centre: (
            area.top_left.x as f32 + radius,
            area.top_left.y as f32 + radius,
        ),
        radius,
    };
    let mut layers = Layers::new();
    match *view {
        View::Expression {
            expression, turn, ..
        } => face::expression(&mut layers, spot, expression, turn.shift()),
        View::Uncertain { turn, .. } => face::uncertain(&mut layers, spot, turn.shift()),
        View::NoFace => face::nobody(&mut layers, spot),
        View::Recording { .. } => face::recording(&mut layers, spot),
        View::Recorded => face::done(&mut layers, spot),
        View::NotRecorded { .. } => face::not_done(&mut layers, spot),
        View::NoCamera { .. } => face::no_camera(&mut layers, spot),
        View::Starting => face::starting(&mut layers, spot),
        View::Paused => face::paused(&mut layers, spot),
        View::Stopped => face::asleep(&mut layers, spot),
        View::Eyes { state, .. } => face::eyes(&mut layers, spot, state),
    }
    layers.draw(target, area, Theme::of(Part::Ground))
}

/// All possible labels. All have the size that fits the longest one, so that
/// the size does not change between labels.
const LABELS: [&str; Expression::COUNT + 8] = {
    let mut labels = ["uncertain"; Expression::COUNT + 8];
    let mut index = 0;
    while index < Expression::COUNT {
        labels[index] = Expression::ALL[index].name();
        index += 1;
    }
    labels[index] = "no face";
    labels[index + 1] = "no camera";
    labels[index + 2] = "starting";
    labels[index + 3] = "stopped";
    labels[index + 4] = "paused";
    labels[index + 5] = "recorded";
    labels[index + 6] = "not done";
    labels
};

/// A label in the largest letters in which each of `all` fits.
fn draw_label<D>(target: &mut D, label: &str, all: &[&str], layout: &Layout) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: Theme,
{
    let area = layout.label;
    let Size { width, height } = area.size;
    let Some(style) = Style::fitting::<D::Color>(Weight::Bold, all, width, height) else {
        return Ok(());
    };
    style.line(target, label, Part::Text, area, layout.align)
}

/// The number of further faces, such as "+2", in the free corner beside the
/// round face.
fn draw_others<D>(target: &mut D, others: u8, layout: &Layout) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: Theme,
{
    // The largest square between circle and corner: r (1 - 1/sqrt 2).
    let side = layout.face.size.width * 146 / 1000;
    let font = text::font_fitting(Weight::Plain, 2, 1, side, side);
    let Some(style) = font.map(Style::Font).filter(|_| others > 0) else {
        return Ok(());
    };
    let digits = [b'+', b'0' + others.min(9)];
    let number = std::str::from_utf8(&digits).unwrap_or_default();
    let corner = Rectangle::new(layout.face.top_left, Size::new(side, style.height()));
    style.line(target, number, Part::Quiet, corner, Align::Left)
}

/// A label, in letters in which each of `all` fits, with a text below it, in the
/// middle of the label's area.
fn draw_message<D>(
    target: &mut D,
    label: &str,
    all: &[&str],
    note: &str,
    layout: &Layout,
) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: Theme,
{
    let area = layout.label;
    let Size { width, height } = area.size;
    let Some(style) = Style::fitting::<D::Color>(
        Weight::Bold,
        all,
        width,
        height.min((height * 40 / 100).max(13)),
    ) else {
        return Ok(());
    };
    let label_height = style.height();
    let gap = label_height / 4;
    let below = height.saturating_sub(label_height + gap);
    // The largest font with which a reason has three lines of a dozen
    // characters, or as much as fits.
    let small = [(12, 3), (9, 2)].into_iter().find_map(|(columns, lines)| {
        text::font_fitting(Weight::Plain, columns, lines, width, below)
    });
    let columns = small.map_or(0, |font| (width / text::width_of(font, 1)) as usize);
    let small = small.map(Style::Font);
    let small_height = small.map_or(1, Style::height);
    let room = (below / small_height) as usize;
    let lines = text::wrap(note, columns).take(room).count() as u32;
    let total = label_height
        + if lines > 0 {
            gap + lines * small_height
        } else {
            0
        };
    let mut y = area.top_left.y + (height.saturating_sub(total) / 2) as i32;
    let mut row = |height: u32, space: u32| {
        let row = Rectangle::new(Point::new(area.top_left.x, y), Size::new(width, height));
        y += (height + space) as i32;
        row
    };
    style.line(
        target,
        label,
        Part::Text,
        row(label_height, gap),
        Align::Centre,
    )?;
    let Some(small) = small else { return Ok(()) };
    for line in text::wrap(note, columns).take(room) {
        let row = row(small_height, 0);
        small.line(target, line, Part::Quiet, row, Align::Centre)?;
    }
    Ok(())
}

/// The confidence: a bar, and its number if there is room.
fn draw_gauge<D>(
    target: &mut D,
    confidence: Level,
    mood: Mood,
    layout: &Layout,
) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: Theme,
{
    let area = layout.gauge;
    let Size { width, height } = area.size;
    let mut bar = area;
    // Digits have no parts below the base line, so they may be a little larger.
    let room = height + height / 3;
    if let Some(style) = Style::fitting::<D::Color>(Weight::Plain, &["100%"], width / 3, room) {
        let mut digits = [0; 4];
        let number = percent(confidence, &mut digits);
        style.line(target, number, Part::Text, area, Align::Right)?;
        bar.size.width -= style.width("100%") + height / 3;
    }
    draw_bar(
        target,
        bar,
        confidence.share(),
        mood,
        Way::Right,
        Part::Ground,
    )
}

fn percent(level: Level, digits: &mut [u8; 4]) -> &str {
    let mut rest = level.percent();
    let mut first = digits.len() - 1;
    digits[first] = b'%';
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 || first == 0 {
            break;
        }
    }
    std::str::from_utf8(&digits[first..]).unwrap_or_default()
}

/// Where there is room, a row each for the left and the right eye and for
/// PERCLOS (`shut`); else the two eyes side by side. What is not known has a name
/// and no bar.
fn draw_eyes<D>(
    target: &mut D,
    openness: [Option<Level>; 2],
    perclos: Option<Level>,
    mood: Mood,
    layout: &Layout,
) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: Theme,
{
    let (gauge, bars) = (layout.gauge, layout.bars);
    if bars.is_zero_sized() {
        let width = gauge.size.width / 2;
        let half = Size::new(width.saturating_sub(1), gauge.size.height);
        for (index, level) in (0..).zip(openness) {
            if let Some(level) = level {
                let corner = gauge.top_left + Point::new(index * (width as i32 + 1), 0);
                let bar = Rectangle::new(corner, half);
                draw_bar(target, bar, level.share(), mood, Way::Right, Part::Ground)?;
            }
        }
        return Ok(());
    }
    // The gauge, the space below it and the bars.
    let top = if gauge.is_zero_sized() { bars } else { gauge }.top_left;
    let height = (bars.top_left.y - top.y) as u32 + bars.size.height;
    let width = bars.size.width;
    let rows = [
        ("left", openness[0]),
        ("right", openness[1]),
        ("shut", perclos),
    ];
    let count = rows.len() as u32;
    let names = rows.map(|(name, _)| name);
    let style = Style::fitting::<D::Color>(Weight::Plain, &names, width * 45 / 100, height / count);
    let left = style.map_or(0, |style| style.width("right") + style.height() / 2);
    let thick = (height / count * 45 / 100).max(3).min(height / count);
    for (index, (name, level)) in (0..).zip(rows) {
        let row = Rectangle::new(
            top + Point::new(0, (height * index / count) as i32),
            Size::new(width, height / count),
        );
        if let Some(style) = style {
            style.line(target, name, Part::Quiet, row, Align::Left)?;
        }
        if let Some(level) = level {
            let bar = Rectangle::new(
                row.top_left + Point::new(left as i32, (row.size.height - thick) as i32 / 2),
                Size::new(width.saturating_sub(left), thick),
            );
            draw_bar(target, bar, level.share(), mood, Way::Right, Part::Ground)?;
        }
    }
    Ok(())
}

/// The shortest names that distinguish the seven.
const INITIALS: [&str; Expression::COUNT] = ["A", "D", "F", "H", "Sa", "Su", "N"];

fn draw_bars<D>(
    target: &mut D,
    levels: &Levels,
    shown: Option<Expression>,
    layout: &Layout,
) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: Theme,
{
    let Size { width, height } = layout.bars.size;
    let row = height / Expression::COUNT as u32;
    // The room below the face is wide and low, so columns fill it better.
    let least = match layout.align {
        Align::Left => 8,
        Align::Centre | Align::Right => 14,
    };
    let style = Style::fitting::<D::Color>(Weight::Plain, &names(), width * 55 / 100, row);
    if let Some(style) = style.filter(|_| row >= least) {
        draw_list(target, levels, shown, layout.bars, style)
    } else {
        draw_columns(target, levels, shown, layout)
    }
}

fn names() -> [&'static str; Expression::COUNT] {
    Expression::ALL.map(Expression::name)
}

/// A row for each class: its name, and a bar to the right of it.
fn draw_list<D>(
    target: &mut D,
    levels: &Levels,
    shown: Option<Expression>,
    area: Rectangle,
    style: Style,
) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: Theme,
{
    let Size { width, height } = area.size;
    let count = Expression::COUNT as u32;
    let names = style.width(Expression::Surprise.name()) + style.height() / 2;
    let thick = (height / count * 40 / 100).max(3);
    for (index, expression) in Expression::ALL.into_iter().enumerate() {
        let top = height * index as u32 / count;
        let row = Rectangle::new(
            area.top_left + Point::new(0, top as i32),
            Size::new(width, height / count),
        );
        let (part, mood) = emphasis(expression, shown);
        style.line(target, expression.name(), part, row, Align::Left)?;
        let bar = Rectangle::new(
            row.top_left + Point::new(names as i32, (row.size.height - thick) as i32 / 2),
            Size::new(width.saturating_sub(names), thick),
        );
        draw_bar(
            target,
            bar,
            levels[index].share(),
            mood,
            Way::Right,
            Part::Ground,
        )?;
    }
    Ok(())
}

/// A column for each class, with as much of its name below it as fits.
fn draw_columns<D>(
    target: &mut D,
    levels: &Levels,
    shown: Option<Expression>,
    layout: &Layout,
) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: Theme,
{
    let area = layout.bars;
    let Size { width, height } = area.size;
    let count = Expression::COUNT as u32;
    let pitch = width / count;
    if pitch < 2 {
        return Ok(());
    }
    let style = |columns, width, least| {
        text::font_fitting(Weight::Plain, columns, 1, width, height * 2 / 5)
            .map(Style::Font)
            .filter(|style| style.height() >= least)
    };
    let (style, name): (_, fn(Expression) -> &'static str) = if let Some(style) = style(8, pitch, 7)
    {
        (Some(style), Expression::name)
    } else if let Some(style) = style(3, pitch - 1, 7) {
        (Some(style), |expression| &expression.name()[..3])
    } else {
        (style(2, pitch, 6), |expression| {
            INITIALS[expression.index()]
        })
    };
    let names = style.map_or(0, |style| style.height() + 1);
    let left = match layout.align {
        Align::Centre => (width - pitch * count) as i32 / 2,
        Align::Left | Align::Right => 0,
    };
    let thick = pitch * if D::Color::ONE_BIT { 7 } else { 5 } / 10;
    for (index, expression) in Expression::ALL.into_iter().enumerate() {
        let corner = area.top_left + Point::new(left + (pitch * index as u32) as i32, 0);
        let bar = Rectangle::new(
            corner + Point::new((pitch - thick) as i32 / 2, 0),
            Size::new(thick.max(1), height - names),
        );
        let (part, mood) = emphasis(expression, shown);
        draw_bar(
            target,
            bar,
            levels[index].share(),
            mood,
            Way::Up,
            Part::Ground,
        )?;
        if let Some(style) = style {
            let foot = Rectangle::new(
                corner + Point::new(0, (height - style.height()) as i32),
                Size::new(pitch, style.height()),
            );
            style.line(target, name(expression), part, foot, Align::Centre)?;
        }
    }
    Ok(())
}

/// The parts for a class's text and bar: the shown class is highlighted.
fn emphasis(expression: Expression, shown: Option<Expression>) -> (Part, Mood) {
    if shown == Some(expression) {
        (Part::Text, Mood::Of(expression))
    } else {
        (Part::Quiet, Mood::None)
    }
}
