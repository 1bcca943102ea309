# A part of deeprig's survey: PCI devices with their IOMMU groups, and what the box itself needs of
# them. Read-only. Asked where cards are to be given to a guest, and where some have been; a
# container sees its host's devices, which are not its own. deeprig/facts/pci.py reads it.
pci_of() { realpath "$1" 2>/dev/null | grep -oE '[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]'; }
list=/etc/deeprig/passthrough.list
if [ -z "$contained" ] && { [ -n "$PASSTHROUGH" ] || [ -e $list ]; }; then
  echo pci_asked=yes
  sed -nE 's/^([0-9a-f:.]+ [0-9a-f]{4}:[0-9a-f]{4})$/given=\1/p' $list 2>/dev/null
  [ -e $list ] && echo passthrough_was_in=yes
  [ -e /etc/deeprig/guest.json ] && echo guest_there=yes
  # dracut may bring an update-initramfs of its own, which runs none of our hooks.
  grep -qs mkinitramfs /usr/sbin/update-initramfs && echo initramfs_tools=yes
  grep -m 1 -oE '\b(vmx|svm)\b' /proc/cpuinfo | head -n 1 | sed 's/^/virtualisation=/'
  for t in DMAR IVRS; do [ -e /sys/firmware/acpi/tables/$t ] && echo dma_table=$t; done
  echo "processors=$(nproc --all)"
  echo "memory_mib=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)"
  echo "kernel_line=$(cat /proc/cmdline)"
  for d in /sys/bus/pci/devices/*; do
    read -r vendor < "$d/vendor"; read -r device < "$d/device"; read -r class < "$d/class"
    driver=$(readlink "$d/driver"); group=$(readlink "$d/iommu_group")
    console=0; [ ! -e "$d/boot_vga" ] || read -r console < "$d/boot_vga"
    # MiB of 64-bit prefetchable memory: bits 0x2000 and 0x100000 of a resource's flags.
    window=0
    while read -r first last flags; do
      [ $((flags & 0x102000)) -eq $((0x102000)) ] && window=$((window + (last - first + 1 >> 20)))
    done < "$d/resource"
    driver=${driver##*/}; group=${group##*/}
    echo "pci=${d##*/} ${vendor#0x}:${device#0x} ${class#0x} ${driver:--} ${group:--}" \
      "$console $window"
  done
  for m in / /boot /boot/efi /usr /var /home "$FOLDER"; do
    source=$(findmnt -nvo SOURCE "$m" 2>/dev/null)
    for k in $(lsblk -snro KNAME "$source" 2>/dev/null); do
      sys=$(realpath "/sys/class/block/$k")
      case $sys in  # with multipath an NVMe disk is below no controller
      *nvme-subsystem*) for c in "${sys%/*}"/nvme*; do pci_of "$c"; done ;;
      *) pci_of "$sys" ;;
      esac
    done
  done | sort -u | sed 's/^/system_disk=/'
  for n in /sys/class/net/*; do
    [ -e "$n/device" ] && [ "$(cat "$n/operstate")" = up ] && pci_of "$n/device"
  done | sort -u | sed 's/^/network_card=/'
fi
true
