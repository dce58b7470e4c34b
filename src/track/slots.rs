//! Slots: numbered places for faces, and memory by slot.

use std::fmt;

/// The number of slots, which is the largest number of faces that are followed
/// at once. Further faces are not followed.
pub const SLOTS: usize = 32;

/// The place of a followed face: a number from 0 to [`SLOTS`] - 1, which no
/// other face has at the same time. A later face can get the same slot, so a
/// slot identifies a face only together with an id ([`FaceKey`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// The first slot.
    pub const ZERO: Self = Self(0);

    /// The slot with a number, or `None` from [`SLOTS`] on.
    #[must_use]
    pub fn new(number: usize) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (usize::from(number) < SLOTS).then_some(Self(number))
    }

    /// All slots in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS).filter_map(Self::new)
    }

    /// The number, 0 to [`SLOTS`] - 1.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies a face: its id and its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaceKey {
    /// Counts up from 1, one per confirmed face.
    pub id: u32,
    pub slot: Slot,
}

/// What a stage remembers of each face: one value per slot.
///
/// A slot that gets another face starts with `T::default()`. The memory is part
/// of the value and has a fixed size.
///
/// ```
/// use affectd::track::{BySlot, FaceKey, Slot};
///
/// let slot = Slot::default();
/// let mut frames_seen = BySlot::<u32>::default();
/// *frames_seen.of(FaceKey { id: 1, slot }) += 1;
/// *frames_seen.of(FaceKey { id: 1, slot }) += 1;
/// assert_eq!(frames_seen.get(FaceKey { id: 1, slot }), Some(&2));
/// // Another face in the same slot.
/// assert_eq!(frames_seen.get(FaceKey { id: 2, slot }), None);
/// assert_eq!(*frames_seen.of(FaceKey { id: 2, slot }), 0);
/// ```
#[derive(Clone, Debug)]
pub struct BySlot<T> {
    /// The id of the face whose value is in each slot; 0 for none.
    ids: [u32; SLOTS],
    values: [T; SLOTS],
}

impl<T: Default> Default for BySlot<T> {
    fn default() -> Self {
        Self {
            ids: [0; SLOTS],
            values: std::array::from_fn(|_| T::default()),
        }
    }
}

impl<T: Default> BySlot<T> {
    /// The value of a face, which is `T::default()` if its slot had none or
    /// another face's.
    pub fn of(&mut self, face: FaceKey) -> &mut T {
        let slot = face.slot.index();
        if self.ids[slot] != face.id {
            self.ids[slot] = face.id;
            self.values[slot] = T::default();
        }
        &mut self.values[slot]
    }

    /// The value of a face, if there is one.
    #[must_use]
    pub fn get(&self, face: FaceKey) -> Option<&T> {
        let slot = face.slot.index();
        (self.ids[slot] == face.id).then(|| &self.values[slot])
    }

    /// Every face with its value, in the order of slots.
    pub fn iter(&self) -> impl Iterator<Item = (FaceKey, &T)> {
        Slot::all()
            .zip(self.ids.iter().zip(&self.values))
            .filter(|(_, (id, _))| **id != 0)
            .map(|(slot, (&id, value))| (FaceKey { id, slot }, value))
    }

    /// Forgets every face but these.
    pub fn keep_only(&mut self, faces: impl IntoIterator<Item = FaceKey>) {
        let mut kept = [0; SLOTS];
        for face in faces {
            kept[face.slot.index()] = face.id;
        }
        for (slot, kept) in kept.into_iter().enumerate() {
            if self.ids[slot] != 0 && self.ids[slot] != kept {
                self.ids[slot] = 0;
                self.values[slot] = T::default();
            }
        }
    }

    /// Forgets a face.
    pub fn remove(&mut self, face: FaceKey) {
        let slot = face.slot.index();
        if self.ids[slot] == face.id {
            self.ids[slot] = 0;
            self.values[slot] = T::default();
        }
    }

    /// Forgets every face.
    pub fn clear(&mut self) {
        self.keep_only([]);
    }
}

/// The slots that no face has.
#[derive(Clone, Copy, Debug)]
pub(super) struct FreeSlots([bool; SLOTS]);

impl FreeSlots {
    pub const ALL: Self = Self([true; SLOTS]);

    /// The lowest free slot, which is then no longer free.
    pub fn take(&mut self) -> Option<Slot> {
        let number = self.0.iter().position(|free| *free)?;
        self.0[number] = false;
        Slot::new(number)
    }

    pub fn give_back(&mut self, slot: Slot) {
        self.0[slot.index()] = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u32, slot: usize) -> FaceKey {
        FaceKey {
            id,
            slot: Slot::new(slot).unwrap(),
        }
    }

    #[test]
    fn slots_are_a_fixed_range() {
        assert_eq!(Slot::all().count(), SLOTS);
        assert_eq!(Slot::new(SLOTS), None);
        assert_eq!(Slot::new(256), None);
        let mut free = FreeSlots::ALL;
        let taken: Vec<_> = std::iter::from_fn(|| free.take()).collect();
        assert_eq!(taken, Slot::all().collect::<Vec<_>>());
        free.give_back(taken[7]);
        assert_eq!((free.take(), free.take()), (Some(taken[7]), None));
    }

    #[test]
    fn a_slot_that_changes_hands_starts_empty() {
        let mut values = BySlot::<u32>::default();
        *values.of(key(1, 3)) = 10;
        *values.of(key(2, 4)) = 20;
        *values.of(key(3, 3)) += 1;
        let all: Vec<_> = values.iter().map(|(face, value)| (face, *value)).collect();
        assert_eq!(all, [(key(3, 3), 1), (key(2, 4), 20)]);
        assert_eq!(values.get(key(1, 3)), None);
    }

    #[test]
    fn faces_are_forgotten_one_by_one_or_all() {
        let mut values = BySlot::<u32>::default();
        for id in 1..=4 {
            *values.of(key(id, id as usize)) = 10 * id;
        }
        values.keep_only([key(1, 1), key(2, 2), key(9, 3)]);
        assert_eq!(values.iter().count(), 2);
        // Not the face that has the slot.
        values.remove(key(7, 1));
        values.remove(key(2, 2));
        assert_eq!(values.get(key(1, 1)), Some(&10));
        values.clear();
        assert_eq!(values.iter().count(), 0);
    }
}
