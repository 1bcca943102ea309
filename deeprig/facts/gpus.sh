# NVIDIA's devices, kernels that could boot, Secure Boot, the loaded driver, what apt could give.

bus() {  # ADDRESS ID CLASS; a lab's pretended cards stand for the bus
  if [ -n "$fake" ]; then cat /etc/deeprig-lab-gpu/cards; return; fi
  [ -n "$contained" ] && return  # what a container sees there is its host's
  for d in /sys/bus/pci/devices/*; do
    [ "$(cat "$d/vendor" 2>/dev/null)" = 0x10de ] || continue
    id=$(cat "$d/device"); class=$(cat "$d/class"); echo "${d##*/} 10de:${id#0x} ${class#0x}"
  done
}

fake=$([ -e /etc/deeprig-lab ] && head -n 1 /etc/deeprig-lab-gpu/profile 2>/dev/null)
[ -n "$fake" ] && echo "fake_gpu=$fake"
devices=$(bus)
for slot in $GIVEN; do  # a guest's, so none that a driver here is chosen for
  echo "$devices" | sed -n "s/^$slot\.. /given_gpu=&/p"
  devices=$(echo "$devices" | grep -v "^$slot\.")
done
[ -n "$devices" ] && echo "$devices" | sed 's/^/gpu=/'

# What an older driver, or a passthrough of old, has left in the way of this one.
settings() {  # the files of modprobe with such a line
  cat_of="/etc/modprobe.d/*.conf /run/modprobe.d/*.conf /usr/local/lib/modprobe.d/*.conf"
  # shellcheck disable=SC2086 # globs
  grep -lsE "$1" $cat_of /usr/lib/modprobe.d/*.conf | grep -xE '/[A-Za-z0-9_./+@-]+'
}
if [ -n "$devices$EXPECTED" ]; then
  for d in /var/lib/dkms/nvidia*/*/; do
    [ -e "$d/source/dkms.conf" ] && ! dpkg -S "$(readlink -f "$d/source")" >/dev/null 2>&1 &&
      d=${d%/} && echo "dirty=dkms ${d#/var/lib/dkms/}"; done
  [ -e /usr/bin/nvidia-uninstall ] || [ -e /etc/deeprig/driver.json ] ||
    for l in /usr/lib/*-linux-gnu*/libcuda.so.1 /usr/lib/*-linux-gnu*/libnvidia-ml.so.1 \
      /usr/lib/libcuda.so.1 /usr/lib/libnvidia-ml.so.1 /usr/lib64/libcuda.so.1; do
      [ -e "$l" ] && f=$(readlink -f "$l") && ! dpkg -S "$f" >/dev/null 2>&1 &&
        echo "dirty=library $l $f"; done
  knows=$(modprobe --showconfig 2>/dev/null)
  echo "$knows" | grep -qE '^(alias nvidia off|blacklist nvidia|install nvidia .*(false|true))$' &&
    settings '^\s*(alias\s+nvidia\s+off|blacklist\s+nvidia\s*$|install\s+nvidia\s.*(false|true))' |
      sed 's/^/dirty=modprobe /'
  for id in $(echo "$devices" | sed -nE 's/^.* 10de:(....) 03.*$/10de:\1/p' | sort -u); do
    echo "$knows" | grep -qiE "^options vfio_pci .*ids=[^ ]*$id" &&
      settings "^\s*options\s+vfio[-_]pci\s.*ids=\S*$id" | sed 's/^/dirty=vfio /'
    grep -qiE "vfio-pci.ids=[^ ]*$id" /proc/cmdline && echo dirty=vfio-line
  done
fi

is_set() {  # whether a variable of the firmware is 1, behind four bytes of its own
  [ "$(od -An -tu1 -j4 -N1 /sys/firmware/efi/efivars/"$1"-* 2>/dev/null | tr -d ' ')" = 1 ]
}
if [ -z "$contained" ]; then
  # shim lets every module pass where `mokutil --disable-validation` told it to.
  is_set SecureBoot && ! is_set MokSBStateRT &&
    echo secure_boot=yes && for key in $MODULE_KEYS; do
      # It ends with 1 where the key is enrolled, so its words are what counts.
      [ "${key%%=*}" = "$ID-$VERSION_ID" ] && [ -e "${key#*=}" ] && echo "module_key=$(
        LC_ALL=C mokutil --test-key "${key#*=}" 2>&1 | tail -n 1)"; done
  [ -r /sys/module/nvidia/version ] && echo "loaded_driver=$(cat /sys/module/nvidia/version)"
