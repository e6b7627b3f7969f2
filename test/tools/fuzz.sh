#!/bin/sh
# Runs every libFuzzer target of a build tree for some seconds on its seed corpus. New inputs go to BUILD/corpus-NAME, not to the seeds.
# usage: fuzz.sh BUILD-DIRECTORY SECONDS
set -eu
build=$1
seconds=$2
here=$(dirname "$0")/../fuzz

for target in "$build"/test/fuzz/fuzz_*; do
    if [ ! -x "$target" ] || [ ! -f "$target" ]; then
        continue
    fi
    name=$(basename "$target")
    parser=${name#fuzz_}
    mkdir -p "$build/corpus-$parser"
    dictionary=
    [ -f "$here/$parser.dict" ] && dictionary="-dict=$here/$parser.dict"
    echo "== $name"
    # shellcheck disable=SC2086 # empty or one word
    "$target" -max_total_time="$seconds" -print_final_stats=1 $dictionary "$build/corpus-$parser" "$here/corpus/$parser" 2>&1 |
        tee "$build/$name.log" | grep -E 'ERROR|SUMMARY|stat::number_of_executed_units|Test unit written' || true
    grep -q 'stat::number_of_executed_units' "$build/$name.log" || { echo "$name did not finish" >&2; exit 1; }
    ! grep -q -E 'ERROR: |SUMMARY: .*Sanitizer' "$build/$name.log" || exit 1
done
