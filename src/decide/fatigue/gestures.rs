//! Detects yawns and nods. Neither raises an alarm.

use std::time::Duration;

/// `jaw` in a yawn is at least this, or 1.4 times its value at rest.
const JAW: f32 = 0.5;
const JAW_OF_REST: f32 = 1.4;
/// Above this a mouth smiles or laughs.
const SMILE: f32 = 0.5;
/// The length of a yawn (Provine 2005: from 3.5 s, with a mean of 6 s).
const YAWN_LEAST: Duration = Duration::from_secs(2);
const YAWN_MOST: Duration = Duration::from_secs(12);

/// In a nod the pitch falls by this many degrees within this time.
const NOD_FALL: f32 = 15.0;
const NOD_WITHIN: Duration = Duration::from_secs(1);
/// In a nod the eyes are shut for this time.
const NOD_SHUT: Duration = Duration::from_millis(300);

/// How far back yawns and nods are counted.
const COUNTED: Duration = Duration::from_secs(600);
const LOGGED: usize = 32;
const PITCHES: usize = 64;

/// The times of a gesture in the last ten minutes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    times: [Duration; LOGGED],
    next: usize,
    count: usize,
}

impl Log {
    const NEW: Self = Self {
        times: [Duration::ZERO; LOGGED],
        next: 0,
        count: 0,
    };

    fn note(&mut self, now: Duration) {
        self.times[self.next] = now;
        self.next = (self.next + 1) % LOGGED;
        self.count = (self.count + 1).min(LOGGED);
    }

    /// How often in the last ten minutes, at most 32 times.
    pub fn count(&self, now: Duration) -> u32 {
        let times = &self.times[..self.count];
        let recent = times
            .iter()
            .filter(|time| now.saturating_sub(**time) <= COUNTED);
        recent.count() as u32
    }
}

/// A mouth that is open for seconds, without a smile.
#[derive(Clone, Debug)]
pub(super) struct Yawns {
    since: Option<Duration>,
    /// Whether the mouth was ever seen.
    is_known: bool,
    log: Log,
}

impl Yawns {
    pub const fn new() -> Self {
        Self {
            since: None,
            is_known: false,
            log: Log::NEW,
        }
    }

    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Takes a frame's mouth; `last` is the time of the frame before if the
    /// interval since then counts. Returns the length of a yawn that ended.
    pub fn look(
        &mut self,
        now: Duration,
        last: Option<Duration>,
        jaw: Option<f32>,
        smile: Option<f32>,
        rest: f32,
    ) -> Option<Duration> {
        self.is_known |= jaw.is_some();
        let is_open = jaw.is_some_and(|jaw| jaw > JAW.max(JAW_OF_REST * rest))
            && smile.is_none_or(|smile| smile < SMILE);
        let ended = if is_open && last.is_some() {
            None
        } else {
            // The mouth was open at least until the last frame; if frames are
            // missing since then, its yawn ends there.
            let end = if last.is_some() { Some(now) } else { None };
            let since = self.since.take();
            since.zip(end).map(|(since, end)| end - since)
        };
        if is_open {
            self.since.get_or_insert(now);
        }
        let yawn = ended.filter(|length| (YAWN_LEAST..=YAWN_MOST).contains(length))?;
        self.log.note(now);
        Some(yawn)
    }

    /// Yawns of the last ten minutes; `None` if the mouth was never seen.
    pub fn count(&self, now: Duration) -> Option<u32> {
        self.is_known.then(|| self.log.count(now))
    }
}

/// A head that falls while the eyes are shut.
#[derive(Clone, Debug)]
pub(super) struct Nods {
    pitches: [(Duration, f32); PITCHES],
    next: usize,
    count: usize,
    is_known: bool,
    log: Log,
}

