#!/bin/sh
# What an installer does after the packages: one user whose sudo asks for a password. The password
# itself, host keys, machine id, name and address belong to a box: lab/guest.py.
set -eu
root=$1

chroot "$root" useradd --create-home --uid 1000 --shell /bin/bash --groups sudo --comment "" ai
chroot "$root" passwd --quiet --lock root
rm -f "$root"/etc/ssh/ssh_host_*
: > "$root/etc/fstab"
mkdir -p "$root/mnt/data-disk"
