//! The tracker: matches detections with the faces that it follows.

use std::cmp::Ordering;
use std::time::Duration;

use super::confirm::Finds;
use super::options::{Options, Policy};
use super::slots::{FaceKey, FreeSlots, SLOTS, Slot};
use crate::detect::{Detection, Expected, Found};
use crate::frame::{Rect, Timestamp};

/// The largest number of detections that are used in a frame.
const MAX_DETECTIONS: usize = 64;

/// After a pause between frames that is longer than this (and than
/// `lost_after`), another person may be at the place of a face.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The weight of a newly measured velocity. It is below 1 because the
/// detector's jitter between two frames looks like motion.
const VELOCITY_GAIN: f64 = 0.5;

/// A face takes the lead by size only if its area is this much larger than the
/// leading one's, so that two people side by side do not take turns.
const LEAD_BY_AREA: f64 = 1.2;

/// A face takes the lead by position only if it is nearer to the centre by this
/// part of the leading one's width.
const LEAD_BY_DISTANCE: f64 = 0.2;

/// A face that is followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Track {
    /// Counts up from 1, one per confirmed face.
    pub id: u32,
    /// The face's own slot for as long as it is followed.
    pub slot: Slot,
    /// The detector's box if it found the face in this frame, otherwise the
    /// expected box by the last [`Prediction`] and velocity.
    pub rect: Rect,
    /// How far the head is tilted in the picture, in degrees, positive
    /// clockwise; 0 unless a [`Prediction`] says otherwise.
    pub roll: f32,
    /// How many raw windows agreed when the face was last found.
    pub neighbors: u32,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    /// When the face's place was last searched, with or without success.
    pub searched: Timestamp,
    /// Whether the detector found the face in this frame, and not in an earlier
    /// one whose search ended only now.
    pub found: bool,
    /// Whether there is a [`Prediction`] from the frame before.
    pub predicted: bool,
}

impl Track {
    /// The key under which other stages remember the face.
    #[must_use]
    pub const fn key(&self) -> FaceKey {
        FaceKey {
            id: self.id,
            slot: self.slot,
        }
    }
}

/// What a later stage measured on a face in a frame. The tracker uses it from
/// the next frame on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The middle of the face in pixels, x to the right and y down.
    pub centre: (f64, f64),
    /// The side of the face's square box in pixels, like the detector's box.
    pub side: f64,
    /// How far the head is tilted in the picture, in degrees, positive
    /// clockwise.
    pub roll: f32,
    /// Probability that the box contains a face, 0 to 1.
    pub presence: f32,
}

/// A face is dropped if its box contains no face in this many frames in a row.
const ABSENT_FRAMES: u32 = 3;

/// The tracker's state of a face.
#[derive(Clone, Copy, Debug)]
struct Followed {
    /// 0 until confirmed, so that false faces use up no ids.
    id: u32,
    slot: Slot,
    /// The last box that was found.
    seen: Rect,
    /// The present box, found or predicted.
    rect: Rect,
    neighbors: u32,
    first_seen: Timestamp,
    last_seen: Timestamp,
    searched: Timestamp,
    /// `last_seen` on the tracker's own clock.
    seen_at: Duration,
    /// Pixels per second, to the right and down.
    velocity: (f64, f64),
    /// How often it was found, in all and since the last miss.
    hits: u32,
    run: u32,
    /// The tilt by the last prediction, in degrees.
    roll: f32,
    /// Frames in a row in which the box contained no face, by the prediction.
    absent: u32,
    /// Whether a prediction came with this frame.
    predicted: bool,
    found: bool,
    /// Whether the detector searched for it in this frame.
    looked: bool,
    lost: bool,
}

/// A track and a detection that overlap.
#[derive(Clone, Copy, Debug)]
struct Pair {
    overlap: f64,
    track: usize,
    detection: usize,
}

/// Follows faces. Allocates only when built.
///
/// ```
/// use affectd::detect::Detection;
/// use affectd::frame::{Rect, Timestamp};
/// use affectd::track::{Options, Tracker};
///
/// let mut tracker = Tracker::new(Options::default());
/// let picture = Rect::new(0, 0, 640, 480);
/// for frame in 0..3 {
///     let face = Detection { rect: Rect::new(100 + 5 * frame, 80, 90, 90), neighbors: 9 };
///     let now = Timestamp::from_millis(100 * frame as u64);
///     tracker.update(now, picture, Some(&[face]));
/// }
/// let leading = tracker.leading().unwrap();
/// assert_eq!((leading.id, leading.rect.x), (1, 110));
/// ```
#[derive(Debug)]
pub struct Tracker {
    options: Options,
    /// Oldest first.
    followed: Vec<Followed>,
    free: FreeSlots,
    finds: Finds,
    pairs: Vec<Pair>,
    tracks: Vec<Track>,
    counting: Vec<Track>,
    previous: Option<Timestamp>,
    /// Advances with the timestamps but never back.
    clock: Duration,
    next_id: u32,
    refused: u64,
    /// The id of the leading face, 0 if there is none.
    leader: u32,
}

/// The options, with the default thresholds if the given ones do not fit
/// together.
fn usable(mut options: Options) -> Options {
    options.confirm = options.confirm.max(1);
    if options.validate().is_ok() {
        return options;
    }
    Options {
        policy: options.policy,
        lost_after: options.lost_after,
        confirm: options.confirm,
        confirm_within: options.confirm_within,
        ..Options::default()
    }
}

