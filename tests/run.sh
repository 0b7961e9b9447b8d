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

echo "== dashboard of the real binary, in the browser"
export WATCHKEEPER_REQUIRE_BROWSER=1
scratch=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
target/debug/watchkeeper serve --listen "127.0.0.1:$port" --data-dir "$scratch/data" >"$scratch/log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true; rm -rf "$scratch"' EXIT
for _ in $(seq 100); do
  curl -sf "http://127.0.0.1:$port/api/v1/query?query=up==1" | grep -q '"up"' && break
  read -rt 0.2 <> <(:) || true
done
node tests/browser/run.mjs "http://127.0.0.1:$port" || { tail -20 "$scratch/log"; exit 1; }
