//! Blocks: immutable files of finished columns, each readable on its own.
//!
//! ```text
//! header 128 bytes | pages ... | sections TIME SYMB POST SERI PAGE META HEAD PARI | footer, twice
//! ```
//!
//! A page holds up to 256 columns, the unit of reading, checksumming and caching; series are ordered by metric name, so that
//! a query's columns lie side by side. `FORMAT.md` beside this folder draws every byte.

pub(crate) mod cache;
pub(crate) mod footer;
pub(crate) mod index;
pub(crate) mod page;
pub(crate) mod parity;
pub(crate) mod reader;
pub(crate) mod sections;
pub(crate) mod tombstones;
pub(crate) mod ulid;
pub(crate) mod writer;
