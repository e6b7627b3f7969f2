#!/bin/sh
# Builds the container image with what is there: buildah, podman or docker. Extra arguments go to it (--build-arg BASE=...).
# IMAGE names the result, mc-proxy:latest if unset.
# usage: build-image.sh [ARGUMENT...]
set -eu
cd "$(dirname "$0")/../.."

image=${IMAGE:-mc-proxy:latest}
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="$PWD"
version=$(sed -n 's/^project(mc-proxy VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
commit=$(git describe --always --dirty --abbrev=10 --exclude='*' 2>/dev/null) && version=$version+g$commit

for tool in buildah podman docker; do
    ! command -v "$tool" >/dev/null || break
done
ignore=packaging/container/Dockerfile.dockerignore
case $tool in
buildah | podman) set -- --format docker --ignorefile "$ignore" "$@" ;; # the docker format for HEALTHCHECK
esac
# docker finds the ignore file by its name.
exec "$tool" build --build-arg "VERSION=$version" --file packaging/container/Dockerfile --tag "$image" "$@" .
