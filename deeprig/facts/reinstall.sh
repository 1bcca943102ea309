# What a reinstall would erase, of FOLDER, the homes and PLACES: those that share a disk with the
# system. Run as root; it only reads. FOLDER and /home are given up on after SECONDS_EACH, all others
# together after as long again. A place within another is counted once, in the one that comes first.
disks() {
    lsblk -snro NAME,TYPE "$(findmnt -nvo SOURCE -T "$1")" 2> /dev/null | sed -n 's/ disk$//p'
}

# Where people have their homes, if not in /home; then what is in /opt and no package's, nor ours.
homes() {
    getent passwd | awk -F: '$3 >= 1000 && $3 < 65534 && $6 ~ "^/." { print $6 }' | sort -u | head -n 20
}
brought() {
    for own in /opt/*/; do
        own=${own%/}
        [ "$own" = /opt/deeprig ] || dpkg -S "$own" > /dev/null 2>&1 || echo "$own"
    done | head -n 20
}

counted=
is_counted() { # whether it lies in, or is, one that has been counted
    for other in $counted; do
        case $1/ in "$other"/*) return 0 ;; esac
    done
    return 1
}

count() { # $1, which is $place, for at most $2 seconds
    shared=$({ disks /; disks "$1"; } | sort | uniq -d)
    if [ "$(stat -c %d "$1")" != "$(stat -c %d /)" ] && [ -z "$shared" ]; then
        echo "kept=$1"
        return
    fi
    echo "erased=$1"
    # Names are their owners': a line's end in one makes no line here.
    seconds=$2
    for other in $counted; do set -- "$@" "--exclude=$other"; done
    shift 2
    # What people have in it may be of any number: told is what is asked for.
    timeout "$seconds" du -x0B1 --max-depth=2 "$@" "$place" 2> /dev/null | tr '\n\0' '?\n' |
        place=$place awk '
            { at = index($0, "\t"); size = substr($0, 1, at - 1); path = substr($0, at + 1) }
            path == ENVIRON["place"] { print "size=" size " " path; next }
            index(path, ENVIRON["place"] "/") != 1 { next }
            { within = substr(path, length(ENVIRON["place"]) + 2) }
            within ~ /^([^\/]*\/(notebooks|runs|cache)|volumes)$/ && parts++ < 200 {
                print "size=" size " " path }'
}

for place in "$FOLDER" /home; do
    [ -d "$place" ] || continue
    count "$place" "$SECONDS_EACH"
    counted="$counted $place"
done
end=$(($(date +%s) + SECONDS_EACH))
for place in $(homes) /root $PLACES $(brought); do
    place=$(timeout -s KILL 5 realpath -e "$place" 2> /dev/null) && [ -d "$place" ] && [ "$place" != / ] || continue
    case $place in *[!A-Za-z0-9/._+@-]*) continue ;; esac # nobody's usual name
    ! is_counted "$place" || continue
    left=$((end - $(date +%s)))
    count "$place" $((left > 0 ? left : 1))
    counted="$counted $place"
done
true
