//! The whole path on parts of our own.
