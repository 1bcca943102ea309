#!/bin/sh
# Debian 13 that says it is Ubuntu 24.04, for places that reach no Ubuntu archive.
set -eu
root=$1

rm "$root/etc/os-release"
cat > "$root/etc/os-release" <<'CONF'
PRETTY_NAME="Ubuntu-like lab box (Debian 13 underneath)"
NAME="Ubuntu"
VERSION_ID="24.04"
VERSION="24.04 (Ubuntu-like lab box)"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
UBUNTU_CODENAME=noble
CONF
cat > "$root/etc/deeprig-lab" <<'CONF'
This is a lab box of deeprig: Debian 13 dressed as Ubuntu 24.04 (os-release, ssh.socket, netplan,
cloud-init's leftovers, needrestart, unattended-upgrades). Its packages are Debian's.
CONF

systemctl --root="$root" --quiet disable ssh.service
systemctl --root="$root" --quiet enable ssh.socket