impl Tracker {
    /// A tracker without faces. If the options do not
    /// [validate](Options::validate), their thresholds are the default ones.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let options = usable(options);
        Self {
            finds: Finds::new(&options),
            options,
            followed: Vec::with_capacity(SLOTS),
            free: FreeSlots::ALL,
            pairs: Vec::with_capacity(SLOTS * MAX_DETECTIONS),
            tracks: Vec::with_capacity(SLOTS),
            counting: Vec::with_capacity(SLOTS),
            previous: None,
            clock: Duration::ZERO,
            next_id: 1,
            refused: 0,
            leader: 0,
        }
    }

    /// Takes the faces found in the whole frame of time `now`, or `None` if the
    /// detector did not search that frame: then the faces move by their
    /// velocity and none counts as missed. `picture` is the frame's bounds.
    ///
    /// Returns the confirmed faces, oldest id first. A timestamp before the
    /// last one counts as the same instant.
    pub fn update(
        &mut self,
        now: Timestamp,
        picture: Rect,
        detections: Option<&[Detection]>,
    ) -> &[Track] {
        let looked = detections.is_some();
        self.advance(
            now,
            picture,
            detections.unwrap_or(&[]),
            |_| now,
            |_| looked,
            |_| None,
        )
    }

    /// As [`update`](Self::update), with the result of a search that
    /// [`expected`](Self::expected) guided: perhaps only in parts of the frame,
    /// and perhaps with faces of earlier frames.
    ///
    /// `verify` is asked about each box that may be a new face, before the face
    /// gets a slot. It returns an observer's answer; `None` accepts the box
    /// without a check. A presence below [`Options::presence`] rejects it.
    pub fn follow(
        &mut self,
        now: Timestamp,
        picture: Rect,
        found: &Found<'_>,
        verify: impl FnMut(Rect) -> Option<Prediction>,
    ) -> &[Track] {
        self.advance(
            now,
            picture,
            found.detections,
            |detection| found.searched_at.get(detection).copied().unwrap_or(now),
            |slot| found.looked.contains(&key_of(slot)),
            verify,
        )
    }

    /// Takes a prediction from the last frame. Call this before the next
    /// frame's [`expected`](Self::expected). A face that is no longer followed
    /// is ignored.
    ///
    /// A presence of [`Options::presence_keep`] or more counts as seeing the
    /// face there. A lower one, three frames in a row, ends the face.
    pub fn predict(&mut self, face: FaceKey, prediction: Prediction) {
        let (Some(at), clock) = (self.previous, self.clock) else {
            return;
        };
        let Some(index) = self
            .followed
            .iter()
            .position(|known| known.slot == face.slot && known.id == face.id)
        else {
            return;
        };
        let known = &mut self.followed[index];
        if !self.options.keeps(prediction.presence) {
            known.absent += 1;
            if known.absent >= ABSENT_FRAMES {
                self.free.give_back(known.slot);
                self.followed.remove(index);
            }
            return;
        }
        known.absent = 0;
        if let Some(rect) = Rect::square(prediction.centre, prediction.side) {
            known.roll = prediction.roll;
            known.predicted = true;
            place(known, rect, at, clock);
        }
    }

    /// `searched_at` gives the time at which the place of a detection was
    /// searched; `looked` says whether the surroundings of a slot's face were
    /// searched in this frame.
    fn advance(
        &mut self,
        now: Timestamp,
        picture: Rect,
        detections: &[Detection],
        searched_at: impl Fn(usize) -> Timestamp,
        looked: impl Fn(Slot) -> bool,
        verify: impl FnMut(Rect) -> Option<Prediction>,
    ) -> &[Track] {
        let step = self.previous.map_or(Duration::ZERO, |p| now.since(p));
        self.previous = Some(now);
        self.clock = self.clock.saturating_add(step);
        if step > LONGEST_PAUSE.max(self.options.lost_after) {
            self.forget_all();
        }

        for face in &mut self.followed {
            face.found = false;
            face.looked = looked(face.slot);
            if face.looked || face.predicted {
                face.searched = now;
            }
            face.rect = within(predict(face, self.clock), picture);
        }
        let detections = &detections[..detections.len().min(MAX_DETECTIONS)];
        let taken = self.match_to(detections, now, &searched_at);
        self.drop_missed();
        self.start_new(detections, &taken, now, &searched_at, verify);

        self.tracks.clear();
        self.tracks.extend(
            self.followed
                .iter()
                .filter(|face| face.id != 0)
                .map(|face| Track {
                    id: face.id,
                    slot: face.slot,
                    rect: face.rect,
                    roll: face.roll,
                    neighbors: face.neighbors,
                    first_seen: face.first_seen,
                    last_seen: face.last_seen,
                    searched: face.searched,
                    found: face.found && face.last_seen == now,
                    predicted: face.predicted,
                }),
        );
        self.tracks.sort_unstable_by_key(|track| track.id);
        // The predictions for the next frame come later.
        for face in &mut self.followed {
            face.predicted = false;
        }
        self.choose(picture);
        &self.tracks
    }

    /// The confirmed faces of the last update, oldest id first.
    #[must_use]
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Where to search in the next frame: the faces of the last update,
    /// including unconfirmed ones, which could never be confirmed otherwise.
    pub fn expected(&self) -> impl ExactSizeIterator<Item = Expected> {
        self.followed.iter().map(|face| Expected {
            key: key_of(face.slot),
            rect: face.rect,
            carried: face.predicted,
        })
    }

    /// Uses other options from now on; if they do not
    /// [validate](Options::validate), their thresholds are replaced as in
    /// [`new`](Self::new).
    pub fn set_options(&mut self, options: Options) {
        let options = usable(options);
        if self.options.confirm != options.confirm
            || self.options.confirm_within != options.confirm_within
        {
            self.finds = Finds::new(&options);
            for face in &mut self.followed {
                (face.hits, face.run) = (0, 0);
            }
        }
        self.options = options;
    }

    /// The options in force.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// How many boxes were rejected since the start.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// The faces that count by the policy, the leading one first: at most one
    /// unless the policy is [`Policy::All`].
    #[must_use]
    pub fn counting(&self) -> &[Track] {
        &self.counting
    }

    /// The face that counts most.
    #[must_use]
    pub fn leading(&self) -> Option<&Track> {
        self.counting.first()
    }

    /// Forgets every face, for example after the camera was lost; ids continue.
    pub fn clear(&mut self) {
        self.forget_all();
        self.tracks.clear();
        self.counting.clear();
        self.leader = 0;
    }

    fn forget_all(&mut self) {
        self.followed.clear();
        self.free = FreeSlots::ALL;
    }

    /// Gives each face the detection that overlaps it most, largest overlap
    /// first. Returns which detections were used.
    fn match_to(
        &mut self,
        detections: &[Detection],
        now: Timestamp,
        searched_at: &impl Fn(usize) -> Timestamp,
    ) -> [bool; MAX_DETECTIONS] {
        self.pairs.clear();
        for (track, face) in self.followed.iter().enumerate() {
            for (detection, found) in detections.iter().enumerate() {
                // If a person stops suddenly, the face is at its last place,
                // not at the expected one.
                let overlap = found
                    .rect
                    .overlap(face.rect)
                    .max(found.rect.overlap(face.seen));
                if overlap >= self.options.min_overlap {
                    self.pairs.push(Pair {
                        overlap,
                        track,
                        detection,
                    });
                }
            }
        }
        // Of equal overlaps the older face wins, so that the order is the same
        // on every machine.
        self.pairs.sort_unstable_by(|a, b| {
            b.overlap
                .total_cmp(&a.overlap)
                .then(a.track.cmp(&b.track))
                .then(a.detection.cmp(&b.detection))
        });

        let mut taken = [false; MAX_DETECTIONS];
        for pair in &self.pairs {
            let face = &mut self.followed[pair.track];
            if face.found || taken[pair.detection] {
                continue;
            }
            taken[pair.detection] = true;
            let at = searched_at(pair.detection);
            let clock = self.clock.saturating_sub(now.since(at));
            if clock < face.seen_at {
                // An old find of a face that was found again later.
                continue;
            }
            see(face, detections[pair.detection], at, clock);
            let counts = self.finds.note(face.slot, face.hits, face.run, clock);
            if face.id == 0 && counts {
                face.id = take_id(&mut self.next_id);
            }
        }
        taken
    }

    /// Ends faces that were searched and not found: unconfirmed ones after
    /// `confirm_within`, others after `lost_after`.
    fn drop_missed(&mut self) {
        for face in &mut self.followed {
            if !face.looked || face.found || face.predicted {
                continue;
            }
            face.run = 0;
            let unseen = self.clock.saturating_sub(face.seen_at);
            face.lost = unseen
                >= if face.id == 0 {
                    self.options.confirm_within
                } else {
                    self.options.lost_after
                };
        }
        // Unlike swap_remove, retain keeps the older faces in front.
        self.followed.retain(|face| {
            if face.lost {
                self.free.give_back(face.slot);
            }
            !face.lost
        });
    }

    fn start_new(
        &mut self,
        detections: &[Detection],
        taken: &[bool; MAX_DETECTIONS],
        now: Timestamp,
        searched_at: &impl Fn(usize) -> Timestamp,
        mut verify: impl FnMut(Rect) -> Option<Prediction>,
    ) {
        for (index, (detection, taken)) in detections.iter().zip(taken).enumerate() {
            if *taken || self.followed.len() == SLOTS {
                continue;
            }
            // Cascades also fire on parts of a face (and on head and shoulders
            // around it): a box whose centre is inside a face that was just
            // found is not another face.
            let centre = detection.rect.centre();
            let is_part = self
                .followed
                .iter()
                .any(|face| (face.found || face.predicted) && contains(face.rect, centre));
            if is_part {
                continue;
            }
            let prediction = verify(detection.rect);
            if prediction.is_some_and(|seen| !self.options.accepts(seen.presence)) {
                self.refused += 1;
                continue;
            }
            let Some(slot) = self.free.take() else {
                break;
            };
            let at = searched_at(index);
            let clock = self.clock.saturating_sub(now.since(at));
            let counts = self.finds.note(slot, 1, 1, clock);
            let id = if counts {
                take_id(&mut self.next_id)
            } else {
                0
            };
            self.followed.push(Followed {
                id,
                slot,
                seen: detection.rect,
                rect: detection.rect,
                neighbors: detection.neighbors,
                first_seen: at,
                last_seen: at,
                searched: at,
                seen_at: clock,
                velocity: (0.0, 0.0),
                hits: 1,
                run: 1,
                roll: prediction.map_or(0.0, |prediction| prediction.roll),
                absent: 0,
                predicted: false,
                found: true,
                looked: true,
                lost: false,
            });
        }
    }

    /// Orders the faces that count.
    fn choose(&mut self, picture: Rect) {
        let current = self.tracks.iter().find(|track| track.id == self.leader);
        let area = |track: &Track| track.rect.area() as f64;
        let distance = |track: &Track| {
            let (x, y) = track.rect.centre();
            let (centre_x, centre_y) = picture.centre();
            (x - centre_x).hypot(y - centre_y)
        };
        // `max_by` and `min_by` would choose the younger of two equal faces.
        let better = |order: fn(f64, f64) -> Ordering, value: &dyn Fn(&Track) -> f64| {
            self.tracks.iter().reduce(|best, track| {
                if order(value(track), value(best)) == Ordering::Less {
                    track
                } else {
                    best
                }
            })
        };
        let leader = match self.options.policy {
            Policy::Largest | Policy::All => {
                let largest = better(|a, b| b.total_cmp(&a), &area);
                largest.map(|largest| match current {
                    Some(current) if area(largest) < LEAD_BY_AREA * area(current) => current,
                    _ => largest,
                })
            }
            Policy::MostCentral => {
                let nearest = better(|a, b| a.total_cmp(&b), &distance);
                nearest.map(|nearest| match current {
                    Some(current)
                        if distance(nearest)
                            > distance(current)
                                - LEAD_BY_DISTANCE * f64::from(current.rect.width) =>
                    {
                        current
                    }
                    _ => nearest,
                })
            }
            Policy::First => current.or(self.tracks.first()),
        };

        self.counting.clear();
        self.leader = leader.map_or(0, |track| track.id);
        self.counting.extend(leader);
        if self.options.policy == Policy::All {
            let leader = self.leader;
            let others = self.tracks.iter().filter(|track| track.id != leader);
            self.counting.extend(others);
        }
    }
}

