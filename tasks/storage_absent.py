"""What storage leaves on a box; the disks and all that is on them stay as they are."""

from deeprig import catalog
from deeprig.facts import people
from deeprig.operations.footprint import Footprint
from deeprig.ssh import as_user
from tasks import sessions, storage

SWAP_FILE = "/swap.deeprig"
# A link into the data folder becomes the folder itself where both are on one disk. Both are the
# user's, and it is done as the user.
LINKS = f"""\
{people.functions()}
for owner in $(everyone); do
    as_user 60 "$owner" sh -c '
        cd "$1" || exit
        for link in notebooks runs; do
            to=$(readlink "$link") || continue
            case $to in */notebooks | */runs) ;; *) continue ;; esac
            [ -d "$to" ] && [ -O "$to" ] || continue
            rm "$link"
            [ "$(stat -c %d "$to")" != "$(stat -c %d .)" ] || mv -T "$to" "$link"
        done' sh "$(home_of "$owner")" || true
done"""
# Each mountpoint of ours has its line in fstab behind one that says so.
OURS = "/^# The next line is deeprig's/"
UNMOUNT = f"""\
for at in $(sed -n "{OURS}{{n;p}}" /etc/fstab | awk '{{print $2}}'); do
    ! mountpoint -q "$at" || umount "$at"
    chattr -i "$at"
    rmdir --ignore-fail-on-non-empty "$at"
done
sed -i "{OURS},+1d" /etc/fstab"""
FOOTPRINT = Footprint(
    files=(
        sessions.SSHD,
        sessions.PROFILE,
        sessions.GENERATOR,
        f"/etc/systemd/system/{storage.SWAP_UNIT}",
        f"/etc/systemd/system/{storage.ARRAY_TIMER}",
        f"/etc/systemd/system/{storage.ARRAY_TIMER.replace('timer', 'service')}",
        storage.SWAPPINESS,
        SWAP_FILE,
    ),
    units=(storage.SWAP_UNIT, storage.ARRAY_TIMER),
    packages=(*catalog.load("packages")["disks"], *catalog.load("packages")["arrays"]),
    before=(LINKS, UNMOUNT),
    after=(
        as_user.of_each_manager("daemon-reload"),
        "sshd -t && systemctl reload ssh",
    ),
    residue_check='grep "^# The next line is deeprig\'s" /etc/fstab',
    notice=(
        "all data stays where it is; disks are no longer mounted, what lay on the system disk is "
        "linked no more but in the home itself, and a volume that has grown stays large"
    ),
)
