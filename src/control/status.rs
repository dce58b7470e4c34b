//! The daemon's answer to `status`.

use std::time::Instant;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::output::events::SCHEMA;
use crate::snapshot::Snapshot;

/// The answer to `status`.
pub(super) struct Answer<'a> {
    pub snapshot: &'a Snapshot,
    pub now: Instant,
}

impl Serialize for Answer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let snapshot = self.snapshot;
        let problems = snapshot.problems(self.now);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ok", &true)?;
        map.serialize_entry("schema", &SCHEMA)?;
        map.serialize_entry("state", snapshot.condition(&problems).name())?;
        map.serialize_entry("problems", &problems)?;
        map.serialize_entry("version", env!("CARGO_PKG_VERSION"))?;
        map.serialize_entry("pid", &std::process::id())?;
        snapshot.hello.serialize_into(&mut map)?;
        snapshot.health.serialize_into(&mut map)?;
        map.end()
    }
}