/// The next id; skips 0 when the numbers start again.
fn take_id(next: &mut u32) -> u32 {
    let id = *next;
    *next = next.checked_add(1).unwrap_or(1);
    id
}

fn contains(rect: Rect, (x, y): (f64, f64)) -> bool {
    x >= f64::from(rect.x)
        && x < rect.right() as f64
        && y >= f64::from(rect.y)
        && y < rect.bottom() as f64
}

/// The expected place of a face, by constant velocity since it was last seen,
/// but at most its own size away, because velocities are inaccurate.
fn predict(face: &Followed, clock: Duration) -> Rect {
    let seconds = clock.saturating_sub(face.seen_at).as_secs_f64();
    let limit_x = f64::from(face.seen.width);
    let limit_y = f64::from(face.seen.height);
    let dx = (face.velocity.0 * seconds).clamp(-limit_x, limit_x);
    let dy = (face.velocity.1 * seconds).clamp(-limit_y, limit_y);
    // The casts saturate.
    Rect {
        x: (f64::from(face.seen.x) + dx).round() as i32,
        y: (f64::from(face.seen.y) + dy).round() as i32,
        ..face.seen
    }
}

/// Moves a box into the picture. The detector finds no box that reaches out of
/// it, so a face that seems to have left is searched at the edge where it left.
/// A box that is larger than the picture starts at its corner.
fn within(rect: Rect, picture: Rect) -> Rect {
    let place = |at: i32, from: i32, end: i64, side: u32| {
        let last = (end - i64::from(side)).max(i64::from(from));
        i64::from(at).clamp(from.into(), last) as i32
    };
    Rect {
        x: place(rect.x, picture.x, picture.right(), rect.width),
        y: place(rect.y, picture.y, picture.bottom(), rect.height),
        ..rect
    }
}

