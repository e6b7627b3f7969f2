#!/bin/sh
# Installs the Debian packages named in the lists given (files with one package a line), as far as they are missing.
# usage: install-deps.sh LIST...
set -eu

missing=
# shellcheck disable=SC2013 # words are what is wanted
for package in $(sed 's/#.*//' "$@"); do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -q '^installed$' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null || { echo "install-deps: this is no Debian; install what corresponds to:$missing" >&2; exit 1; }
as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "install-deps: run as root, or install by hand:$missing" >&2; exit 1; }
    as_root=sudo
fi
echo "install-deps: installing$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
