# NVIDIA's cards (PCI class 0300 and 0302), kernels that could boot, Secure Boot, the loaded driver.
# A container has none of its own: what it sees there is its host's.
if ! systemd-detect-virt -cq; then
  for d in /sys/bus/pci/devices/*; do
    [ "$(cat "$d/vendor" 2>/dev/null)" = 0x10de ] || continue
    class=$(cat "$d/class"); id=$(cat "$d/device")
    case $class in 0x0300*|0x0302*) echo "gpu=${d##*/} 10de:${id#0x} ${class#0x}";; esac
  done
  [ "$(od -An -tu1 -j4 -N1 /sys/firmware/efi/efivars/SecureBoot-* 2>/dev/null | tr -d ' ')" = 1 ] &&
    echo secure_boot=yes
  [ -r /sys/module/nvidia/version ] && echo "loaded_driver=$(cat /sys/module/nvidia/version)"
fi
for k in /boot/vmlinuz-*; do [ -e "$k" ] && echo "kernel=${k#/boot/vmlinuz-}"; done
