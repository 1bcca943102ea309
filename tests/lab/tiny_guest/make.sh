#!/bin/sh
# In a root that mmdebstrap extracted: /out gets efi.fat, of as many MiB as said, with the firmware's
# loader, the kernel and its initramfs.
set -eu
mkdir -p /out /ram/etc /ram/root /ram/proc /ram/sys /ram/dev /ram/bin /ram/usr/sbin /ram/lib
kernel=$(basename /lib/modules/*)
cp /boot/vmlinuz-* /out/vmlinuz
cp "$(command -v busybox)" /ram/bin/busybox
cp /guest/init /guest/udhcpc.sh /ram/
chmod 755 /ram/init /ram/udhcpc.sh
echo /bin/sh > /ram/etc/shells
printf 'passwd: files\n' > /ram/etc/nsswitch.conf
cp "$(command -v dropbear)" /ram/bin/dropbear
for library in $(/lib64/ld-linux-x86-64.so.2 --list /ram/bin/dropbear | grep -oE '/[^ ]+'); do
	mkdir -p "/ram$(dirname "$library")"
	cp -L "$library" "/ram$library"
done
depmod "$kernel"
for module in virtio_net ahci sr_mod iso9660 evdev button; do
	modprobe -S "$kernel" --show-depends "$module" | sed -n 's/^insmod //p'
done | sort -u | while read -r file; do
	mkdir -p "/ram$(dirname "$file")"
	cp "$file" "/ram$file"
	case $file in *.xz) unxz "/ram$file" ;; esac
done
depmod -b /ram "$kernel"
(cd /ram && find . | cpio --quiet -o -H newc) > /out/initrd.img
cat > /tmp/grub.cfg <<'CFG'
search --no-floppy --set=root --file /vmlinuz
linux /vmlinuz console=ttyS0 quiet panic=30
initrd /initrd.img
boot
CFG
grub-mkimage -O x86_64-efi -p / -c /tmp/grub.cfg -o /out/grub.efi part_gpt fat linux search
mkfs.vfat -n GUEST -C /out/efi.fat $(($1 << 10)) > /dev/null
mmd -i /out/efi.fat ::/EFI ::/EFI/BOOT
mcopy -i /out/efi.fat /out/grub.efi ::/EFI/BOOT/BOOTX64.EFI
mcopy -i /out/efi.fat /out/vmlinuz /out/initrd.img ::/
