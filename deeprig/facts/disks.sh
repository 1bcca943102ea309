# Part of the survey, run as root; it only reads. FOLDER, SERIALS and PLACES are of the settings:
# the data folder, the disks' serial numbers and mountpoints.
f=$FOLDER
while [ -n "$f" ] && [ ! -e "$f" ]; do f=${f%/*}; done
[ "$(stat -c %d "${f:-/}")" = "$(stat -c %d /home)" ] || echo apart=yes
for p in $FOLDER $PLACES; do
    at=$(loose "${p%/*}/")
    [ -z "$at" ] || echo "loose=$p|$at"
done
{ [ -n "$contained" ] || systemd-detect-virt -q; } && echo virtual=yes
# A container sees its host's disks, which are not its own.
[ -n "$contained" ] || {
    # --tree: without a column NAME it would list partitions beside their disks, not in them.
    echo "disks=$(lsblk --tree -J -b -o \
        PATH,TYPE,TRAN,SIZE,SERIAL,FSTYPE,UUID,PTTYPE,PARTLABEL,MOUNTPOINTS | tr -d '\n')"
    for s in $SERIALS; do
        for d in $(lsblk -dnro PATH,SERIAL | sed -n "s/ $s\$//p"); do
            [ -z "$(head -c 1048576 "$d" | tr -d '\000' | head -c 1 | od -An -tx1)" ] ||
                echo "written=$d"
        done
    done
    sed -nE 's/^[ \t]*([^# \t]+)[ \t]+([^ \t]+)[ \t]+[^ \t]+[ \t]+([^ \t]+).*/fstab=\1 \2 \3/p' \
        /etc/fstab
    for p in $PLACES; do
        [ -e "$p" ] && ! mountpoint -q "$p" && [ -n "$(ls -A "$p")" ] && echo "occupied=$p"
    done
    root=$(findmnt -nvo SOURCE /)
    echo "root=$root"
    echo "root_type=$(findmnt -nvo FSTYPE /)"
    echo "root_volume=$(lvs --noheadings -o lv_path "$root" 2>/dev/null | tr -d ' ')"
    echo "room=$(df -B1 --output=avail / | tail -n 1)"
    echo "swap_file=$(stat -c %s /swap.deeprig 2>/dev/null)"
}
