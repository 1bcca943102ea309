# Makes the user that deploys. Run as root by `deeprig bootstrap`, which sets FIRST_USER and KEY
# above; prints one `changed: ...` line for each thing it had to do. All of it is read before any
# of it runs, so that a link which breaks while it is sent does nothing.
set -eu
umask 022
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RULE=/etc/sudoers.d/50-deeprig

install_sudo() {
    command -v visudo >/dev/null && return
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
    bring_sudo || {
        # A source that fails is anybody's: it stops nothing that others have.
        wrong=$(LC_ALL=C apt-get -q update 2>&1 </dev/null |
            sed -nE 's/^(E|W): (.*(Failed to fetch|GPG error|The repository|list).*)/\2/p' | head -n 1)
        bring_sudo || {
            echo "apt does not bring sudo${wrong:+, and cannot read a source: $wrong}; see to" \
                "\`apt install sudo\` there, then run this again." >&2
            exit 1
        }
    }
    echo "changed: package sudo"
}

bring_sudo() {
    apt-get -q -y install --no-install-recommends sudo </dev/null >&2
}

make_user() {
    if ! id deeprig >/dev/null 2>&1; then
        useradd --system --create-home --home-dir /home/deeprig --shell /bin/bash --password '*' deeprig
        echo "changed: user deeprig"
    elif [ "$(id -u deeprig)" -ge 1000 ]; then
        echo "a user named deeprig is there who is a person; rename that user first." >&2
        exit 1
    elif ! passwd -S deeprig | grep -q '^deeprig L'; then
        usermod --password '*' deeprig
        echo "changed: password of deeprig locked"
    fi
}

# By people.sh, as the user whose file it is.
add_key() {
    id "$1" >/dev/null 2>&1 || return 0 # who made first contact may be gone by now
    home=$(home_of "$1")
    [ -z "$(as_user 30 "$1" sh -c "$KEYS" sh has "$home" "$KEY" 2>/dev/null)" ] || return 0
    as_user 30 "$1" sh -c "$KEYS" sh add "$home" "$KEY"
    echo "changed: key of $1"
}

allow_sudo() {
    plain='deeprig ALL=(ALL:ALL) NOPASSWD: ALL'
    lasting="Defaults:deeprig !requiretty
$plain"
    now=$(cat $RULE 2>/dev/null || true)
    if { [ "$now" != "$plain" ] && [ "$now" != "$lasting" ]; } ||
        [ "$(stat -c %a:%U:%G $RULE)" != 440:root:root ]; then
        write_rule "$plain"
    fi
    # A deploy has no terminal. Only where sudo asks for one, for not each sudo knows the setting.
    if as_user 30 deeprig env LC_ALL=C sudo -n true 2>&1 | grep -q 'must have a tty'; then
        write_rule "$lasting"
    fi
}

write_rule() {
    new=$(mktemp /etc/sudoers.d/.50-deeprig.XXXXXX) # sudo reads no file with a dot in its name
    trap 'rm -f "$new"' EXIT
    echo "$1" >"$new"
    chmod 440 "$new"
    visudo -cf "$new" >/dev/null
    mv -fT "$new" $RULE
    echo "changed: sudo of deeprig"
}

all() {
    install_sudo
    make_user
    add_key deeprig
    add_key "$FIRST_USER"
    allow_sudo
    sync # a power cut in the next half minute would leave the key's file empty, and nobody gets in
}
all
