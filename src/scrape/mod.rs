//! Targets to samples.
