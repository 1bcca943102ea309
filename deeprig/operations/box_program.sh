#!/bin/sh
# The box's program: stands NAME | put NAME (its archive on stdin, in base64) | left | tidy
#
# It is a folder that nothing changes, named by what is in it and by the Python that it was compiled
# for; `current` leads to the one in use. So a power cut leaves the old program or the new one, whole.
export LC_ALL=C # what is parsed here is in English
set -eu
umask 022
top=/usr/local/lib/deeprig
python=$(readlink -m /usr/bin/python3)
name=${2-}-${python##*/}
loose="( ! -user $(id -u) -o -perm /022 )" # a link too: its mode is 777

# What `current` leads to, where that is a folder beside it.
leads() {
    to=$(readlink $top/current) || return
    case $to in */* | .*) return 1 ;; esac
}

# Nobody but root may change it, or anything in it.
ours() { # FOLDER
    # shellcheck disable=SC2086 # words of find's
    [ -z "$(find $top/ -prune $loose -print; find "$1/" $loose -print -quit)" ]
}

compile() { # FOLDER
    # By what is in a file, not by its time; a traceback names where it will lie.
    python3 -I -m compileall -q --invalidation-mode unchecked-hash -s "$1" -p "$top/$name" \
        "$1/deeprig_box" > /dev/null 2>&1 || true # without Python, or with one too old: not yet
}

# Python 3.11 for one takes for whole what the disk had no room for, and would trust it for ever.
fits() { # FOLDER
    head -c 262144 /dev/zero > "$1/.room" && rm "$1/.room" || return
    [ ! -d "$1/deeprig_box/__pycache__" ] || python3 -I -c "import marshal, pathlib, sys
for file in pathlib.Path(sys.argv[1]).rglob('*.pyc'): marshal.loads(file.read_bytes()[16:])" "$1"
}

keep_times() { # DRAFT, OLD
    for file in "$1"/bin/*; do
        old=$2/bin/${file##*/}
        ! cmp -s "$file" "$old" || touch -r "$old" "$file"
    done
}

make() { # DRAFT, from stdin
    chmod 755 "$1"
    base64 -d | tar -C "$1" --no-same-owner -xzm
    # What is as it was keeps its time: by that an initramfs is known to be older or newer.
    if leads && [ -d "$top/$to" ] && ours "$top/$to"; then keep_times "$1" "$top/$to"; fi
    compile "$1"
    fits "$1" 2> /dev/null || {
        echo "$top has no room for the program; \`df -h $top\` says how full its disk is" >&2
        exit 1
    }
    chmod -R go-w "$1" # what an ACL of the folders above gave
    find "$1" -exec sync {} +
}

# What a folder is named by: each file's mode and content. Root runs it: all of it is root's alone.
whole() { # FOLDER
    ours "$1" || return
    found=$(cd "$1" && {
        find . -name __pycache__ -prune -o -type f -printf '%m %p\n' | sort -k 2
        find . -name __pycache__ -prune -o -type f -print | sort | xargs -d '\n' sha256sum
    } | sha256sum | head -c 16)
    [ "$found" = "${name%%-*}" ]
}

# By a file that root alone can open: whoever may open one to read it could lock it.
alone() {
    # shellcheck disable=SC2086 # words of find's; a link there leads elsewhere
    find $top/ -mindepth 1 -maxdepth 1 -name .lock $loose -exec rm -rf {} +
    (umask 077 && : >> $top/.lock)
    exec 9< $top/.lock
    flock 9
}

put() {
    mkdir -p $top
    chown "$(id -u)" $top/ && chmod go-w $top/
    alone
    # Somebody changed it, or has put something else there: what is right goes beside it.
    if [ -L "$top/$name" ] || [ -e "$top/$name" ]; then
        [ ! -L "$top/$name" ] && [ -d "$top/$name" ] && whole "$top/$name" || name=$name.$$
    fi
    if [ ! -d "$top/$name" ]; then
        draft=$(mktemp -d $top/.new.XXXXXX)
        trap 'rm -rf "$draft"' EXIT
        make "$draft"
        mv -T "$draft" "$top/$name"
        sync $top
    fi
    # A copy in its place, as backups make that follow links: as a draft it goes when it is not in use.
    [ -L $top/current ] || [ ! -d $top/current ] || mv -T $top/current "$(mktemp -d $top/.new.XXXXXX)"
    rm -rf $top/.current
    ln -s "$name" $top/.current
    mv -fT $top/.current $top/current
    sync $top
}

in_use() { # FOLDER: a process has it or a file in it open (deeprig-box does as long as it runs)
    # The list of all processes may be too long for one command.
    printf '%s\0' /proc/[0-9]*/fd | xargs -0 ls -l 2> /dev/null | sed 's:$:/:' |
        grep -qF -- " -> $1/"
}

# Folders that nobody uses any more. Their names may be anybody's: no list of words is made of them.
left() { # COMMAND, for each
    for folder in "$top"/*-python3* "$top"/.new.*; do
        [ -d "$folder" ] && [ "${folder##*/}" != "$(readlink $top/current)" ] || continue
        in_use "$folder" || "$@" "$folder"
    done
}

case $1 in
stands)
    leads || exit 0
    case $to in "$name" | "$name".*) ;; *) exit 0 ;; esac
    ! whole $top/current || echo yes
    ;;
put) put ;;
left) left printf '%s\n' ;;
tidy)
    alone
    left rm -rf
    ;;
esac
