#!/bin/sh
# valgrind's memcheck over the shipped code: release flags, master and workers, driven by some of the integration tests. Beside what the
# sanitizers see, it sees uninitialised memory. The system-call filter is left out, because valgrind makes calls of its own; so are tests that
# measure what the daemon takes. A process starts in seconds there: each file of tests takes one to four minutes, and not more than LIMIT.
#
#     memcheck.sh [test_NAME.py ...]
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
limit=${MEMCHECK_LIMIT:-900} # seconds for one file

cmake -B build-memcheck -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS=-DMCPROXY_SANITIZED=1 >/dev/null
cmake --build build-memcheck --target mc-proxy
# Tests know two marks of a bad end: a line that says so, and an exit status. Reports of workers come on the same standard error.
cat >build-memcheck/mc-proxy-valgrind <<WRAPPER
#!/bin/sh
exec valgrind --quiet --vgdb=no --trace-children=yes --child-silent-after-fork=yes --error-exitcode=99 --leak-check=full \\
    --show-leak-kinds=definite --errors-for-leak-kinds=definite --log-file=$root/build-memcheck/report.%p \\
    $root/build-memcheck/mc-proxy "\$@"
WRAPPER
chmod +x build-memcheck/mc-proxy-valgrind
rm -f build-memcheck/report.*
chmod a+rwx build-memcheck
[ $# -gt 0 ] || set -- test_routing.py test_relay.py test_endings.py test_firewall.py test_proxy_in.py test_proxy_out.py \
    test_admin_routes.py test_admin_changes.py test_live_views.py test_database.py test_reload.py
failed=
for file; do
    echo "== $file"
    (cd test/integration && MCPROXY_BIN="$root/build-memcheck/mc-proxy-valgrind" PYTHONDONTWRITEBYTECODE=1 \
        timeout "$limit" /usr/bin/python3 -m pytest -q -m "not measures" -p no:cacheprovider "$file") || failed="$failed $file"
done
echo "processes looked at: $(find build-memcheck -name 'report.*' | wc -l); with something to report: $(find build-memcheck -name 'report.*' -size +0 | wc -l)"
find build-memcheck -name 'report.*' -size +0 -exec cat {} +
[ -z "$failed" ] || echo "failed:$failed"
[ -z "$failed" ] && [ -z "$(find build-memcheck -name 'report.*' -size +0)" ]