/// The search's key for the face of a slot.
fn key_of(slot: Slot) -> u32 {
    slot.index() as u32
}

/// Takes a detection of a face, with its time and the time on the tracker's
/// clock.
fn see(face: &mut Followed, detection: Detection, at: Timestamp, clock: Duration) {
    if face.predicted {
        // If the boxes of detector and face net took turns, the box would jump.
        face.last_seen = at;
    } else {
        place(face, detection.rect, at, clock);
    }
    face.neighbors = detection.neighbors;
    face.hits = face.hits.saturating_add(1);
    face.run = face.run.saturating_add(1);
    face.found = true;
}

/// Takes the place of a face at a time.
fn place(face: &mut Followed, rect: Rect, at: Timestamp, clock: Duration) {
    let seconds = clock.saturating_sub(face.seen_at).as_secs_f64();
    if seconds > 0.0 {
        let (old_x, old_y) = face.seen.centre();
        let (new_x, new_y) = rect.centre();
        let (vx, vy) = face.velocity;
        face.velocity = (
            vx + VELOCITY_GAIN * ((new_x - old_x) / seconds - vx),
            vy + VELOCITY_GAIN * ((new_y - old_y) / seconds - vy),
        );
    }
    face.seen = rect;
    face.rect = rect;
    face.last_seen = at;
    face.searched = face.searched.max(at);
    face.seen_at = clock;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::{BySlot, OptionsError};
    use proptest::prelude::*;

    const PICTURE: Rect = Rect::new(0, 0, 640, 480);

    fn face(x: i32, y: i32, side: u32) -> Detection {
        Detection {
            rect: Rect::new(x, y, side, side),
            neighbors: 5,
        }
    }

    fn tracker(policy: Policy) -> Tracker {
        Tracker::new(Options {
            policy,
            confirm: 1,
            ..Options::default()
        })
    }

    /// Ids and left edges after an update at a number of milliseconds.
    fn at(tracker: &mut Tracker, millis: u64, faces: &[Detection]) -> Vec<(u32, i32)> {
        let now = Timestamp::from_millis(millis);
        let tracks = tracker.update(now, PICTURE, Some(faces));
        tracks
            .iter()
            .map(|track| (track.id, track.rect.x))
            .collect()
    }

    fn leader(tracker: &Tracker) -> u32 {
        tracker.leading().map_or(0, |track| track.id)
    }

    #[test]
    fn policies_have_names() {
        for policy in Policy::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        let error = "biggest".parse::<Policy>().unwrap_err().to_string();
        assert!(error.contains("biggest") && error.contains("largest"));
    }

    #[test]
    fn options_are_checked() {
        assert_eq!(Options::default().validate(), Ok(()));
        let options = Options {
            confirm: 0,
            ..Options::default()
        };
        assert_eq!(options.validate(), Err(OptionsError::Confirm(0)));
        for (presence, presence_keep) in [(0.5, 0.8), (1.1, 0.5), (f32::NAN, 0.5)] {
            let options = Options {
                presence,
                presence_keep,
                ..Options::default()
            };
            assert!(options.validate().is_err());
        }
        for min_overlap in [0.0, 1.1, f64::NAN] {
            let options = Options {
                min_overlap,
                ..Options::default()
            };
            assert!(options.validate().is_err());
        }
    }

    #[test]
    fn a_face_counts_when_confirmed() {
        let mut tracker = Tracker::new(Options::default());
        assert_eq!(at(&mut tracker, 0, &[face(10, 10, 50)]), []);
        assert_eq!(at(&mut tracker, 100, &[face(12, 10, 50)]), [(1, 12)]);
        let track = tracker.leading().unwrap();
        assert_eq!(track.first_seen, Timestamp::from_millis(0));
        assert_eq!(track.last_seen, Timestamp::from_millis(100));
        assert!(track.found);
    }

    /// The face's id in each frame, for a face that some frames show.
    fn ids(options: Options, step: u64, there: &[bool]) -> Vec<u32> {
        let mut tracker = Tracker::new(options);
        (0..)
            .zip(there)
            .map(|(frame, there)| {
                let faces = [face(10, 10, 50)];
                let faces = if *there { &faces[..] } else { &[] };
                at(&mut tracker, step * frame, faces)
                    .first()
                    .map_or(0, |face| face.0)
            })
            .collect()
    }

    #[test]
    fn finds_count_within_a_time_window() {
        let (lit, dark) = (true, false);
        let blinking = [lit, dark, lit, dark];
        let options = Options::default();
        // A strobed lamp at 30, 15 and 10 frames per second.
        for step in [33, 67, 100] {
            assert_eq!(ids(options, step, &blinking), [0, 0, 1, 1], "{step} ms");
        }
        // 202 ms between two finds.
        assert_eq!(ids(options, 101, &blinking), [0, 0, 0, 0]);
        let in_a_row = Options {
            confirm_within: Duration::ZERO,
            ..options
        };
        assert_eq!(ids(in_a_row, 33, &blinking), [0, 0, 0, 0]);
        assert_eq!(ids(in_a_row, 33, &[lit, lit]), [0, 1]);
    }

    #[test]
    fn finds_in_a_row_count_however_slow_the_frames_are() {
        let options = Options {
            confirm: 3,
            ..Options::default()
        };
        assert_eq!(ids(options, 500, &[true; 4]), [0, 0, 1, 1]);
        // The window slides: the third, fifth and sixth are within 200 ms.
        let there = [true, false, true, false, true, true];
        assert_eq!(ids(options, 66, &there), [0, 0, 0, 0, 0, 1]);
        assert_eq!(ids(options, 67, &there), [0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_false_face_uses_no_id() {
        let mut tracker = Tracker::new(Options::default());
        for frame in 0..10_u64 {
            // At another place in each frame.
            let faces = [face(100 * (frame as i32 % 5), 10, 50)];
            let faces = if frame % 2 == 0 { &faces[..] } else { &[] };
            assert_eq!(at(&mut tracker, 100 * frame, faces), []);
        }
        at(&mut tracker, 1000, &[face(10, 10, 50)]);
        assert_eq!(at(&mut tracker, 1100, &[face(10, 10, 50)]), [(1, 10)]);
    }

    #[test]
    fn an_id_outlives_misses_and_ends_on_time() {
        let mut tracker = tracker(Policy::Largest);
        at(&mut tracker, 0, &[face(10, 10, 50)]);
        assert_eq!(at(&mut tracker, 599, &[]), [(1, 10)]);
        assert!(!tracker.leading().unwrap().found);
        assert_eq!(at(&mut tracker, 600, &[]), []);
        assert_eq!(at(&mut tracker, 700, &[face(10, 10, 50)]), [(2, 10)]);
    }

    #[test]
    fn frames_without_detection_are_not_misses() {
        let mut tracker = Tracker::new(Options::default());
        let found = [face(10, 10, 50)];
        tracker.update(Timestamp::from_millis(0), PICTURE, Some(&found));
        tracker.update(Timestamp::from_millis(50), PICTURE, None);
        tracker.update(Timestamp::from_millis(100), PICTURE, Some(&found));
        for frame in 0..20 {
            let now = Timestamp::from_millis(150 + 50 * frame);
            assert_eq!(tracker.update(now, PICTURE, None).len(), 1);
        }
    }

    /// Applies the result of a search: boxes with the time of their frame, and
    /// the slots of the followed faces that it searched.
    fn follow(
        tracker: &mut Tracker,
        millis: u64,
        sights: &[(Detection, u64)],
        looked: &[u32],
    ) -> Vec<Track> {
        let detections: Vec<_> = sights.iter().map(|sight| sight.0).collect();
        let searched_at: Vec<_> = sights
            .iter()
            .map(|sight| Timestamp::from_millis(sight.1))
            .collect();
        let found = Found {
            detections: &detections,
            searched_at: &searched_at,
            looked,
            full: false,
            work: 0,
        };
        tracker
            .follow(Timestamp::from_millis(millis), PICTURE, &found, |_| None)
            .to_vec()
    }

    #[test]
    fn an_old_find_begins_a_track_at_its_own_time() {
        let mut tracker = tracker(Policy::Largest);
        let ms = Timestamp::from_millis;
        follow(&mut tracker, 0, &[], &[]);
        let tracks = follow(&mut tracker, 400, &[(face(10, 10, 50), 100)], &[]);
        assert_eq!(
            (tracks[0].first_seen, tracks[0].last_seen),
            (ms(100), ms(100))
        );
        assert_eq!((tracks[0].searched, tracks[0].found), (ms(100), false));
        // 12 pixels since that time, and not since the last frame.
        let tracks = follow(&mut tracker, 500, &[(face(22, 10, 50), 500)], &[0]);
        assert_eq!(
            (tracks[0].id, tracks[0].searched, tracks[0].found),
            (1, ms(500), true)
        );
        let tracks = follow(&mut tracker, 600, &[], &[]);
        assert_eq!((tracks[0].rect.x, tracks[0].searched), (24, ms(500)));
    }

    #[test]
    fn an_old_find_of_a_face_that_was_found_since_changes_nothing() {
        let mut tracker = tracker(Policy::All);
        follow(&mut tracker, 0, &[], &[]);
        follow(&mut tracker, 100, &[(face(10, 10, 50), 100)], &[]);
        let tracks = follow(&mut tracker, 200, &[(face(30, 10, 50), 50)], &[0]);
        assert_eq!((tracks.len(), tracks[0].rect.x), (1, 10));
        assert_eq!(tracks[0].searched, Timestamp::from_millis(200));
    }

    #[test]
    fn a_face_is_missed_only_if_it_was_searched() {
        let mut tracker = tracker(Policy::All);
        let both = [(face(10, 10, 50), 0), (face(300, 10, 50), 0)];
        follow(&mut tracker, 0, &both, &[]);
        for millis in (100..=1500).step_by(100) {
            follow(&mut tracker, millis, &[(face(10, 10, 50), millis)], &[0]);
        }
        assert_eq!(tracker.tracks().len(), 2);
        assert_eq!(tracker.tracks()[1].searched, Timestamp::from_millis(0));
        let tracks = follow(&mut tracker, 1600, &[(face(10, 10, 50), 1600)], &[0, 1]);
        assert_eq!(tracks.len(), 1);
    }

    #[test]
    fn a_slot_is_kept_for_life_and_then_given_to_the_next_face() {
        let mut tracker = tracker(Policy::All);
        let mut names = BySlot::<Option<&str>>::default();
        let (left, middle, right) = (face(0, 0, 50), face(200, 0, 50), face(400, 0, 50));
        at(&mut tracker, 0, &[left, middle]);
        for (track, name) in tracker.tracks().iter().zip(["left", "middle"]) {
            *names.of(track.key()) = Some(name);
        }
        // The left face ends, and later a new one appears on the right.
        for millis in [300, 600] {
            at(&mut tracker, millis, &[middle]);
        }
        at(&mut tracker, 700, &[middle, right]);
        let [middle, right] = tracker.tracks() else {
            panic!("{:?}", tracker.tracks());
        };
        assert_eq!((middle.slot.index(), right.slot.index()), (1, 0));
        assert_eq!((middle.id, right.id), (2, 3));
        assert_eq!(names.get(middle.key()), Some(&Some("middle")));
        assert_eq!(names.get(right.key()), None, "the state of the left face");
    }

    fn prediction(x: f64, presence: f32) -> Prediction {
        Prediction {
            centre: (x + 25.0, 35.0),
            side: 50.0,
            roll: 12.0,
            presence,
        }
    }

    #[test]
    fn a_prediction_carries_a_face_that_the_detector_loses() {
        let mut tracker = tracker(Policy::Largest);
        at(&mut tracker, 0, &[face(10, 10, 50)]);
        for frame in 1..40 {
            let key = tracker.leading().unwrap().key();
            tracker.predict(key, prediction(10.0, 0.6));
            assert_eq!(at(&mut tracker, 100 * frame, &[]), [(1, 10)]);
            let track = tracker.leading().unwrap();
            assert_eq!(
                (track.found, track.predicted, track.roll),
                (false, true, 12.0)
            );
            assert_eq!(track.last_seen, Timestamp::from_millis(100 * frame - 100));
        }
        // Without it the face is lost on time.
        assert_eq!(at(&mut tracker, 4000, &[]), [(1, 10)]);
        assert!(!tracker.leading().unwrap().predicted);
        assert_eq!(at(&mut tracker, 4399, &[]), [(1, 10)]);
        assert_eq!(at(&mut tracker, 4400, &[]), []);
    }

    #[test]
    fn a_prediction_moves_the_place_to_search() {
        let mut tracker = tracker(Policy::Largest);
        at(&mut tracker, 0, &[face(10, 10, 50)]);
        tracker.predict(tracker.leading().unwrap().key(), prediction(30.0, 0.9));
        let now = Timestamp::from_millis(0);
        let tracks = tracker.update(now, PICTURE, None);
        assert_eq!(tracks[0].rect, Rect::new(30, 10, 50, 50));
    }

    #[test]
    fn a_box_without_a_face_three_times_in_a_row_is_dropped() {
        let mut tracker = tracker(Policy::Largest);
        at(&mut tracker, 0, &[face(10, 10, 50)]);
        let key = tracker.leading().unwrap().key();
        for (frame, presence) in [0.1, 0.1, 0.5, 0.1, f32::NAN].into_iter().enumerate() {
            tracker.predict(key, prediction(10.0, presence));
            let millis = 100 * (frame as u64 + 1);
            assert_eq!(at(&mut tracker, millis, &[face(10, 10, 50)]).len(), 1);
        }
        tracker.predict(key, prediction(10.0, 0.49));
        assert_eq!(tracker.expected().len(), 0);
        // A prediction for a face that is gone changes nothing.
        tracker.predict(key, prediction(10.0, 0.9));
        assert_eq!(tracker.expected().len(), 0);
    }

    #[test]
    fn numbers_that_describe_no_box_move_nothing() {
        let mut tracker = tracker(Policy::Largest);
        at(&mut tracker, 0, &[face(10, 10, 50)]);
        let key = tracker.leading().unwrap().key();
        for side in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let wrong = Prediction {
                side,
                ..prediction(90.0, 0.9)
            };
            tracker.predict(key, wrong);
        }
        let wrong = Prediction {
            centre: (f64::NAN, 0.0),
            ..prediction(90.0, 0.9)
        };
        tracker.predict(key, wrong);
        assert_eq!(at(&mut tracker, 100, &[]), [(1, 10)]);
    }

    #[test]
    fn a_refused_box_gets_no_slot_and_is_counted() {
        let mut tracker = tracker(Policy::All);
        let boxes = [face(10, 10, 50), face(300, 10, 50), face(500, 10, 50)];
        let presences = [0.79, 0.8, f32::NAN];
        let found = Found {
            detections: &boxes,
            searched_at: &[Timestamp::default(); 3],
            looked: &[],
            full: true,
            work: 0,
        };
        let mut asked = 0;
        let tracks = tracker.follow(Timestamp::default(), PICTURE, &found, |rect| {
            let presence = presences[boxes.iter().position(|b| b.rect == rect)?];
            asked += 1;
            Some(Prediction {
                presence,
                ..prediction(0.0, 0.0)
            })
        });
        assert_eq!(tracks.len(), 1);
        assert_eq!((tracks[0].id, tracks[0].slot.index()), (1, 0));
        assert_eq!((tracks[0].rect.x, tracks[0].roll), (300, 12.0));
        assert_eq!((asked, tracker.refused()), (3, 2));
    }

    #[test]
    fn a_fast_face_keeps_its_id_by_motion() {
        // 40 pixels a frame with a box of 50: the overlap with the last box is
        // 0.11, with the predicted one nearly 1.
        let mut tracker = tracker(Policy::Largest);
        let mut x = 0.0_f64;
        let mut speed = 0.0_f64;
        for frame in 0..12 {
            let tracks = at(&mut tracker, 100 * frame, &[face(x as i32, 100, 50)]);
            assert_eq!(tracks, [(1, x as i32)]);
            speed = (speed + 10.0).min(40.0);
            x += speed;
        }
    }

    #[test]
    fn a_missed_face_moves_on() {
        let mut tracker = tracker(Policy::Largest);
        for frame in 0..8 {
            at(
                &mut tracker,
                100 * frame,
                &[face(10 * frame as i32, 100, 50)],
            );
        }
        let tracks = at(&mut tracker, 900, &[]);
        assert!((tracks[0].1 - 90).abs() <= 1, "{tracks:?}");
    }

    #[test]
    fn two_faces_keep_their_ids_in_any_order() {
        let mut tracker = tracker(Policy::All);
        for frame in 0..10 {
            let (a, b) = (
                face(100 + 3 * frame, 100, 60),
                face(300 - 3 * frame, 110, 60),
            );
            let faces = if frame % 2 == 0 { [a, b] } else { [b, a] };
            let tracks = at(&mut tracker, 100 * frame as u64, &faces);
            assert_eq!(tracks, [(1, 100 + 3 * frame), (2, 300 - 3 * frame)]);
        }
    }

    #[test]
    fn a_part_of_a_face_is_not_a_face() {
        let mut tracker = tracker(Policy::All);
        at(&mut tracker, 0, &[face(100, 100, 100)]);
        let faces = [face(100, 100, 100), face(130, 140, 40)];
        assert_eq!(at(&mut tracker, 100, &faces).len(), 1);
    }

    #[test]
    fn the_largest_leads_until_clearly_beaten() {
        let mut tracker = tracker(Policy::Largest);
        at(&mut tracker, 0, &[face(0, 0, 100), face(300, 0, 90)]);
        assert_eq!((leader(&tracker), tracker.counting().len()), (1, 1));
        at(&mut tracker, 100, &[face(0, 0, 100), face(300, 0, 108)]);
        assert_eq!(leader(&tracker), 1);
        at(&mut tracker, 200, &[face(0, 0, 100), face(300, 0, 112)]);
        assert_eq!(leader(&tracker), 2);
        at(&mut tracker, 300, &[face(0, 0, 100), face(300, 0, 95)]);
        assert_eq!(leader(&tracker), 2);
    }

    #[test]
    fn the_most_central_leads_until_clearly_beaten() {
        let mut tracker = tracker(Policy::MostCentral);
        // Both go right; the picture's centre is at 320.
        let at_step = |tracker: &mut Tracker, step: i32| {
            let faces = [
                face(100 + 20 * step, 200, 80),
                face(300 + 20 * step, 200, 80),
            ];
            at(tracker, 100 * step as u64, &faces);
            leader(tracker)
        };
        let leaders: Vec<_> = (0..8).map(|step| at_step(&mut tracker, step)).collect();
        // At step 4 they are equally far, at step 5 face 1 is nearer by 40
        // pixels, of which 16 are needed.
        assert_eq!(leaders, [2, 2, 2, 2, 2, 1, 1, 1]);
        // On the way back it is face 2 that must be nearer by 16.
        let leaders: Vec<_> = (0..7)
            .rev()
            .map(|step| at_step(&mut tracker, step))
            .collect();
        assert_eq!(leaders, [1, 1, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn the_first_leads_while_there() {
        let mut tracker = tracker(Policy::First);
        at(&mut tracker, 0, &[face(0, 0, 50)]);
        at(&mut tracker, 100, &[face(300, 0, 200), face(0, 0, 50)]);
        assert_eq!(leader(&tracker), 1);
        at(&mut tracker, 800, &[face(300, 0, 200)]);
        assert_eq!(leader(&tracker), 2);
        at(&mut tracker, 900, &[face(300, 0, 200), face(0, 0, 50)]);
        assert_eq!(leader(&tracker), 2);
    }

    #[test]
    fn all_count_the_largest_first() {
        let mut tracker = tracker(Policy::All);
        at(
            &mut tracker,
            0,
            &[face(0, 0, 50), face(300, 0, 90), face(0, 300, 60)],
        );
        let ids: Vec<_> = tracker.counting().iter().map(|track| track.id).collect();
        assert_eq!(ids, [2, 1, 3]);
    }

    #[test]
    fn time_may_stand_still_go_back_or_leap() {
        let mut tracker = tracker(Policy::Largest);
        at(&mut tracker, 5000, &[face(10, 10, 50)]);
        assert_eq!(at(&mut tracker, 5000, &[face(12, 10, 50)]), [(1, 12)]);
        assert_eq!(at(&mut tracker, 100, &[face(14, 10, 50)]), [(1, 14)]);
        // After the jump back a missing face is still lost on time.
        assert_eq!(at(&mut tracker, 500, &[]).len(), 1);
        assert_eq!(at(&mut tracker, 700, &[]).len(), 0);
        at(&mut tracker, 800, &[face(10, 10, 50)]);
        // After a long pause it may be another person.
        assert_eq!(at(&mut tracker, 9000, &[face(10, 10, 50)]), [(3, 10)]);
    }

    #[test]
    fn one_frame_a_second_keeps_its_ids() {
        let mut tracker = tracker(Policy::Largest);
        for frame in 0..5 {
            assert_eq!(
                at(&mut tracker, 1000 * frame, &[face(10, 10, 50)]),
                [(1, 10)]
            );
        }
    }

    #[test]
    fn a_crowd_is_bounded() {
        let mut tracker = tracker(Policy::All);
        let crowd: Vec<_> = (0..100).map(|i| face(60 * i, 0, 50)).collect();
        assert_eq!(at(&mut tracker, 0, &crowd).len(), SLOTS);
        assert_eq!(at(&mut tracker, 100, &crowd).len(), SLOTS);
        assert_eq!(tracker.counting().len(), SLOTS);
    }

    #[test]
    fn memory_is_taken_only_when_built() {
        let mut tracker = tracker(Policy::All);
        let capacities = |tracker: &Tracker| {
            [
                tracker.followed.capacity(),
                tracker.pairs.capacity(),
                tracker.tracks.capacity(),
                tracker.counting.capacity(),
            ]
        };
        let before = capacities(&tracker);
        // All in one place: each overlaps each.
        let pile: Vec<_> = (0..200).map(|i| face(i, i, 400)).collect();
        let apart: Vec<_> = (0..200).map(|i| face(500 * i, 0, 400)).collect();
        at(&mut tracker, 0, &apart);
        at(&mut tracker, 10, &pile);
        at(&mut tracker, 20, &apart);
        assert_eq!(capacities(&tracker), before);
    }

    #[test]
    fn forgetting_keeps_ids_apart() {
        let mut tracker = tracker(Policy::Largest);
        at(&mut tracker, 0, &[face(10, 10, 50)]);
        tracker.clear();
        assert!(tracker.leading().is_none());
        assert_eq!(at(&mut tracker, 10, &[face(10, 10, 50)]), [(2, 10)]);
    }

    #[test]
    fn ids_start_again_at_one() {
        let mut next = u32::MAX;
        assert_eq!(take_id(&mut next), u32::MAX);
        assert_eq!(take_id(&mut next), 1);
    }

    proptest! {
        #[test]
        fn faces_found_within_the_picture_are_never_expected_outside_of_it(
            size in (1_u32..=8000, 1_u32..=8000),
            frames in prop::collection::vec(
                (1_u64..500, prop::collection::vec(
                    (0.0..1.0_f64, 0.0..1.0_f64, 0.0..1.0_f64, 0.0..1.0_f64), 0..4)),
                2..20),
        ) {
            let picture = Rect::new(0, 0, size.0, size.1);
            let mut tracker = tracker(Policy::All);
            let mut millis = 0;
            for (step, boxes) in frames {
                // Places and sizes as parts of the picture.
                let faces: Vec<_> = boxes.into_iter().map(|(x, y, w, h)| {
                    let side = |whole: u32, part: f64| (f64::from(whole) * part) as u32 + 1;
                    let (w, h) = (side(size.0 - 1, w), side(size.1 - 1, h));
                    let place = |room: u32, part: f64| (f64::from(room) * part) as i32;
                    let (x, y) = (place(size.0 - w, x), place(size.1 - h, y));
                    Detection { rect: Rect::new(x, y, w, h), neighbors: 1 }
                }).collect();
                millis += step;
                let now = Timestamp::from_millis(millis);
                tracker.update(now, picture, Some(&faces));
                for Expected { rect, .. } in tracker.expected() {
                    prop_assert_eq!(rect.intersection(picture), Some(rect));
                }
            }
        }

        #[test]
        fn any_input_gives_distinct_and_few_ids(
            frames in prop::collection::vec(
                (0_u64..3_000, prop::option::of(prop::collection::vec(
                    (any::<i32>(), any::<i32>(), any::<u32>(), any::<u32>()), 0..80))),
                1..30),
            policy in prop::sample::select(&Policy::ALL[..]),
        ) {
            let mut tracker = Tracker::new(Options { policy, confirm: 1, ..Options::default() });
            for (millis, boxes) in frames {
                let faces: Option<Vec<_>> = boxes.map(|boxes| boxes.into_iter()
                    .map(|(x, y, w, h)| Detection { rect: Rect::new(x, y, w, h), neighbors: 1 })
                    .collect());
                let now = Timestamp::from_millis(millis);
                let tracks = tracker.update(now, PICTURE, faces.as_deref()).to_vec();
                prop_assert!(tracks.len() <= SLOTS);
                prop_assert!(tracks.windows(2).all(|pair| pair[0].id < pair[1].id));
                prop_assert!(tracks.iter().all(|track| track.id > 0));
                let mut slots: Vec<_> = tracks.iter().map(|track| track.slot).collect();
                slots.sort_unstable();
                slots.dedup();
                prop_assert_eq!(slots.len(), tracks.len());
                let counting = tracker.counting();
                prop_assert!(counting.iter().all(|track| tracks.contains(track)));
                match policy {
                    Policy::All => prop_assert_eq!(counting.len(), tracks.len()),
                    _ => prop_assert_eq!(counting.len(), tracks.len().min(1)),
                }
            }
        }
    }
}
