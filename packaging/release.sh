#!/usr/bin/env bash
# Builds the binary that is shipped: stripped, and linked as statically as this toolchain can.
# With the musl target installed the result is wholly static; else glibc is linked in statically.
set -euo pipefail
cd "$(dirname "$0")/.."
arch=$(uname -m)
musl=$arch-unknown-linux-musl
if rustc --print target-libdir --target "$musl" 2>/dev/null | xargs -r test -d && command -v musl-gcc >/dev/null; then
  env "CC_${musl//-/_}=musl-gcc" cargo build --profile dist --locked --target "$musl"
  built=target/$musl/dist/watchkeeper
else
  echo "note: no musl target ($musl) or no musl-gcc here: linking glibc statically instead" >&2
  RUSTFLAGS="-C target-feature=+crt-static" cargo build --profile dist --locked --target "$arch-unknown-linux-gnu"
  built=target/$arch-unknown-linux-gnu/dist/watchkeeper
fi
install -m 755 "$built" target/watchkeeper
ls -l target/watchkeeper
file target/watchkeeper 2>/dev/null || true
