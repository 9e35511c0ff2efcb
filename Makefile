# `make demo` shows it, `make test` proves it; both make their own environment first (bin/bootstrap).
SHELL := /bin/bash
PY := .venv/bin/python
NATIVE := .venv-native/bin/python
SEED ?=
SEEDS ?= 2000
ONLY ?=
SIPCTL_TORTURE_DIR ?=

.DEFAULT_GOAL := help
.PHONY: help demo run test check sim bench accept torture native native-test dev clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 13

demo: ## a carrier, two tenants and a failover on this machine, in under a minute
	@bin/bootstrap run
	@.venv/bin/sipctl demo $(DEMO)

run: ## route calls by ./dialplans and ./sbc_configs until Ctrl-C
	@bin/bootstrap run
	@.venv/bin/sipctl run $(RUN)

test: dev ## everything that decides whether a change is good
	@failed=0; \
	$(PY) -m pytest -n 2 --dist loadscope -m "not serial" || failed=1; \
	$(PY) -m pytest -n 2 --dist loadfile -m serial || failed=1; \
	exit $$failed

check: dev ## ruff, mypy and the import rules, in under a minute
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m pytest -p no:xdist tests/test_tidy.py

sim: dev ## simulated worlds: SEED=n repeats one, SEEDS=n runs that many, KIND=worlds|troubles|fleets|hours only those
	@$(PY) -m tests.sim.run $(if $(KIND),--kind $(KIND)) $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

bench: native ## CPU and delay per call beside Kamailio, resolve and compile at a million numbers, decision to first call
	@$(NATIVE) -m bench.bench_resolve
	@$(NATIVE) -m bench.cpu_per_call
	@$(NATIVE) -m bench.post_dial_delay
	@$(NATIVE) -m bench.decision_to_first_call

accept: native ## seconds and ratios on sockets: exits 1 on a miss; ONLY=name,name runs some of them
	@$(NATIVE) -m tests.accept.run $(if $(ONLY),--only $(ONLY))

torture: dev ## the messages of RFC 4475 from the folder SIPCTL_TORTURE_DIR names
	@test -n "$(SIPCTL_TORTURE_DIR)" || { echo "SIPCTL_TORTURE_DIR must name a folder with the .dat files of RFC 4475" >&2; exit 2; }
	@SIPCTL_TORTURE_DIR="$(SIPCTL_TORTURE_DIR)" $(PY) -m tests.sip.rfc4475

native: ## a second environment, .venv-native, with the call path compiled
	@bin/bootstrap native

native-test: native ## the pure tests of what is compiled, and simulated worlds, against the compiled code
	@rm -rf .venv-native/checkout && mkdir .venv-native/checkout
	@cp -r tests bench dialplans sbc_configs pyproject.toml .venv-native/checkout/
	@cd .venv-native/checkout && ../bin/python -c 'import sipctl.call.core as core; assert core.__file__.endswith(".so"), core.__file__'
	@cd .venv-native/checkout && ../bin/python -m pytest -n 2 --dist loadscope -m "not interpreted" \
		tests/call tests/sip tests/routing tests/health tests/engine tests/sim

dev:
	@bin/bootstrap dev

clean: ## remove what the other targets made
	rm -rf .venv .venv-native .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist ./*.egg-info .sipctl
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
