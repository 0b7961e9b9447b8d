//! The small Alertmanager.
