#!/bin/sh
# Puts a program with the libraries it needs, and the user it runs as, into a folder: the root of the container image.
# usage: make-root.sh PROGRAM FOLDER
set -eu

program=$1
root=$2
uid=10001

mkdir -p "$root"
install -D -s "$program" "$root/usr/bin/mc-proxy"
# Merged /usr, as in Debian: the program asks for its loader below /lib64.
mkdir -p "$root/usr/lib" "$root/usr/lib64"
ln -s usr/lib "$root/lib"
ln -s usr/lib64 "$root/lib64"

# Libraries, each to where it is here; and for scanners, which look there in images without dpkg, the packages they came with.
ldd "$program" | sed -n 's|.* => \(/[^ ]*\) .*|\1|p; s|^[[:space:]]*\(/[^ ]*\) .*|\1|p' | while read -r library; do
    install -D -m 755 "$library" "$root$library"
    # dpkg knows a file by the path it was packed with, with or without /usr.
    file=$(realpath "$library")
    package=$(dpkg-query --search "$file" "${file#/usr}" 2>/dev/null | sed 's/:.*//' | head -n 1)
    [ -n "$package" ] || continue
    mkdir -p "$root/var/lib/dpkg/status.d"
    dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/$package"
    # Their licences go with them.
    copyright=/usr/share/doc/$package/copyright
    [ ! -f "$copyright" ] || install -D -m 644 "$copyright" "$root$copyright"
done

mkdir -p "$root/etc" "$root/tmp" "$root/proc" "$root/sys" "$root/dev"
chmod 1777 "$root/tmp"
printf 'root:x:0:0:root:/:/nonexistent\nmc-proxy:x:%s:%s:mc-proxy:/srv/mc-proxy:/nonexistent\n' "$uid" "$uid" >"$root/etc/passwd"
printf 'root:x:0:\nmc-proxy:x:%s:\n' "$uid" >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"

install -d -o "$uid" -g "$uid" -m 750 "$root/srv/mc-proxy"
