#!/bin/sh
# What cloud-init and Ubuntu's installer leave behind.
set -eu
root=$1

cat > "$root/etc/ssh/sshd_config.d/50-cloud-init.conf" <<'CONF'
PasswordAuthentication yes
CONF
chmod 600 "$root/etc/ssh/sshd_config.d/50-cloud-init.conf"

# A box has no data source; without this cloud-init would look for one at every boot.
touch "$root/etc/cloud/cloud-init.disabled"

cat > "$root/etc/apt/apt.conf.d/20auto-upgrades" <<'CONF'
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
CONF

# netplan's unit of Ubuntu 26.04 ends with two calls to udev, which no container has: it would fail.
dropin="$root/etc/systemd/system/netplan-configure.service.d"
mkdir -p "$dropin"
printf '[Service]\nExecStartPost=\n' > "$dropin/deeprig-lab.conf"
