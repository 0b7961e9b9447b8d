//! What the server says about itself: metrics and log lines.

pub mod logging;
pub mod metrics;
