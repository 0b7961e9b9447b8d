#!/usr/bin/env bash
# Runs every test: Rust, shipped rules by both promtool and ours, the dashboard's logic, and the dashboard in a real browser.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/target/test-tools/venv/bin:$PATH"

# Peers that were brought once are used; what is compared with them says so where they are missing.
if [ -z "${PROMETHEUS_BIN:-}" ] && [ -x "${XDG_CACHE_HOME:-$HOME/.cache}/watchkeeper-peers/usr/bin/prometheus" ]; then
  export PROMETHEUS_BIN="${XDG_CACHE_HOME:-$HOME/.cache}/watchkeeper-peers/usr/bin/prometheus"
fi

cargo build --locked
if command -v cargo-nextest >/dev/null 2>&1; then
  cargo nextest run --locked --no-fail-fast
  cargo test --locked --doc --quiet
else
  cargo test --locked --no-fail-fast
fi

echo "== shipped rules, by watchkeeper and by promtool"
for unit in rules/*_test.yml; do
  target/debug/watchkeeper test rules "$unit"
  promtool test rules "$unit"
done
target/debug/watchkeeper check rules $(ls rules/*.yml | grep -v _test)

echo "== dashboard: types, logic, browser"
(cd web && npm run --silent check && npm run --silent test)
node tests/browser/run.mjs

echo "== dashboard of real servers, in the browser"
export WATCHKEEPER_REQUIRE_BROWSER=1
node tests/browser/real.mjs target/debug/watchkeeper
