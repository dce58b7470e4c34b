//! What the preview's threads and the loop share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::audience::Audience;
use super::scene::Scene;
use super::shot::Pool;
use crate::output::gpio::Levels;
use crate::snapshot::Published;

/// A picture that was drawn and encoded.
#[derive(Debug)]
pub struct Picture {
    /// Counts up from 1.
    pub number: u64,
    pub jpeg: Vec<u8>,
}

/// What the preview's threads and the loop share.
#[derive(Debug)]
pub struct Shared {
    pub audience: Audience,
    pub pool: Pool,
    pub levels: Arc<Levels>,
    /// What the loop says of itself once a second.
    pub published: Published,
    /// The newest picture; `None` while there is none, or nobody watches.
    picture: Mutex<Option<Arc<Picture>>>,
    scene: Mutex<Scene>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one of these locks is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new(clients: usize, published: Published, levels: Arc<Levels>) -> Self {
        Self {
            audience: Audience::new(clients),
            pool: Pool::new(),
            levels,
            published,
            picture: Mutex::default(),
            scene: Mutex::default(),
        }
    }

    pub fn set_picture(&self, picture: Option<Arc<Picture>>) {
        *lock(&self.picture) = picture;
    }

    /// The newest picture, if it is newer than the one with this number.
    pub fn picture_after(&self, number: u64) -> Option<Arc<Picture>> {
        lock(&self.picture)
            .as_ref()
            .filter(|picture| picture.number > number)
            .map(Arc::clone)
    }

    pub fn scene(&self) -> MutexGuard<'_, Scene> {
        lock(&self.scene)
    }
}