fi
# The branch of our own driver that stands; driver_proof.py reads the same file.
own() { sed -nE "s/^ *\"$1\": \"([a-z0-9-]+)\",?$/\1/p" /etc/deeprig/driver.json 2>/dev/null; }
library=$(own library)
[ -n "$library" ] && dpkg-query -W -f '${db:Status-Status}' "$library" 2>/dev/null |
  grep -qx installed && echo "standing_driver=$(own branch)"
for k in /boot/vmlinuz-*; do
  case $k in *.dpkg-* | *.rpmsave | *.rpmnew | *~ | *.sig) continue ;; esac  # nor does GRUB
  [ -e "$k" ] && echo "kernel=${k#/boot/vmlinuz-}"; done
# Those without a version in their name: they bring the next kernel.
dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'linux-*' 2>/dev/null | sed -nE \
  -e 's/^installed (linux-(image|headers)-[a-z].*)$/\1/p' \
  -e 's/^installed (linux-(generic|virtual|lowlatency|aws|azure|gcp|oracle)(-.*)?)$/\1/p' |
  grep -vE '^linux-image-(unsigned|uc|extra)-|-(dbg|dbgsym)$|-[0-9]+\.[0-9]+\.[0-9]+-' |
  sed 's/^/kernel_package=/'
manager=/etc/systemd/system/display-manager.service
[ -e $manager ] && echo "desktop=$(basename "$(readlink $manager)")"

if [ -n "$OFFERS" ] && [ -n "$devices$EXPECTED$CARDLESS" ]; then
  echo offers=yes
  # Branches and toolkits that no table knows yet; a module's packages of one kernel each are left out.
  newer=$(apt-cache pkgnames 2>/dev/null | grep -vE '[0-9]\.[0-9]+\.[0-9]' | grep -E \
    -e '^(linux-modules-nvidia|(lib)?nvidia-[a-z-]+)-[4-9][0-9][0-9](-server.*)?$' \
    -e '^cuda-(toolkit|minimal-build|libraries|libraries-dev)-[1-9][0-9]-[0-9]$' |
    grep -vE -- "-($KNOWN)(-|\$)" | sort)
  # shellcheck disable=SC2086 # words
  apt-cache madison $OFFERS $newer 2>/dev/null | awk '$NF != "Sources" && !seen[$1, $3]++ {
      if (!($1 in versions)) names[++count] = $1
      versions[$1] = versions[$1] " " $3
    }
    END { for (n = 1; n <= count; n++) print "offer=" names[n] versions[names[n]] }'
  # Which drivers of the archive name a card, in the field that ubuntu-drivers reads.
  # shellcheck disable=SC2086 # words
  ids=$({ echo "$devices" | sed -nE 's/^.* 10de:(....) 03.*$/\1/p'; echo $EXPECTED; } | xargs)
  # shellcheck disable=SC2086 # words
  [ "$ID" = ubuntu ] && [ -n "$ids" ] && drivers=$(apt-cache pkgnames nvidia-driver- |
    grep -E '^nvidia-driver-[0-9]+-server(-open)?$') &&
    apt-cache show $drivers 2>/dev/null | awk -v ids="$ids" '
      BEGIN { count = split(toupper(ids), id) }
      $1 == "Package:" { package = $2 }
      $1 == "Modaliases:" { for (n = 1; n <= count; n++)
        if (index($0, "d0000" id[n] "sv*sd*bc03"))
          print "modalias=10de:" tolower(id[n]) " " package }' | sort -u
fi
