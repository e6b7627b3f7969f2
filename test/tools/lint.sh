#!/bin/sh
# Formatting, static analysis and the second compiler. Fails at the first finding.
set -eu
cd "$(dirname "$0")/../.."

# Root may lint another user's checkout; git would refuse to list it, and nothing would be looked at.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="$PWD"
[ -n "$(git ls-files '*.c')" ] || { echo "lint: git lists no sources here" >&2; exit 1; }

echo "== clang-format"
git ls-files '*.c' '*.h' | xargs clang-format --dry-run --Werror

echo "== shellcheck"
git ls-files '*.sh' '*.bash' .ci/run | xargs shellcheck

echo "== every header compiles alone"
git ls-files 'common/*.h' 'common/geoip/*.h' 'master/*.h' 'worker/*.h' | while read -r header; do
    printf '#include "%s"\n' "$(basename "$header")" |
        clang -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -x c \
            -iquote common -iquote "$(dirname "$header")" -
done

echo "== the rooms: worker and master do not include each other, common none, geoip only common"
for room in common common/geoip worker master; do
    case $room in
    common) others="common/geoip worker master" ;;
    common/geoip) others="worker master" ;;
    worker) others="master" ;;
    master) others="worker" ;;
    esac
    for other in $others; do
        for header in "$other"/*.h; do
            if grep -ln "^#include \"\(.*/\)\?$(basename "$header")\"" "$room"/*.[ch]; then
                echo "$room/ includes $header" >&2
                exit 1
            fi
        done
    done
done

echo "== clang, all warnings"
cmake -B build-clang -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug >/dev/null
cmake --build build-clang

echo "== clang-tidy" # one file each: version 14 takes every va_list of a second file for uninitialized
git ls-files 'common/*.c' 'geoip/*.c' 'master/*.c' 'worker/*.c' | xargs -P "$(nproc)" -n 1 clang-tidy -quiet -p build-clang

echo "== cppcheck"
cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability --inline-suppr \
    --suppressions-list=test/tools/cppcheck.suppressions -D_GNU_SOURCE -I common common geoip master worker
