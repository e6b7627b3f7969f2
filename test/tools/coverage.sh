#!/bin/sh
# Lines and branches of production code that unit, corpus and integration tests run, workers included.
#
#     coverage.sh            everything, anew
#     coverage.sh -R NAME    only these tests (options of ctest), on top of what was counted before
#
# Counters lie beside the objects of build-coverage/. Workers write theirs as the user that they have become, so files and folders
# there are open to all.
set -eu
cd "$(dirname "$0")/../.."

umask 0
cmake --preset coverage
cmake --build --preset coverage
chmod -R a+rwX build-coverage
if [ $# -eq 0 ]; then
    find build-coverage -name '*.gcda' -delete
    set -- -L 'unit|fuzz|integration|threads'
fi
failed=0
# What counts is slower than what is shipped, and costs are those of the shipped: not among them.
export PYTEST_ADDOPTS='-m "not measures"'
ctest --preset coverage -j 2 -E 'integration.costs' "$@" || failed=$?
# A branch that only a broken invariant takes (CHECK) is none; what cannot be counted is said beside the line (GCOVR_EXCL_).
gcovr --root . --filter 'common/' --filter 'worker/' --filter 'master/' \
    --exclude-unreachable-branches --exclude-throw-branches --exclude-branches-by-pattern '.*CHECK(_MAGIC)?\(.*' \
    --txt build-coverage/coverage.txt --html-details build-coverage/coverage.html --json-summary build-coverage/coverage.json \
    --print-summary build-coverage/common build-coverage/worker build-coverage/master # not test/bench: it compiles sandbox.c another way
[ "$failed" -eq 0 ] || echo "some tests failed: the figures are of what ran" >&2
exit "$failed"
