#!/bin/sh
# A running proxy to try: two demo TLS backends, a database and certificates under devserver/, the proxy in the foreground.
# Ctrl-C stops everything.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p devserver
chmod 755 devserver

if [ ! -f devserver/ca.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=mc-proxy demo CA" \
        -keyout devserver/ca.key -out devserver/ca.pem 2>/dev/null
fi
# make_certificate NAME SUBJECT-ALTERNATIVE-NAME
make_certificate() {
    [ ! -f "devserver/$1.pem" ] || return 0
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
        -keyout "devserver/$1.key" -out "devserver/$1.csr" 2>/dev/null
    printf 'subjectAltName=%s\n' "$2" >"devserver/$1.ext"
    openssl x509 -req -in "devserver/$1.csr" -CA devserver/ca.pem -CAkey devserver/ca.key -CAcreateserial -days 3650 \
        -extfile "devserver/$1.ext" -out "devserver/$1.pem" 2>/dev/null
}
make_certificate one DNS:one.demo.test
make_certificate two DNS:two.demo.test
make_certificate admin DNS:localhost,IP:127.0.0.1 # the admin API
make_certificate operator email:operator@demo.test # who may use it over TCP

children=
# shellcheck disable=SC2317 # the trap calls it
# shellcheck disable=SC2086 # a list of process ids
stop_children() {
    trap '' INT TERM HUP
    [ -z "$children" ] || kill $children 2>/dev/null || true
    wait
}
trap stop_children EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

port=18443
for name in one two; do
    rm -f "devserver/$name.ready"
    /usr/bin/python3 test/tools/demo_backend.py "$port" "backend $name" "devserver/$name.pem" "devserver/$name.key" \
        "devserver/$name.ready" &
    backend=$!
    children="$children $backend"
    until [ -e "devserver/$name.ready" ]; do
        kill -0 "$backend" 2>/dev/null || exit 1 # it said why
        sleep 0.1
    done
    port=$((port + 1))
done

cat <<TXT

mc-proxy listens on port 8443 (configuration: config/devserver.ini, database: devserver/mc-proxy.db).
Two names, two backends; the proxy holds no key of either. In another terminal:

  curl --cacert devserver/ca.pem --resolve one.demo.test:8443:127.0.0.1 https://one.demo.test:8443/
  curl --cacert devserver/ca.pem --resolve two.demo.test:8443:127.0.0.1 https://two.demo.test:8443/

The admin API, on a Unix socket and on port 18446 (docs/admin-api.md):

  build/mc-proxy status -c config/devserver.ini
  build/mc-proxy routes list -c config/devserver.ini

Ctrl-C ends it.

TXT

build/mc-proxy server -c config/devserver.ini &
proxy=$!
children="$children $proxy"
status=0
wait "$proxy" || status=$?
exit "$status"
