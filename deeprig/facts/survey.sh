# What the box is. Each line that is printed is `key=value`; a key may come more than once.
. /etc/os-release; echo "system=$ID"; echo "version=$VERSION_ID"; echo "name=$PRETTY_NAME"
echo "architecture=$(uname -m)"
echo "openssh=$(ssh -V 2>&1 | sed -n 's/^OpenSSH_\([0-9]*\.[0-9]*\).*/\1/p')"
for k in kex cipher mac; do echo "$k=$(ssh -Q $k | tr '\n' ' ')"; done
[ -e /etc/deeprig-lab ] && echo "lab=$(head -n 1 /etc/deeprig-lab)"
[ -n "$contained" ] && echo container=yes
[ -d /etc/default/grub.d ] || [ -e /etc/default/grub ] && echo grub=yes
for u in $USERS; do getent passwd "$u" >/dev/null || continue; echo "user=$u"
  sudo -l -U "$u" 2>/dev/null | grep -q 'NOPASSWD' && echo "free_sudo=$u"
  # Whose members mount a disk or start a machine as root. Ubuntu's installer puts its user into lxd.
  for g in docker lxd incus-admin libvirt disk kmem; do
    id -nG "$u" | tr ' ' '\n' | grep -qx $g && echo "root_group=$u|$g"; done
done
for u in $(echo "$USERS $PEOPLE" | tr ' ' '\n' | sort -u); do
  said=$(sshd_of "$u")
  reads_usual "$u" "$said" || { files=$(files_of "$u" "$said" | tr '\n' ' ')
    echo "keys_at=$u|${files:-what AuthorizedKeysCommand prints}"; }
  getent passwd "$u" >/dev/null || continue
  is=$(home_is "$u")
  case " $PEOPLE " in *" $u "*) ;; *) [ "$is" = absent ] || is=ok ;; esac  # a home that we leave be
  # One word of KEYS, whatever a process of that user may have made of it.
  [ "$is" != ok ] || is=$(as_user 30 "$u" sh -c "$KEYS" sh look "$(home_of "$u")" 2>/dev/null |
    head -n 1 | head -c 40 | tr -dc a-z-)
  elsewhere=$(keys_elsewhere "$u" "$said")
  [ "$is" != key ] || reads_usual "$u" "$said" || is=none
  case $is in key) echo "has_key=$u" ;; none | absent) ;; *)
    echo "odd_keys=$u|${is:-unanswered}|$(home_of "$u")" ;; esac
  [ -z "$elsewhere" ] || [ "$is" = key ] || echo "has_key=$u"
done
[ -e /usr/bin/nvidia-uninstall ] && echo dirty=run-file
# A file may be switched off, or be a copy: what apt reads of them counts.
# shellcheck disable=SC2016 # apt's own
grep -rqsE '^[^#]*graphics-drivers' /etc/apt/sources.list /etc/apt/sources.list.d &&
  apt-get --print-uris update 2>/dev/null | grep -q graphics-drivers && # what it would read
  echo dirty=ppa
{ installed lambda-stack || installed lambda-stack-cuda; } &&
  echo dirty=lambda
[ -e /etc/deeprig/driver-wanted.json ] ||  # what a deploy left half done, the next one mends
half=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'nvidia-*' 'libnvidia-*' 2>/dev/null |
  sed -nE 's/^(half-installed|unpacked|half-configured|triggers-awaited) //p' | tr '\n' ' ')
[ -n "$half" ] && echo "dirty=half $half"
installed firewalld && systemctl is-active -q firewalld && echo firewall=firewalld
grep -qsE '^[^#]*(accept|drop|reject)' /etc/nftables.conf &&
  systemctl is-enabled -q nftables 2>/dev/null && echo 'firewall=the rules in /etc/nftables.conf'
for p in netfilter-persistent iptables-persistent; do
  installed $p && echo "firewall=$p"; done
command -v wg >/dev/null && wg show all listen-port 2>/dev/null |
  sed -nE 's/.*\s([0-9]+)$/wireguard=\1/p'
for c in $CLOCKS; do installed "$c" && echo "clock=$c"; done
echo "ssh_socket=$(systemctl is-enabled ssh.socket 2>/dev/null || true)"
command -v cloud-init >/dev/null && echo cloud_init=yes
[ -x /usr/sbin/sendmail ] && echo sendmail=yes
