//! From raw windows to faces: OpenCV's `groupRectangles`.
//!
//! Many overlapping windows at neighbouring places and scales find a face; one
//! or two find a false face. Similar windows form a class, together with those
//! that are similar to one of them, and so on. Classes with too few windows are
//! dropped; the mean of each other class is a face. A mean inside another class
//! with more windows is dropped too, because eyes and mouths look like small
//! faces.

use crate::frame::Rect;

/// A face box, with the number of raw windows that agreed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Detection {
    pub rect: Rect,
    /// More than `min_neighbors`; a larger number means a more certain face. 1
    /// if `min_neighbors` is 0.
    pub neighbors: u32,
}

/// The largest distance between the edges of two similar windows, as a part of
/// their size. Also how far a face may reach out of a larger one that replaces
/// it.
const EPS: f64 = 0.2;

/// Buffers for grouping; they grow to the largest number of windows seen.
#[derive(Debug, Default)]
pub(super) struct Grouper {
    /// Windows by their left edge.
    order: Vec<u32>,
    /// A forest: each window's parent; a root is its own parent.
    parents: Vec<u32>,
    /// For each root, the index of its class.
    classes: Vec<Class>,
    class_of: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Class {
    /// Sums over the members, then their mean.
    x: i64,
    y: i64,
    width: i64,
    height: i64,
    members: u32,
}

impl Grouper {
    /// Buffers with room for this many windows.
    pub(super) fn with_capacity(windows: usize) -> Self {
        Self {
            order: Vec::with_capacity(windows),
            parents: Vec::with_capacity(windows),
            classes: Vec::with_capacity(windows),
            class_of: Vec::with_capacity(windows),
        }
    }

    /// Replaces `out` by the faces in `windows`, sorted; more than
    /// `min_neighbors` windows must agree on each. With 0, `out` becomes the
    /// windows themselves. All boxes are cut to `bounds`.
    pub(super) fn group(
        &mut self,
        windows: &[Rect],
        min_neighbors: u32,
        bounds: Rect,
        out: &mut Vec<Detection>,
    ) {
        out.clear();
        let mut add = |rect: Rect, neighbors: u32| {
            if let Some(rect) = rect.intersection(bounds) {
                out.push(Detection { rect, neighbors });
            }
        };
        if min_neighbors == 0 {
            for &window in windows {
                add(window, 1);
            }
        } else {
            self.partition(windows);
            self.average(windows);
            self.classes.retain(|class| class.members > min_neighbors);
            for class in &self.classes {
                if !self.classes.iter().any(|other| class.swallowed_by(other)) {
                    add(class.mean(), class.members);
                }
            }
        }
        out.sort_unstable();
    }

    /// Joins all pairs of similar windows. The left edges of similar windows
    /// differ by at most `EPS` times their mean side, so each window is
    /// compared only with those that start this close to its right.
    fn partition(&mut self, windows: &[Rect]) {
        self.order.clear();
        self.order.extend(0..windows.len() as u32);
        self.order
            .sort_unstable_by_key(|&index| (windows[index as usize].x, index));
        self.parents.clear();
        self.parents.extend(0..windows.len() as u32);
        for (position, &index) in self.order.iter().enumerate() {
            let window = windows[index as usize];
            let reach = reach(window, window);
            for &other in &self.order[position + 1..] {
                let right = windows[other as usize];
                if f64::from(right.x - window.x) > reach {
                    break;
                }
                if alike(window, right) {
                    let (a, b) = (
                        root(&mut self.parents, index),
                        root(&mut self.parents, other),
                    );
                    self.parents[a as usize] = b;
                }
            }
        }
    }

    fn average(&mut self, windows: &[Rect]) {
        const NONE: u32 = u32::MAX;
        self.classes.clear();
        self.class_of.clear();
        self.class_of.resize(windows.len(), NONE);
        for (index, window) in windows.iter().enumerate() {
            let root = root(&mut self.parents, index as u32) as usize;
            if self.class_of[root] == NONE {
                self.class_of[root] = self.classes.len() as u32;
                self.classes.push(Class::default());
            }
            let class = &mut self.classes[self.class_of[root] as usize];
            class.x += i64::from(window.x);
            class.y += i64::from(window.y);
            class.width += i64::from(window.width);
            class.height += i64::from(window.height);
            class.members += 1;
        }
        for class in &mut self.classes {
            // In f32, multiplied by the reciprocal, as in OpenCV: otherwise a
            // mean of exactly one half may be rounded differently.
            let part = 1.0 / class.members as f32;
            let mean = |sum: i64| (sum as f32 * part).round_ties_even() as i64;
            class.x = mean(class.x);
            class.y = mean(class.y);
            class.width = mean(class.width);
            class.height = mean(class.height);
        }
    }
}

impl Class {
    /// Call this only after the sums were divided.
    const fn mean(&self) -> Rect {
        Rect::new(
            self.x as i32,
            self.y as i32,
            self.width as u32,
            self.height as u32,
        )
    }

