#!/usr/bin/env bash
# Sees that the tools are there: `tools.sh run` for building, `tools.sh test` for the tests besides.
# As root on Debian it installs what the tests miss; else it names the command.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=0

need() { # command, how to get it
  command -v "$1" >/dev/null 2>&1 || { echo "missing: $1. Install it with: $2" >&2; missing=1; }
}

need cargo "curl https://sh.rustup.rs -sSf | sh    (https://rustup.rs)"
need cc "apt-get install build-essential"
need node "apt-get install nodejs npm    (20 or newer)"
need npm "apt-get install npm"
if command -v node >/dev/null 2>&1 && [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
  echo "node $(node --version) is too old: 20 or newer is needed" >&2
  missing=1
fi
[ "$missing" = 0 ] || exit 1
[ "${1:-run}" = test ] || exit 0

packages=()
want() { # what to look for, Debian package
  case $1 in
  /*) [ -e "$1" ] || packages+=("$2") ;;
  *) command -v "$1" >/dev/null 2>&1 || packages+=("$2") ;;
  esac
}
want java default-jre-headless
want /usr/share/java/zookeeper.jar zookeeper
want promtool prometheus
want amtool prometheus-alertmanager
want prometheus-node-exporter prometheus-node-exporter
want prometheus-pushgateway prometheus-pushgateway
want /usr/bin/chromium chromium
want openssl openssl
want curl curl
want python3 python3
want git git
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing for the tests: ${packages[*]}"
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}" >/dev/null
  else
    echo "the tests need: sudo apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 1
  fi
fi

# Python parts in a folder of their own, so that nothing of the system changes.
venv=target/test-tools/venv
if ! "$venv/bin/python3" -c 'import aiosmtpd, opentelemetry.exporter.otlp.proto.http; from importlib.metadata import version; assert version("prometheus_client") == "0.26.0"' 2>/dev/null; then
  echo "installing for the tests: aiosmtpd, prometheus_client, opentelemetry (into $venv)"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check 'aiosmtpd==1.4.6' 'prometheus_client==0.26.0' \
    'opentelemetry-sdk==1.45.2' 'opentelemetry-exporter-otlp-proto-http==1.45.2'
fi
