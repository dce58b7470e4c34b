//! The last minute's probabilities of the leading face, for the chart.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use crate::observe::expression::{Expression, Probabilities};

/// The time between two points.
const STEP: Duration = Duration::from_millis(500);

/// The points of a minute.
const POINTS: usize = 120;

/// Frames may be so many points apart before there is a gap.
const HOLD: usize = 4;

/// Percentages by class, in the order of [`Expression::ALL`]; `None` without a
/// face.
type Point = Option<[u8; Expression::COUNT]>;

/// Collects points at equal distances in time.
#[derive(Debug, Default)]
pub struct History {
    points: VecDeque<Point>,
    /// When the last point was due.
    last: Option<Instant>,
}

impl History {
    /// Notes what is seen now. A longer time in which nothing was noted is filled
    /// with points without a face.
    pub fn note(&mut self, probabilities: Option<Probabilities>, now: Instant) {
        let percent = |p: f32| (100.0 * p.clamp(0.0, 1.0)).round() as u8;
        let point = probabilities.map(|all| all.0.map(percent));
        let Some(last) = self.last else {
            self.last = Some(now);
            self.points.push_back(point);
            return;
        };
        let steps = now.saturating_duration_since(last).as_millis() / STEP.as_millis();
        let steps = usize::try_from(steps).unwrap_or(POINTS).min(POINTS);
        if steps == 0 {
            return;
        }
        let is_gap = steps > HOLD;
        for missed in (0..steps).rev() {
            let point = point.filter(|_| missed == 0 || !is_gap);
            self.points.push_back(point);
        }
        let surplus = self.points.len().saturating_sub(POINTS);
        self.points.drain(..surplus);
        self.last = Some(if steps == POINTS {
            now
        } else {
            last + STEP * steps as u32
        });
    }
}

impl Serialize for History {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_struct("history", 3)?;
        map.serialize_field("step_ms", &(STEP.as_millis() as u64))?;
        map.serialize_field("most", &POINTS)?;
        map.serialize_field("points", &self.points)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happy(p: f32) -> Option<Probabilities> {
        Some(Probabilities([0.0, 0.0, 0.0, p, 0.0, 0.0, 1.0 - p]))
    }

    #[test]
    fn points_are_half_a_second_apart_and_the_oldest_go() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut history = History::default();
        history.note(happy(0.5), at(0));
        history.note(happy(0.9), at(499));
        history.note(happy(0.755), at(501));
        history.note(None, at(1000));
        // A slow camera, and a gap.
        history.note(happy(0.5), at(2000));
        history.note(happy(1.0), at(4500));
        let text = serde_json::to_string(&history).unwrap();
        assert_eq!(
            text,
            "{\"step_ms\":500,\"most\":120,\"points\":[[0,0,0,50,0,0,50],[0,0,0,76,0,0,25],\
             null,[0,0,0,50,0,0,50],[0,0,0,50,0,0,50],null,null,null,null,[0,0,0,100,0,0,0]]}"
        );
        for step in 0..1000 {
            history.note(None, at(5000 + 500 * step));
        }
        history.note(happy(1.0), at(10_000_000));
        assert_eq!(history.points.len(), POINTS);
        assert_eq!(history.points.iter().flatten().count(), 1);
    }
}
