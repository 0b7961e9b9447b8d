# Watchkeeper. `make run` starts the server, `make test` proves it, `make` builds all of it.
SHELL := /bin/bash
.DEFAULT_GOAL := all
.PHONY: all run test web release bench check tools-run tools-test soak soak-alerting soak-team soak-kill differential deb clean help

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

soak: ## random histories of the store: SEEDS=n of them (from FIRST_SEED on), or the one with SEED=n
	WATCHKEEPER_SEEDS=$(or $(SEEDS),20000) WATCHKEEPER_FIRST_SEED=$(or $(FIRST_SEED),0) WATCHKEEPER_SEED=$(SEED) \
	  cargo test --release --locked --lib storage::tests::random

soak-alerting: ## random histories of the whole server in a made-up world: SEEDS=n of them (from FIRST_SEED on), or the one with SEED=n
	WATCHKEEPER_SIM_SEEDS=$(or $(SEEDS),2000) WATCHKEEPER_SIM_FIRST_SEED=$(or $(FIRST_SEED),0) WATCHKEEPER_SIM_SEED=$(SEED) \
	  cargo test --release --locked --lib sim::tests::random

soak-team: ## random histories of three servers until FAILOVERS=n changes of leader (from FIRST_SEED on), or the one with SEED=n
	WATCHKEEPER_TEAM_FAILOVERS=$(or $(FAILOVERS),500) WATCHKEEPER_TEAM_FIRST_SEED=$(or $(FIRST_SEED),0) WATCHKEEPER_TEAM_SEED=$(SEED) \
	  cargo test --release --locked --lib sim::tests::team_random -- --nocapture

soak-kill: ## KILLS=200 times kill -9 and CUTS=50 power cuts of an ext4 image (root) on the real binary while samples are pushed
	cargo build --release --locked
	tests/soak_kill.py --kills $(or $(KILLS),200) --power-cuts $(or $(CUTS),50)

differential: ## EXPRESSIONS=20000 random expressions from SEED=1 on, answered as PROMETHEUS_BIN (3.5 or newer) answers them
	WATCHKEEPER_EXPRESSIONS=$(or $(EXPRESSIONS),20000) WATCHKEEPER_SEED=$(or $(SEED),1) WATCHKEEPER_REQUIRE_PEERS=1 \
	  cargo test --locked --test it -- --nocapture random_expressions_give_what_prometheus_gives

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
