# What a reinstall would erase: FOLDER and the homes, where they share a disk with the system. Run as
# root; it only reads, and gives up on counting after SECONDS_EACH.
disks() {
    lsblk -snro NAME,TYPE "$(findmnt -nvo SOURCE -T "$1")" 2> /dev/null | sed -n 's/ disk$//p'
}

for place in "$FOLDER" /home; do
    [ -d "$place" ] || continue
    shared=$({ disks /; disks "$place"; } | sort | uniq -d)
    if [ "$(stat -c %d "$place")" != "$(stat -c %d /)" ] && [ -z "$shared" ]; then
        echo "kept=$place"
        continue
    fi
    echo "erased=$place"
    # Names are their owners': a line's end in one makes no line here.
    timeout "$SECONDS_EACH" du -x0B1 --max-depth=2 "$place" 2> /dev/null | tr '\n\0' '?\n' |
        sed -n 's/^\([0-9]*\)\t/size=\1 /p'
done
true
