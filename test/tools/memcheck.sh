#!/bin/sh
# valgrind's memcheck over the shipped code: release flags, master and workers, driven by some of the integration tests. Beside what the
# sanitizers see, it sees uninitialised memory. The system-call filter is left out, because valgrind makes calls of its own.
#
#     memcheck.sh [test_NAME.py ...]
set -eu
cd "$(dirname "$0")/../.."

cmake -B build-memcheck -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS=-DMCPROXY_SANITIZED=1 >/dev/null
cmake --build build-memcheck --target mc-proxy
# Tests know two marks of a bad end: a line that says so, and an exit status. Reports of workers come on the same standard error.
cat >build-memcheck/mc-proxy-valgrind <<WRAPPER
#!/bin/sh
exec valgrind --quiet --vgdb=no --trace-children=yes --child-silent-after-fork=yes --error-exitcode=99 --leak-check=full \\
    --show-leak-kinds=definite --errors-for-leak-kinds=definite --log-file=$PWD/build-memcheck/report.%p \\
    $PWD/build-memcheck/mc-proxy "\$@"
WRAPPER
chmod +x build-memcheck/mc-proxy-valgrind
rm -f build-memcheck/report.*
chmod a+rwx build-memcheck
[ $# -gt 0 ] || set -- test_routing.py test_relay.py test_firewall.py test_proxy_in.py test_proxy_out.py test_admin_routes.py test_database.py
failed=0
(cd test/integration && MCPROXY_BIN="$OLDPWD/build-memcheck/mc-proxy-valgrind" PYTHONDONTWRITEBYTECODE=1 \
    /usr/bin/python3 -m pytest -q -p no:cacheprovider "$@") || failed=1
echo "processes looked at: $(find build-memcheck -name 'report.*' | wc -l); with something to report: $(find build-memcheck -name 'report.*' -size +0 | wc -l)"
find build-memcheck -name 'report.*' -size +0 -exec cat {} +
[ "$failed" -eq 0 ] && [ -z "$(find build-memcheck -name 'report.*' -size +0)" ]
