# Puts kept SSH host keys back. `deeprig bootstrap --reinstalled` runs it as root, from /run.
#   put      try the keys of the tar archive (base64) on stdin; prints `changed` where they differ
#            from those that are there. Without a `confirm` those come back after two minutes.
#   confirm  somebody came in who saw the kept keys: they stay
#   undo     the keys that were there before are back
set -eu
umask 077
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
state=/run/deeprig-host-keys
alarm=deeprig-host-keys

swap_in() { # all keys of folder $1, each file in one step
    for file in "$1"/ssh_host_*; do
        new=$(mktemp /etc/ssh/.deeprig.XXXXXX)
        cat "$file" >"$new"
        case $file in *.pub) chmod 644 "$new" ;; esac
        mv -fT "$new" "/etc/ssh/${file##*/}"
    done
    sync
}

use() { # sshd has the keys that are there now
    mkdir -p /run/sshd
    sshd -t
    systemctl reset-failed ssh.service 2>/dev/null || true
    systemctl try-restart ssh.service # where systemd holds the socket, the next login starts it
}

differ() {
    for file in "$state"/kept/ssh_host_*; do
        cmp -s "$file" "/etc/ssh/${file##*/}" || return 0
    done
    return 1
}

put() {
    mkdir -p $state/kept $state/before
    base64 -d | tar -C $state/kept --no-same-owner -xf -
    for key in "$state"/kept/ssh_host_*_key; do
        chmod 600 "$key"
        ssh-keygen -yf "$key" </dev/null >/dev/null
        [ -e "$key.pub" ] || ssh-keygen -yf "$key" >"$key.pub"
    done
    differ || { rm -rf $state; return; }
    cp /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub $state/before
    systemd-run --quiet --collect --unit=$alarm --on-active=120 sh $state/script undo
    trap '[ $? = 0 ] || sh $state/script undo' EXIT
    swap_in $state/kept
    use
    echo changed
}

case "$1" in
put) put ;;
confirm)
    systemctl stop $alarm.timer
    rm -rf $state
    ;;
undo)
    systemctl stop $alarm.timer 2>/dev/null || true
    [ -d $state/before ] || exit 0
    swap_in $state/before
    rm -rf $state # before sshd: it is not to stay if that has a broken file of another's
    use
    ;;
esac
