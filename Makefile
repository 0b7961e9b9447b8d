# Watchkeeper. `make run` starts the server, `make test` proves it, `make` builds all of it.
SHELL := /bin/bash
.DEFAULT_GOAL := all
.PHONY: all run test web release bench check tools-run tools-test soak deb clean help

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

all: web ## the binary with its dashboard: target/release/watchkeeper
	cargo build --release --locked

run: tools-run all ## builds all and watches this machine: http://127.0.0.1:9090/
	./target/release/watchkeeper serve

web: web/dist/index.html ## the dashboard: web/dist

web/dist/index.html: web/package-lock.json web/package.json web/index.html web/vite.config.ts $(shell find web/src web/public -type f 2>/dev/null)
	@tests/tools.sh run
	cd web && npm ci --no-audit --no-fund --loglevel=error && npm run build --silent
	@touch $@

test: tools-test web ## every test; says what it needs
	tests/run.sh

check: ## what a change must pass first: quick
	cargo fmt --check && cargo clippy --all-targets --locked -- -D warnings

release: tools-run web ## a stripped binary, as static as this toolchain can: target/watchkeeper
	packaging/release.sh

bench: tools-run ## beside Prometheus and VictoriaMetrics (needs ../shared/bench)
	benches/bench.sh

tools-run:
	@tests/tools.sh run

tools-test:
	@tests/tools.sh test

clean: ## removes what was built
	rm -rf target web/dist web/node_modules
