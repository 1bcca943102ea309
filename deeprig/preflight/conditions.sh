# What a run would meet: room, clock, apt's lock, where apt fetches from. Run as root; it only reads.
# Each line is `key=value`; a key may come more than once. PROXY and INDEX are the settings', without a password.
for place in / /boot; do
    [ "$place" = / ] || mountpoint -q "$place" || continue
    echo "room=$place $(df -B1 --output=avail "$place" | tail -n 1 | tr -d ' ')"
done
echo "now=$(date +%s)"
for lock in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock; do
    # Of root's: others cannot open these, but may name a file of theirs so.
    lslocks -nro PID,COMMAND,PATH 2> /dev/null | while read -r pid command path; do
        # shellcheck disable=SC3067 # dash and bash have it
        [ "$path" = "$lock" ] && [ -O "/proc/$pid" ] && echo "holder=$pid $command"
    done
done | sort -u
proxy=${PROXY:-$(apt-config shell P Acquire::http::Proxy 2> /dev/null | cut -d"'" -f2)}
sites=$(apt-get -q update --print-uris 2> /dev/null | sed -nE "s|^'(https?://[^/']*).*|\1|p" | sort -u)
# By bash alone: a fresh box may have neither curl nor wget.
for site in ${proxy:-$sites} $INDEX; do
    address=${site#*://}
    address=${address%%/*}
    address=${address##*@} # a name and password are nobody's business
    case $address in *:*) port=${address##*:} ;; *) case $site in https*) port=443 ;; *) port=80 ;; esac ;; esac
    timeout "$SECONDS_EACH" bash -c ": < /dev/tcp/${address%:*}/$port" 2> /dev/null ||
        echo "unreachable=${site%%://*}://$address"
done
true