    fn swallowed_by(&self, other: &Self) -> bool {
        // A class never removes itself: it does not have more members than
        // itself, and has fewer than 3 only with min_neighbors below 2.
        let dx = (other.width as f64 * EPS).round_ties_even() as i64;
        let dy = (other.height as f64 * EPS).round_ties_even() as i64;
        !std::ptr::eq(self, other)
            && self.x >= other.x - dx
            && self.y >= other.y - dy
            && self.x + self.width <= other.x + other.width + dx
            && self.y + self.height <= other.y + other.height + dy
            && (other.members > self.members.max(3) || self.members < 3)
    }
}

/// The largest distance of edges at which two windows are similar.
fn reach(a: Rect, b: Rect) -> f64 {
    EPS * f64::from(a.width.min(b.width) + a.height.min(b.height)) * 0.5
}

fn alike(a: Rect, b: Rect) -> bool {
    let reach = reach(a, b);
    let near = |a: i64, b: i64| a.abs_diff(b) as f64 <= reach;
    near(a.x.into(), b.x.into())
        && near(a.y.into(), b.y.into())
        && near(a.right(), b.right())
        && near(a.bottom(), b.bottom())
}

/// The root of a tree in the forest; halves the path to it.
fn root(parents: &mut [u32], mut index: u32) -> u32 {
    while parents[index as usize] != index {
        let above = parents[index as usize];
        parents[index as usize] = parents[above as usize];
        index = above;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Rect = Rect::new(0, 0, 640, 480);

    fn grouped(windows: &[Rect], min_neighbors: u32) -> Vec<(i32, i32, u32, u32, u32)> {
        let mut out = Vec::new();
        Grouper::default().group(windows, min_neighbors, BOUNDS, &mut out);
        out.iter()
            .map(|d| (d.rect.x, d.rect.y, d.rect.width, d.rect.height, d.neighbors))
            .collect()
    }

    #[test]
    fn a_class_needs_more_than_min_neighbors() {
        let face = [Rect::new(100, 50, 40, 40), Rect::new(104, 52, 40, 40)];
        assert_eq!(grouped(&face, 1), [(102, 51, 40, 40, 2)]);
        assert_eq!(grouped(&face, 2), []);
        assert_eq!(
            grouped(&face, 0),
            [(100, 50, 40, 40, 1), (104, 52, 40, 40, 1)]
        );
        // 9 pixels is more than a fifth of 40.
        let apart = [Rect::new(100, 50, 40, 40), Rect::new(109, 50, 40, 40)];
        assert_eq!(grouped(&apart, 1), []);
    }

    #[test]
    fn halves_are_rounded_to_even() {
        let pair = |x: i32| [Rect::new(x, 0, 40, 40), Rect::new(x + 1, 0, 40, 40)];
        assert_eq!(grouped(&pair(10), 1)[0].0, 10);
        assert_eq!(grouped(&pair(11), 1)[0].0, 12);
    }

    #[test]
    fn a_face_inside_a_more_certain_face_is_dropped() {
        let mut windows = vec![Rect::new(100, 100, 100, 100); 5];
        windows.extend([Rect::new(140, 140, 30, 30); 4]);
        assert_eq!(grouped(&windows, 2), [(100, 100, 100, 100, 5)]);
        // Not if it has the same number of windows itself.
        windows.push(Rect::new(140, 140, 30, 30));
        assert_eq!(grouped(&windows, 2).len(), 2);
    }

    #[test]
    fn boxes_are_cut_to_the_bounds() {
        assert_eq!(
            grouped(&[Rect::new(600, 0, 41, 41)], 0),
            [(600, 0, 40, 41, 1)]
        );
    }

    /// The definition: a graph whose edges are pairs of similar windows.
    fn naive_classes(windows: &[Rect]) -> Vec<Vec<usize>> {
        let mut left: Vec<usize> = (0..windows.len()).collect();
        let mut classes = Vec::new();
        while let Some(first) = left.pop() {
            let mut class = vec![first];
            let mut next = 0;
            while next < class.len() {
                let window = windows[class[next]];
                left.retain(|&other| {
                    let joins = alike(window, windows[other]);
                    if joins {
                        class.push(other);
                    }
                    !joins
                });
                next += 1;
            }
            class.sort_unstable();
            classes.push(class);
        }
        classes.sort();
        classes
    }

    proptest! {
        #[test]
        fn faces_lie_within_the_largest_frame(
            corner in (0..8000_i32, 0..8000_i32),
            raw in prop::collection::vec((0..60_i32, 0..60_i32, 20..8100_u32), 1..40),
            size in (1..=8000_u32, 1..=8000_u32),
            min_neighbors in 0..4_u32,
        ) {
            // Close together, so that there are classes, and also over the
            // edges.
            let windows: Vec<Rect> = raw.iter()
                .map(|&(x, y, side)| Rect::new(corner.0 + x, corner.1 + y, side, side))
                .collect();
            let bounds = Rect::new(0, 0, size.0, size.1);
            let mut faces = Vec::new();
            Grouper::default().group(&windows, min_neighbors, bounds, &mut faces);
            for face in faces {
                prop_assert_eq!(face.rect.intersection(bounds), Some(face.rect));
                prop_assert!(face.neighbors > min_neighbors);
            }
        }

        #[test]
        fn classes_are_connected_components(
            raw in prop::collection::vec((0..120_i32, 0..60_i32, 20..60_u32), 0..40)
        ) {
            let windows: Vec<Rect> =
                raw.iter().map(|&(x, y, side)| Rect::new(x, y, side, side)).collect();
            let mut grouper = Grouper::default();
            grouper.partition(&windows);
            let mut classes = std::collections::BTreeMap::<u32, Vec<usize>>::new();
            for index in 0..windows.len() {
                classes.entry(root(&mut grouper.parents, index as u32)).or_default().push(index);
            }
            let mut classes: Vec<_> = classes.into_values().collect();
            classes.sort();
            prop_assert_eq!(classes, naive_classes(&windows));
        }
    }
}
