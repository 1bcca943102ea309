# Part of the survey, run as root; it only reads: what asks somebody for a passphrase at each boot.
# Each line is asks=NAME|PLACE|HOW. HOW is console, or ssh where the initramfs lets somebody in.
[ -n "$contained" ] || (
how=console
installed dropbear-initramfs &&
  cat /etc/dropbear/initramfs/authorized_keys /etc/dropbear-initramfs/authorized_keys 2>/dev/null |
  grep -q . && how=ssh
table() { sed '/^[[:space:]]*#/d' /etc/crypttab 2>/dev/null; }
below() { # the opened volumes that what is at $1 lies on
  lsblk -snro NAME,TYPE "$(findmnt -nvo SOURCE -T "$1")" 2>/dev/null | sed -n 's/ crypt$//p'; }
answered() { # whether clevis has the passphrase of volume $1 from a chip or a server
  command -v clevis >/dev/null && [ -n "$(clevis luks list -d "$(findfs "$1")" 2>/dev/null)" ]; }
by_itself() { # whether volume $1 opens without anybody; $2 is not empty where the initramfs does it
  line=$(table | awk -v name="$1" '$1 == name') early=$2
  set -f
  # shellcheck disable=SC2086 # words on purpose
  set -- $line
  set +f
  [ $# -ge 2 ] || return 1
  case ",${4:-}," in *,keyscript=*decrypt_derived,*) return 0 ;; *,keyscript=*) return 1 ;; esac
  case ${3:-none} in none | -) ;; *) return 0 ;; esac
  # The initramfs that initramfs-tools makes knows nothing of this option.
  case ",${4:-}," in *,tpm2-device=*)
    [ -z "$early" ] || ! grep -qs mkinitramfs /usr/sbin/update-initramfs && return 0 ;; esac
  if [ -z "$early" ]; then p=clevis-systemd; else p='clevis-initramfs clevis-dracut'; fi
  for each in $p; do installed "$each" && answered "$2" && return 0; done
  return 1
}
for name in $(below /boot); do echo "asks=$name|/boot|console"; done # GRUB asks, before all else
seen=' '
for place in / /usr; do
  for name in $(below "$place"); do
    case $seen in *" $name "*) continue ;; esac
    seen="$seen$name "
    by_itself "$name" early || echo "asks=$name|$place|$how"
  done
done
table | while read -r name source _ options; do
  case $seen in *" $name "*) continue ;; esac
  case ",$options," in *,noauto,* | *,nofail,*) continue ;; esac
  [ -z "$source" ] || by_itself "$name" '' || echo "asks=$name|crypttab|console"
done
if [ "$(findmnt -no FSTYPE /)" = zfs ]; then
  pool=$(findmnt -no SOURCE /)
  case $(zfs get -Ho value encryption "$pool" 2>/dev/null) in '' | - | off) ;; *)
    echo "asks=$pool|/|$how" ;; esac
fi
)
