#!/bin/sh
# Installs mc-proxy on a host without a package for it: program, systemd units, user, folders, configuration, manual. Doing it again
# brings everything up to date and leaves the configuration and the data alone; a running server is replaced without losing a
# connection (SIGUSR2). Uninstalling leaves configuration and data, unless they are to be purged.
#
# usage: install.sh [--binary FILE] [--prefix DIR] [--destdir DIR] [--no-start]
#        install.sh --uninstall [--purge] [--prefix DIR] [--destdir DIR]
#   --binary FILE   install this program; without it: build/mc-proxy, which is built here if it is not there
#   --prefix DIR    where programs go, /usr/local if not given
#   --destdir DIR   put everything below this folder, for packagers: no user is made and nothing is started
#   --no-start      install, but neither enable nor start anything
#   --purge         also /etc/mc-proxy, /srv/mc-proxy with the database and its backups, and the user
set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
prefix=/usr/local
destdir=
binary=
action=install
purge=no
start=yes

fail() {
    echo "install.sh: $1" >&2
    exit "${2:-1}"
}

usage() {
    sed -n 's/^# \{0,1\}//; /^usage:/,/^ *--purge/p' "$0"
}

while [ $# -gt 0 ]; do
    case $1 in
    --binary | --prefix | --destdir)
        [ $# -ge 2 ] || fail "$1 needs a value" 2
        case $1 in
        --binary) binary=$2 ;;
        --prefix) prefix=$2 ;;
        --destdir) destdir=$2 ;;
        esac
        shift
        ;;
    --uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    --no-start) start=no ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done
