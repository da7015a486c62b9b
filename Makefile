# Thin: every job is a job of dev.py, which does all the set-up it needs. No make? python3 dev.py demo, python3 dev.py test
# Arguments for a job: make test ARGS="-k ledger"
PYTHON ?= $(firstword $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
            command -v $$name; done) python3)
ARGS ?=

.PHONY: help setup demo test check lint format bench crash-matrix soak explore compose-check image-check

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):  *## /\1	/p' Makefile | while IFS='	' read -r name text; do printf '  make %-13s %s\n' "$$name" "$$text"; done

setup:  ## Create or refresh .venv (the other jobs do it themselves)
	@$(PYTHON) dev.py setup

demo:  ## Watch pipelines succeed, roll back, and survive a killed worker
	@$(PYTHON) dev.py demo $(ARGS)

test:  ## Run all tests on real servers, started for the purpose
	@$(PYTHON) dev.py test $(ARGS)

check:  ## Run everything that CI runs: format, lint, types, layers, tests
	@$(PYTHON) dev.py check $(ARGS)

lint:  ## Run the checks without the tests
	@$(PYTHON) dev.py lint

format:  ## Rewrite the code in the house's format
	@$(PYTHON) dev.py format

bench:  ## Compare the speed with other ways to run the same steps (docs/reference/benchmarks.md)
	@$(PYTHON) dev.py bench $(ARGS)

crash-matrix:  ## Let every disaster strike at every fault point, on every broker and database (an hour)
	@$(PYTHON) dev.py crash-matrix $(ARGS)

soak:  ## Run thousands of pipelines while everything is killed at random; a bank's own books tell (minutes)
	@$(PYTHON) dev.py soak $(ARGS)

explore:  ## Visit every state that modelled pipelines can reach when messages and workers fail (minutes)
	@$(PYTHON) dev.py explore $(ARGS)

compose-check:  ## Run docker-compose.yml without Docker: orders, Flower, a killed worker and broker (Linux, root)
	@$(PYTHON) dev.py compose-check $(ARGS)

image-check:  ## Build the image with buildah and look at it
	@$(PYTHON) dev.py image-check $(ARGS)
