//! Test data of other projects that lies beside the repository, for tests alone.

use std::path::PathBuf;

/// Returns the folder: `WATCHKEEPER_SHARED`, else `../shared` beside the crate; `None` (said visibly) where it is absent.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("WATCHKEEPER_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("WATCHKEEPER_REQUIRE_SHARED").is_none_or(|v| v != "1"), "{} is absent", folder.display());
    println!("NOT RUN: the shared test data is not at {}", folder.display());
    None
}

/// Reads one file of it.
pub(crate) fn text(path: &str) -> Option<String> {
    let path = folder()?.join(path);
    #[expect(clippy::disallowed_methods, reason = "test data is read where it lies")]
    let read = std::fs::read_to_string(&path);
    Some(read.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Reads one JSON file of it.
pub(crate) fn json(path: &str) -> Option<serde_json::Value> {
    text(path).map(|text| serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}")))
}
