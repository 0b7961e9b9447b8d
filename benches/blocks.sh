#!/usr/bin/env bash
# Bytes a sample of blocks by part, and how fast they are read, with the load generator's values (24 h at 15 s).
# Words given are handed on: benches/blocks.sh --targets 12
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${WATCHKEEPER_SHARED:-$PWD/../shared}
if [ ! -d "$shared/bench" ]; then
  echo "no values here: $shared/bench is absent (set WATCHKEEPER_SHARED)" >&2
  exit 0
fi
mkdir -p target/bench
if [ -z "${FLEET_BIN:-}" ]; then
  [ -d target/bench/fleet ] || cp -r "$shared/bench/fleet" target/bench/fleet
  chmod -R u+w target/bench/fleet
  cargo build --release --manifest-path target/bench/fleet/Cargo.toml --target-dir target/bench/build
  FLEET_BIN=target/bench/build/release/fleet
fi
targets=4
[ "${1:-}" != --targets ] || targets=$2
start=1760000000
columns=target/bench/columns-$targets.f64
[ -f "$columns" ] || "$FLEET_BIN" columns --targets "$targets" --start $start --end $((start + 86400)) --step 15 --out "$columns"
exec cargo bench --locked --bench blocks -- --columns "$columns" --template "$shared/bench/fleet/templates/node.tmpl" \
  --start $start --targets "$targets" "$@"
