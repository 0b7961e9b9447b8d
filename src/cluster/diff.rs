//! Differences of texts, line by line, as `diff -u` shows them.

use similar::{Algorithm, TextDiff};
use std::time::Duration;

/// Longer than this is not looked for the shortest way.
const LONGEST: Duration = Duration::from_secs(2);

/// Returns the unified difference of two texts; empty where there is none.
#[must_use]
pub fn unified(from: &[u8], to: &[u8], from_name: &str, to_name: &str) -> String {
    let (from, to) = (String::from_utf8_lossy(from), String::from_utf8_lossy(to));
    let diff = TextDiff::configure().algorithm(Algorithm::Myers).timeout(LONGEST).diff_lines(from.as_ref(), to.as_ref());
    diff.unified_diff().context_radius(3).header(from_name, to_name).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_as_diff_u_does() {
        let found = unified(b"a\nb\nc\n", b"a\nB\nc\n", "zookeeper:/w/rules/a.yml", "rules/a.yml");
        assert_eq!(found, "--- zookeeper:/w/rules/a.yml\n+++ rules/a.yml\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
        assert_eq!(unified(b"a", b"a", "x", "y"), "");
    }
}
