//! The scrape formats: bytes to families and back.
