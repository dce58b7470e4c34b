//! Classify: from a face box in a luma plane to seven probabilities.
