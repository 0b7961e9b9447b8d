//! `GET /api/watchkeeper/v1/status/licences`: whose code is in this binary.
//!
//! Both lists are made by the build: the dashboard's from what is in its bundle, with the texts; the server's from what Cargo
//! says of its dependencies.

use super::answer::success_value;
use super::assets;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The crates, as `build.rs` wrote them.
const CRATES: &str = include_str!(concat!(env!("OUT_DIR"), "/crates.json"));

#[derive(Deserialize, Serialize)]
struct Notice {
    name: String,
    version: String,
    licence: String,
    url: Option<String>,
    text: Option<String>,
}

fn read(text: &[u8]) -> Vec<Notice> {
    serde_json::from_slice(text).unwrap_or_else(|error| {
        tracing::error!(%error, "a list of licences in this binary cannot be read");
        Vec::new()
    })
}

/// `GET status/licences`.
pub(super) async fn list() -> Response {
    let parts = [("dashboard", assets::bytes("licences.json").map(read)), ("server", Some(read(CRATES.as_bytes())))];
    let shown = parts.into_iter().flat_map(|(part, notices)| {
        notices.unwrap_or_default().into_iter().map(move |notice| {
            json!({
                "name": notice.name,
                "version": notice.version,
                "licence": notice.licence,
                "url": notice.url,
                "text": notice.text,
                "part": part,
            })
        })
    });
    success_value(&shown.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_the_server_is_made_of() {
        let crates = read(CRATES.as_bytes());
        for (name, licence) in [("axum", "MIT"), ("tokio", "MIT"), ("rustls", "Apache-2.0 OR ISC OR MIT")] {
            let found: Vec<_> = crates.iter().filter(|notice| notice.name == name).collect();
            assert_eq!(found.len(), 1, "{name}");
            assert!(found[0].licence == licence && !found[0].version.is_empty(), "{name}: {}", found[0].licence);
        }
        let absent = |name: &str| crates.iter().all(|notice| notice.name != name);
        // Neither itself nor what only tests use; each once; and none without its licence.
        assert!(absent("watchkeeper") && absent("proptest"));
        assert!(crates.is_sorted_by_key(|notice| (notice.name.clone(), notice.version.clone())));
        assert!(crates.iter().all(|notice| !notice.licence.is_empty()));
    }
}
