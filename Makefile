# Thin: every target is a command you could type. The build itself is CMake's (CMakePresets.json).

.PHONY: all analyze bench bench-deps clean coverage deb deploy-deps deps devserver faults format fuzz image lint mc-proxy memcheck soak
.PHONY: test test-deploy test-deps tsan

all: mc-proxy

deps: ## packages that building and the demo take
	packaging/install-deps.sh packaging/build-deps.txt packaging/demo-deps.txt

test-deps: deps ## packages that the tests take
	packaging/install-deps.sh packaging/test-deps.txt

deploy-deps: deps ## packages that the Debian package, the image and their tests take
	packaging/install-deps.sh packaging/deploy-deps.txt

mc-proxy: ## the shipped binary, build/mc-proxy
	cmake --preset release
	cmake --build --preset release --target mc-proxy

devserver: deps mc-proxy ## a running proxy with two demo backends
	test/tools/devserver.sh

test: test-deps ## everything but deployment, under the sanitizers; counts and sizes on the shipped binary
	cmake --preset release
	cmake --build --preset release --target costs
	cmake --preset dev
	cmake --build --preset dev
	ctest --preset dev -LE deploy -j 2

tsan: test-deps ## what processes share, driven by threads under ThreadSanitizer
	cmake --preset tsan
	cmake --build --preset tsan
	ctest --preset tsan

FAULT_OPTIONS ?= --all
faults: test-deps ## every call and allocation fails once, at every place: 20 minutes
	cmake --preset dev
	cmake --build --preset dev --target mc-proxy mcfault
	test/fault/run.py $(FAULT_OPTIONS)

coverage: test-deps ## lines and branches of production code that the tests run: build-coverage/coverage.txt and .html
	test/tools/coverage.sh

analyze: test-deps ## clang's static analyser over production code
	test/tools/analyze.sh

memcheck: test-deps ## valgrind's memcheck over master and workers of the release build
	test/tools/memcheck.sh

test-deploy: deploy-deps ## units, package, image and installer, in a booted systemd where this machine lets one boot
	cmake --preset release
	ctest --test-dir build -L deploy --output-on-failure

bench-deps: deps
	packaging/install-deps.sh packaging/bench-deps.txt

BENCH ?= --docs docs
bench: bench-deps ## CPU, memory and latency beside HAProxy, nginx, sniproxy and a bare relay; shorter: make bench BENCH='--rounds 3 --only short'
	cmake --preset release
	cmake --build --preset release --target bench
	PYTHONPATH=test/bench PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m compare --build build $(BENCH)

SOAK_MINUTES ?= 60
soak: test-deps mc-proxy ## everything at once for an hour: nobody may fail, nothing may grow
	test/soak/soak.py --minutes $(SOAK_MINUTES)

lint: test-deps ## formatting, clang-tidy, cppcheck, and a clang build with all warnings
	test/tools/lint.sh

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

FUZZ_SECONDS ?= 60
fuzz: test-deps ## each fuzz target for FUZZ_SECONDS
	cmake --preset fuzz
	cmake --build --preset fuzz
	test/tools/fuzz.sh build-fuzz $(FUZZ_SECONDS)

deb: deploy-deps ## the Debian package, build/mc-proxy_*.deb
	packaging/build-deb.sh

image: ## the container image, mc-proxy:latest
	packaging/container/build-image.sh

clean:
	rm -rf build build-dev build-coverage build-fuzz build-tsan build-memcheck build-clang devserver
