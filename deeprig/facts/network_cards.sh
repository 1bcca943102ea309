# A part of deeprig's survey: the network cards. Read-only. Each line it prints is `key=value`;
# deeprig/facts/network_cards.py says what stands in it.
# `udevadm test-builtin` is only for containers, which have no udev that could be asked: before
# systemd 256 it does not only say what it would do to a card, it does it.
wol() { python3 -ISBc '
import array, fcntl, socket, struct, sys
for name in sys.argv[1:]:
    answer = array.array("B", struct.pack("=III6s", 5, 0, 0, b""))  # ETHTOOL_GWOL
    ask = struct.pack("16sP16x", name.encode(), answer.buffer_info()[0])
    try:
        fcntl.ioctl(socket.socket(), 0x8946, ask)
        bits = struct.unpack_from("=I", answer, 4)[0]
    except OSError:
        bits = 0
    kinds = "".join(kind for bit, kind in enumerate("pumbagsf") if bits >> bit & 1)
    print("wakes=" + name, kinds or "d")
' "$@" 2>/dev/null; }
manager() {
  by=$(command -v nmcli >/dev/null && nmcli -g GENERAL.CONNECTION device show "$1" 2>/dev/null)
  if [ -n "$by" ]; then by="NetworkManager $by"
  elif grep -qs '^ADMIN_STATE=configured' "/run/systemd/netif/links/$2"; then
    by="networkd $(sed -n 's/^NETWORK_FILE=//p' "/run/systemd/netif/links/$2")"
  elif grep -qs "^$1=" /run/network/ifstate; then by=ifupdown; fi
  case $by in *netplan-*) echo "netplan with ${by%% *}";; *) echo "${by%% *}";; esac
}
names=
for n in /sys/class/net/*; do
  i=${n##*/}; [ -e "$n/address" ] && [ "$i" != lo ] || continue
  names="$names $i"; kind=virtual
  [ -e "$n/device" ] && kind=wired
  [ -e "$n/wireless" ] || [ -e "$n/phy80211" ] && kind=wireless
  mac=$(ip -o link show dev "$i" 2>/dev/null | sed -n 's/.* permaddr \([0-9a-f:]*\).*/\1/p')
  if [ -e /run/udev/data ]; then link=$(udevadm info -q property "$n")
  else link=$(udevadm test-builtin net_setup_link "$n" 2>/dev/null); fi 2>/dev/null
  link=$(echo "$link" | sed -n 's/^ID_NET_LINK_FILE=//p')
  echo "card=$i|${mac:-$(cat "$n/address")}|$kind|$link|$(manager "$i" "$(cat "$n/ifindex")")"
  for l in "$n"/lower_*; do [ -e "$l" ] && echo "below=$i ${l##*/lower_}"; done
done
# shellcheck disable=SC2086 # words
wol $names
for v in -4 -6; do ip $v -o route show default 2>/dev/null |
  sed -n 's/.* dev \([^ ]*\).*/route=\1/p'; done
ip -o -4 address show scope global 2>/dev/null |
  sed -n 's|^[0-9]*: *\([^ ]*\) *inet \([0-9.]*/[0-9]*\) .*|ipv4=\1 \2|p'
for f in /etc/systemd/network/*.link.d/50-deeprig-wake-on-lan.conf; do
  [ -e "$f" ] && echo "armed_by=$f"; done
command -v NetworkManager >/dev/null && echo network_manager=yes
[ -e /etc/tlp.conf ] && echo tlp=yes
true
