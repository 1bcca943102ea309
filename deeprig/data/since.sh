# What happened on the box since the last run, and who did it: files that are newer than its record
# MANIFEST, what apt was told, what was done by sudo. Run as root; it only reads.
[ -e "$MANIFEST" ] || exit 0
last=$(stat -c %Y "$MANIFEST")
echo "last=$last"
find /etc /usr/local -xdev -newer "$MANIFEST" -type f -printf 'file=%Ts %p\n' 2> /dev/null | head -n 500
zcat -f /var/log/apt/history.log* 2> /dev/null | awk -v "last=$(date -d "@$last" '+%F %T')" '
    /^Start-Date: / { when = $2 " " $3; by = who = "" }
    /^Commandline: / { by = substr($0, 14) }
    /^Requested-By: / { who = $2 }
    /^(Install|Upgrade|Downgrade|Remove|Purge): / && when > last { print "apt=" when "|" who "|" by "|" $0 }'
# Who had root run what. The journal, or where it does not have it, the log beside it.
said=$(journalctl -q --no-pager -o short-unix --since "@$last" SYSLOG_IDENTIFIER=sudo 2> /dev/null |
    sed -nE 's/^([0-9]+)[.0-9]* [^ ]+ sudo[^:]*: +([^ ]+) : .*COMMAND=(.*)$/sudo=\1|\2|\3/p')
[ -n "$said" ] || said=$(zcat -f /var/log/auth.log* 2> /dev/null |
    sed -nE 's/^([^ ]*T[^ ]*) [^ ]+ sudo[^:]*: +([^ ]+) : .*COMMAND=(.*)$/\1|\2|\3/p' |
    while IFS='|' read -r when who what; do
        when=$(date -d "$when" +%s) && [ "$when" -gt "$last" ] && echo "sudo=$when|$who|$what"
    done)
printf '%s\n' "$said" | grep -v "^sudo=[0-9]*|$DEPLOY_USER|" | tail -n 200
true
