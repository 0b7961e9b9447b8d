#!/usr/bin/env bash
# Runs the side-by-side benchmark beside Prometheus and VictoriaMetrics and prints its table.
# The load generator and the peers' binaries come from the folder beside the repository (WATCHKEEPER_SHARED or ../shared).
# Words given are handed on: benches/bench.sh scrape --scrape 100@1s
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${WATCHKEEPER_SHARED:-$PWD/../shared}
if [ ! -d "$shared/bench" ]; then
  echo "no benchmark here: $shared/bench is absent (set WATCHKEEPER_SHARED)" >&2
  exit 0
fi
cargo build --release --locked
mkdir -p target/bench
[ -d target/bench/fleet ] || cp -r "$shared/bench/fleet" target/bench/fleet
chmod -R u+w target/bench/fleet
cargo build --release --manifest-path target/bench/fleet/Cargo.toml --target-dir target/bench/build
peers=$("$shared/bench/peers.sh")
eval "$peers"
export WATCHKEEPER_BIN=$PWD/target/release/watchkeeper FLEET_BIN=$PWD/target/bench/build/release/fleet
[ $# -gt 0 ] || set -- all --profile quick --systems prometheus,victoria,watchkeeper
exec "$shared/bench/bench.py" "$@"
