//! Track: ids that stay with a face across frames, and who counts.
