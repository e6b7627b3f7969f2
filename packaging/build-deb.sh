#!/bin/sh
# Builds the Debian package from this tree as it is, into build/: mc-proxy_VERSION_ARCH.deb. Works offline once the build's
# dependencies are there (make deps, and packaging/deploy-deps.txt). DEB_OUT names another folder for the result.
# usage: build-deb.sh
set -eu
cd "$(dirname "$0")/.."

out=${DEB_OUT:-build}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/deb.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/mc-proxy
mkdir "$tree"

# Root may build another user's checkout.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="$PWD"
base=$(sed -n 's/^project(mc-proxy VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
if git rev-parse --git-dir >/dev/null 2>&1; then
    commit=$(git describe --always --dirty --abbrev=10 --exclude='*')
    epoch=$(git log -1 --format=%ct)
    reported=$base+g$commit
    # Later commits are later versions: the time of the commit comes first.
    version=$base+git$(date -u -d "@$epoch" +%Y%m%d%H%M%S).$(echo "$commit" | tr - .)
    # What is deleted but not committed is listed too, and passed over.
    git ls-files -z --cached --others --exclude-standard |
        tar -c --null --ignore-failed-read --warning=no-failed-read -T - -f - | tar -x -C "$tree" -f -
else
    epoch=$(date +%s)
    reported=$base
    version=$base
    tar -c --exclude='./build*' --exclude=./devserver -f - . | tar -x -C "$tree" -f -
fi

mv "$tree/packaging/debian" "$tree/debian"
if [ "$version" != "$base" ]; then
    {
        printf 'mc-proxy (%s) bookworm; urgency=medium\n\n  * Built from %s.\n\n' "$version" "$reported"
        printf ' -- Metacircular Dynamics <packages@mc-proxy.example>  %s\n\n' "$(date -u -R -d "@$epoch")"
        cat "$tree/debian/changelog"
    } >"$work/changelog"
    mv "$work/changelog" "$tree/debian/changelog"
fi

(cd "$tree" && MCPROXY_VERSION=$reported dpkg-buildpackage --unsigned-source --unsigned-changes --build=binary) >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
deb=$(basename "$(echo "$work"/mc-proxy_*.deb)")
mv "$work"/mc-proxy*.deb "$work"/mc-proxy_*.changes "$work"/mc-proxy_*.buildinfo "$out"
echo "$out/$deb"