impl Nods {
    pub const fn new() -> Self {
        Self {
            pitches: [(Duration::ZERO, 0.0); PITCHES],
            next: 0,
            count: 0,
            is_known: false,
            log: Log::NEW,
        }
    }

    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Takes a frame's pitch. Returns whether the head has nodded.
    pub fn look(&mut self, now: Duration, pitch: Option<f32>, shut: Duration) -> bool {
        let Some(pitch) = pitch else {
            return false;
        };
        self.is_known = true;
        let recent = self.pitches[..self.count]
            .iter()
            .filter(|(time, _)| now.saturating_sub(*time) <= NOD_WITHIN);
        let highest = recent.map(|(_, pitch)| *pitch).fold(pitch, f32::max);
        if highest - pitch > NOD_FALL && shut >= NOD_SHUT {
            // One fall is one nod.
            self.count = 0;
            self.next = 0;
            self.log.note(now);
            return true;
        }
        self.pitches[self.next] = (now, pitch);
        self.next = (self.next + 1) % PITCHES;
        self.count = (self.count + 1).min(PITCHES);
        false
    }

    /// Nods of the last ten minutes; `None` if the pitch was never known.
    pub fn count(&self, now: Duration) -> Option<u32> {
        self.is_known.then(|| self.log.count(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The yawns for a mouth given as jaw and smile by the time in
    /// milliseconds.
    fn yawns(length: u64, mouth: impl Fn(u64) -> (Option<f32>, Option<f32>)) -> Vec<u128> {
        let mut yawns = Yawns::new();
        let mut last = None;
        let mut found = Vec::new();
        for at in (0..length).step_by(100) {
            let (jaw, smile) = mouth(at);
            found.extend(yawns.look(millis(at), last, jaw, smile, 0.1));
            last = Some(millis(at));
        }
        assert_eq!(yawns.count(millis(length)), Some(found.len() as u32));
        found.iter().map(Duration::as_millis).collect()
    }

    #[test]
    fn a_yawn_is_long_and_steady_and_without_a_smile() {
        let open_for = |open: u64| {
            move |at| {
                (
                    Some(if (1000..1000 + open).contains(&at) {
                        0.8
                    } else {
                        0.1
                    }),
                    Some(0.1),
                )
            }
        };
        assert_eq!(yawns(20_000, open_for(5000)), [5000]);
        assert_eq!(yawns(20_000, open_for(1800)), [] as [u128; 0]);
        assert_eq!(yawns(20_000, open_for(13_000)), [] as [u128; 0]);
        // Speech.
        let speech = |at: u64| {
            (
                Some(if (at / 300).is_multiple_of(2) {
                    0.7
                } else {
                    0.2
                }),
                None,
            )
        };
        assert_eq!(yawns(20_000, speech), [] as [u128; 0]);
        let laughs = |at| (open_for(5000)(at).0, Some(0.9));
        assert_eq!(yawns(20_000, laughs), [] as [u128; 0]);
        // A hand in front of the mouth.
        let covered = |at| {
            (
                open_for(5000)(at).0.filter(|_| !(2000..4000).contains(&at)),
                None,
            )
        };
        assert_eq!(yawns(20_000, covered), [2000]);
    }

    #[test]
    fn a_nod_needs_shut_eyes_and_a_fast_fall() {
        let nods = |degrees: f32, within: u64, shut: u64| {
            let mut nods = Nods::new();
            let mut found = 0;
            for at in (0..5000).step_by(50) {
                let fallen = (at as f32 - 2000.0).clamp(0.0, within as f32) / within as f32;
                let pitch = -degrees * fallen;
                found += u32::from(nods.look(millis(at), Some(pitch), millis(shut)));
            }
            assert_eq!(nods.count(millis(5000)), Some(found));
            found
        };
        assert_eq!(nods(25.0, 600, 500), 1);
        assert_eq!(nods(25.0, 600, 200), 0);
        assert_eq!(nods(12.0, 600, 500), 0);
        assert_eq!(nods(25.0, 2500, 500), 0);
    }

    #[test]
    fn values_that_were_never_seen_are_unknown() {
        assert_eq!(Yawns::new().count(millis(0)), None);
        assert_eq!(Nods::new().count(millis(0)), None);
    }
}
