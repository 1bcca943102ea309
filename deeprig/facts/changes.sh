# What happened on the box since the last run, and who did it: files that are newer than its record
# MANIFEST, what apt was told, what was done by sudo. Run as root; it only reads.
[ -e "$MANIFEST" ] || exit 0
last=$(stat -c %Y "$MANIFEST")
echo "last=$last"
find /etc /usr/local -xdev -newer "$MANIFEST" -type f -printf 'file=%Ts %p\0' 2> /dev/null |
    tr '\n\0' '?\n' | head -n 500
zcat -f /var/log/apt/history.log* 2> /dev/null | awk -v "last=$(date -d "@$last" '+%F %T')" '
    /^Start-Date: / { when = $2 " " $3; by = who = "" }
    /^Commandline: / { by = substr($0, 14) }
    /^Requested-By: / { who = $2 }
    /^(Install|Upgrade|Downgrade|Remove|Purge): / && when > last { print "apt=" when "|" who "|" by "|" $0 }'
# Who had root run what: by fields that the journal itself fills in, for any user may write a line
# that says it is sudo's, and any text file of a syslog has no such fields. Ubuntu's sudo is sudo-rs.
# What sudo refused has its reason before TTY= or PWD=.
journalctl -q --no-pager -o json --output-fields=_UID,MESSAGE --since "@$last" \
    SYSLOG_IDENTIFIER=sudo _EXE=/usr/bin/sudo _EXE=/usr/bin/sudo.ws _EXE=/usr/bin/sudo-rs \
    _EXE=/usr/lib/cargo/bin/sudo 2> /dev/null | python3 -I -c '
import json, pwd, re, sys
for line in sys.stdin:
    said = json.loads(line)
    ran = re.fullmatch(r" *\S+ : (?:TTY|PWD)=.*COMMAND=(.*)", str(said.get("MESSAGE")))
    try:
        who = pwd.getpwuid(int(said["_UID"])).pw_name
    except KeyError:
        continue
    if ran and who != sys.argv[1]:
        print("sudo=%d|%s|%s" % (int(said["__REALTIME_TIMESTAMP"]) / 1e6, who, ran[1]))
' "$DEPLOY_USER" | tail -n 200
true
