#!/bin/sh
# Puts the program that is installed now in the place of the one that runs, without losing a connection: SIGUSR2, and then waits until
# systemd knows the successor. The package does this after its files have changed; by hand it does no harm.
# usage: upgrade [UNIT]
# Exit status: 0 the successor serves, or there was nothing to do; 1 the old one goes on serving.
set -eu

unit=${1:-mc-proxy.service}
wait_s=75 # the server itself gives a successor 60 s

if ! systemctl is-active --quiet "$unit"; then
    echo "mc-proxy upgrade: $unit does not run; nothing to do"
    exit 0
fi

# show PROPERTY
show() { systemctl show --property="$1" --value "$unit"; }

# The status keeps the reason of a failure: one of an earlier upgrade says nothing about this one.
says_failed() {
    case $(show StatusText) in
    *"upgrade failed"*) true ;;
    *) false ;;
    esac
}

old=$(show MainPID)
failed_before=no
! says_failed || failed_before=yes
systemctl kill --kill-whom=main --signal=USR2 "$unit"

tries=$((wait_s * 10))
while [ "$tries" -gt 0 ]; do
    new=$(show MainPID)
    if [ "$new" != "$old" ] && [ "$new" != 0 ] && systemctl is-active --quiet "$unit"; then
        echo "mc-proxy upgrade: process $new serves; $old ends with the last of its connections"
        exit 0
    fi
    [ "$failed_before" = yes ] || ! says_failed || break
    sleep 0.1
    tries=$((tries - 1))
done
echo "mc-proxy upgrade: no successor, process $old goes on: $(show StatusText); see journalctl -u $unit" >&2
exit 1
