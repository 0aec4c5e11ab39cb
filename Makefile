PYTHON ?= python3
BIN    := .venv/bin

.PHONY: setup demo test test-slow test-gpu lint constraints clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: setup
	$(BIN)/zoo demo

test: setup
	$(BIN)/pytest

test-slow: setup
	$(BIN)/pytest -m slow

test-gpu: setup
	$(BIN)/pytest -m gpu

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

constraints: setup
	$(BIN)/uv pip compile --quiet --universal --all-extras --no-annotate --no-header --no-emit-index-url pyproject.toml --output-file constraints.txt

clean:
	rm -rf .venv build dist demo *.egg-info
