#!/bin/sh
# Runs the program of an unpacked image as a container runtime would: as the first process, in namespaces of its own, on a read-only
# root file system with one writable volume, as a user without any capability. Only what the image needs of a runtime, so that no
# runtime is needed to test it.
# usage: unshare --mount --net --pid --ipc --uts --fork --kill-child run_container.sh ROOT VOLUME CONFIGURATION UID PROGRAM ARGUMENT...
set -eu

root=$1
volume=$2
configuration=$3
uid=$4
shift 4

mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount --bind "$volume" "$root/srv/mc-proxy"
mount --bind "$configuration" "$root/etc/mc-proxy/mc-proxy.ini"
mount -o remount,ro,bind "$root"
ip link set lo up
# A user of its own without groups has no capability left; and cannot get one.
exec setpriv --no-new-privs chroot --userspec="$uid:$uid" --groups= "$root" "$@"
