#!/usr/bin/env bash
# Runs every test: Rust, shipped rules by both promtool and ours, the dashboard's logic, and the dashboard in a real browser.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/target/test-tools/venv/bin:$PATH"

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
