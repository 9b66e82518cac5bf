# `make lab` to learn, `make test` to prove; both set everything up first.
PY = .venv/bin/python

.PHONY: setup lab test
setup:
	@PYTHON="$(PYTHON)" sh .ci/setup

lab: setup
	@$(PY) -m utils lab

test: setup
	@$(PY) -m pytest
