# Sends magic packets from this host: sh -s MAC BROADCAST PORT COUNT
# By whatever is there; etherwake is for routers that have neither Python nor Perl.
# shellcheck disable=SC2329 # each is called by the name of its tool
packets_by_python() { python3 -IBc '
import socket, sys, time
mac, host, port, count = sys.argv[1:]
packet = b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) * 16
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for _ in range(int(count)):
    out.sendto(packet, (host, int(port)))
    time.sleep(0.2)
' "$@"; }
# shellcheck disable=SC2329
packets_by_perl() { perl -e '
use Socket;
my ($mac, $host, $port, $count) = @ARGV;
$mac =~ s/://g;
my $packet = chr(255) x 6 . pack("H12", $mac) x 16;
socket(OUT, PF_INET, SOCK_DGRAM, 17) or die "$!\n";
setsockopt(OUT, SOL_SOCKET, SO_BROADCAST, 1) or die "$!\n";
for (1 .. $count) {
    send(OUT, $packet, 0, sockaddr_in($port, inet_aton($host))) or die "$!\n";
    select(undef, undef, undef, 0.2);
}' "$@"; }
# shellcheck disable=SC2329
packets_by_etherwake() {
  card=$(ip route get "$2" | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1)
  for _ in $(seq "$4"); do etherwake -b -i "$card" "$1" || return; sleep 1; done
}
tried=
for tool in python3 perl etherwake; do
  command -v $tool >/dev/null 2>&1 || continue
  tried=yes
  packets_by_${tool%3} "$@" >&2 && { echo "sent by $tool"; exit 0; }
done
[ -n "$tried" ] || echo "it has no python3, perl or etherwake to send a packet with" >&2
exit 1
