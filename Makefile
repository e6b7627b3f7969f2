# Thin: every target is a command you could type. The build itself is CMake's (CMakePresets.json).

.PHONY: all deps test-deps mc-proxy devserver test lint format fuzz clean

all: mc-proxy

deps: ## packages that building and the demo take
	packaging/install-deps.sh packaging/build-deps.txt packaging/demo-deps.txt

test-deps: deps ## packages that the tests take
	packaging/install-deps.sh packaging/test-deps.txt

mc-proxy: ## the shipped binary, build/mc-proxy
	cmake --preset release
	cmake --build --preset release --target mc-proxy

devserver: deps mc-proxy ## a running proxy with two demo backends
	test/tools/devserver.sh

test: test-deps ## everything, under the sanitizers; counts and sizes on the shipped binary
	cmake --preset release
	cmake --build --preset release --target costs
	cmake --preset dev
	cmake --build --preset dev
	ctest --preset dev -j 2

lint: test-deps ## formatting, clang-tidy, cppcheck, and a clang build with all warnings
	test/tools/lint.sh

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

FUZZ_SECONDS ?= 60
fuzz: test-deps ## each fuzz target for FUZZ_SECONDS
	cmake --preset fuzz
	cmake --build --preset fuzz
	test/tools/fuzz.sh build-fuzz $(FUZZ_SECONDS)

clean:
	rm -rf build build-dev build-coverage build-fuzz build-clang devserver
