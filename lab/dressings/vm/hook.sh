#!/bin/sh
# What only a machine with a boot loader has. The boot loader itself is installed by `seal`, which
# runs on the machine's own kernel: lab/disk_image.py.
set -eu
root=$1

mkdir -p "$root/boot/efi" "$root/etc/default/grub.d"
cp "$(dirname "$0")/seal" "$root/seal"

# A copy at the path that firmware tries by itself, kept up to date: a VM may lose its variables.
echo "grub-efi-amd64 grub2/force_efi_extra_removable boolean true" |
	chroot "$root" debconf-set-selections

# As on a server whose console is its serial line: what the kernel says is seen there.
cat > "$root/etc/default/grub.d/10-lab.cfg" <<'CONF'
GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_TERMINAL=console
GRUB_TIMEOUT=1
CONF

# An initramfs for just this machine, as Debian's installer offers: less to load, and to build at
# each kernel update. The first is made here, natively, where what a VM has must be named.
conf="$root/etc/initramfs-tools/conf.d/lab"
printf '%s\n' ext4 virtio_blk virtio_pci >> "$root/etc/initramfs-tools/modules"
echo MODULES=list > "$conf"
chroot "$root" update-initramfs -u
echo MODULES=dep > "$conf"

# An emulated processor on a busy machine is slow, which is no reason to end in emergency mode.
mkdir -p "$root/etc/systemd/system.conf.d"
cat > "$root/etc/systemd/system.conf.d/10-lab.conf" <<'CONF'
[Manager]
DefaultTimeoutStartSec=10min
DefaultDeviceTimeoutSec=10min
CONF