[ "$purge" = no ] || [ "$action" = uninstall ] || fail "--purge goes with --uninstall" 2
case $prefix in
/*) prefix=${prefix%/} ;;
*) fail "--prefix has to be an absolute path" 2 ;;
esac

# systemd looks below /usr and /usr/local; for other prefixes the administrator's own folders are the place.
case $prefix in
/usr | /usr/local | '')
    units=$prefix/lib/systemd/system sysusers=$prefix/lib/sysusers.d tmpfiles=$prefix/lib/tmpfiles.d
    ;;
*) units=/etc/systemd/system sysusers=/etc/sysusers.d tmpfiles=/etc/tmpfiles.d ;;
esac
doc=$prefix/share/doc/mc-proxy
unit_names="mc-proxy.service mc-proxy.socket mc-proxy-backup.service mc-proxy-backup.timer"

# Is this the running system, and is systemd in charge of it?
is_live() { [ -z "$destdir" ]; }
has_systemd() { is_live && [ -d /run/systemd/system ]; }

# put MODE SOURCE TARGET
put() { install -D -m "$1" "$2" "$destdir$3"; }

put_all() {
    put 755 "$binary" "$prefix/bin/mc-proxy"
    put 755 "$source/packaging/systemd/upgrade.sh" "$prefix/libexec/mc-proxy/upgrade"
    for unit in $unit_names; do
        # Units name the program by its full path.
        sed "s|/usr/bin/mc-proxy|$prefix/bin/mc-proxy|g; s|/usr/share/doc/mc-proxy|$doc|g" "$source/packaging/systemd/$unit" >"$work/$unit"
        put 644 "$work/$unit" "$units/$unit"
    done
    put 644 "$source/packaging/systemd/mc-proxy.sysusers" "$sysusers/mc-proxy.conf"
    put 644 "$source/packaging/systemd/mc-proxy.tmpfiles" "$tmpfiles/mc-proxy.conf"
    put 644 "$source/packaging/systemd/examples/socket-only.conf" "$doc/examples/socket-only.conf"
    put 644 "$source/config/mc-proxy.ini.example" "$doc/examples/mc-proxy.ini.example"
    put 644 "$source/proto/mc_proxy/v1/admin.proto" "$prefix/share/mc-proxy/proto/mc_proxy/v1/admin.proto"
    put 644 "$source/packaging/completion/mc-proxy.bash" "$prefix/share/bash-completion/completions/mc-proxy"
    for page in "$source"/docs/man/*.[158]; do
        put 644 "$page" "$prefix/share/man/man${page##*.}/$(basename "$page")"
    done
    put 644 "$source/packaging/prometheus/alerts.yml" "$doc/examples/alerts.yml"
    put 644 "$source/packaging/grafana/mc-proxy.json" "$doc/examples/dashboard.json"
    for document in "$source"/docs/*.md "$source/README.md" "$source/SECURITY.md"; do
        put 644 "$document" "$doc/$(basename "$document")"
    done
    for document in "$source"/docs/decisions/*.md; do
        put 644 "$document" "$doc/decisions/$(basename "$document")"
    done
    [ -e "$destdir/etc/mc-proxy/mc-proxy.ini" ] || put 644 "$source/packaging/mc-proxy.ini" /etc/mc-proxy/mc-proxy.ini
}

# What sysusers.d and tmpfiles.d say, for hosts that do not have the programs that read them.
make_user_and_folders() {
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers "$sysusers/mc-proxy.conf"
    elif ! id mc-proxy >/dev/null 2>&1; then
        useradd --system --user-group --no-create-home --home-dir /srv/mc-proxy --shell /usr/sbin/nologin mc-proxy
    fi
    install -d -o mc-proxy -g mc-proxy -m 750 /srv/mc-proxy /srv/mc-proxy/certs
    install -d -o mc-proxy -g mc-proxy -m 700 /srv/mc-proxy/backups
}

start_or_upgrade() {
    systemctl daemon-reload
    systemctl --quiet enable mc-proxy.service mc-proxy-backup.timer
    systemctl start mc-proxy-backup.timer
    if systemctl is-active --quiet mc-proxy.service; then
        "$prefix/libexec/mc-proxy/upgrade"
    else
        systemctl start mc-proxy.service
    fi
}

build_if_missing() {
    [ -z "$binary" ] || return 0
    binary=$source/build/mc-proxy
    [ ! -x "$binary" ] || return 0
    "$source/packaging/install-deps.sh" "$source/packaging/build-deps.txt"
    (cd "$source" && cmake --preset release -DMCPROXY_TESTS=OFF && cmake --build --preset release --target mc-proxy)
}

# A program that lacks a library says so here and not when the old one has gone.
check_binary() {
    [ -x "$binary" ] || fail "$binary is no program"
    ! is_live || "$binary" version >/dev/null || fail "$binary does not run here; it needs the libraries named above"
}

do_install() {
    ! is_live || [ "$(id -u)" -eq 0 ] || fail "run as root, or with --destdir"
    build_if_missing
    check_binary
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    put_all
    is_live || return 0
    make_user_and_folders
    if has_systemd && [ "$start" = yes ]; then
        start_or_upgrade
    fi
    "$prefix/bin/mc-proxy" version | head -n 1
    echo "install.sh: installed; the configuration is /etc/mc-proxy/mc-proxy.ini, the runbook $doc/operations.md"
}

remove() {
    for path in "$@"; do
        rm -f "$destdir$path"
    done
}

remove_all() {
    for unit in $unit_names; do
        remove "$units/$unit"
    done
    remove "$prefix/bin/mc-proxy" "$sysusers/mc-proxy.conf" "$tmpfiles/mc-proxy.conf" \
        "$prefix/share/bash-completion/completions/mc-proxy"
    for section in 1 5 8; do
        rm -f "$destdir$prefix/share/man/man$section"/mc-proxy*."$section"
    done
    rm -rf "$destdir$prefix/libexec/mc-proxy" "$destdir$prefix/share/mc-proxy" "$destdir$doc"
}

purge_all() {
    rm -rf "$destdir/etc/mc-proxy" "$destdir/etc/systemd/system/mc-proxy.service.d" "$destdir/etc/systemd/system/mc-proxy.socket.d"
    is_live || return 0
    rm -rf /srv/mc-proxy
    ! id mc-proxy >/dev/null 2>&1 || userdel mc-proxy
}

do_uninstall() {
    ! is_live || [ "$(id -u)" -eq 0 ] || fail "run as root, or with --destdir"
    if has_systemd; then
        for unit in mc-proxy-backup.timer mc-proxy.socket mc-proxy.service; do
            [ ! -e "$units/$unit" ] || systemctl --quiet disable --now "$unit"
        done
    fi
    remove_all
    ! has_systemd || systemctl daemon-reload
    if [ "$purge" = yes ]; then
        purge_all
    else
        echo "install.sh: /etc/mc-proxy and /srv/mc-proxy are left as they are (--purge removes them)"
    fi
}

"do_$action"
