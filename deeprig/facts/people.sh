# How the homes of people stand, and the keys in them; what others than root can change.
# The survey asks it, and tasks/users.py.
# Who may have a home here, a name in each line: those that the box knows, those who have a folder in
# /home, and whose notebooks are or were served. Homes are wherever their accounts say.
everyone() {
  {
    getent passwd | awk -F: '$3 >= 1000 && $3 < 65534 { print $1 }'
    stat -c %U /home/* 2>/dev/null
    sed -n 's/^user=//p' /etc/deeprig/notebook.conf 2>/dev/null
  } | sort -u | while read -r user; do
    case $user in root | UNKNOWN) ;; *) ! id "$user" >/dev/null 2>&1 || echo "$user" ;; esac
  done
}

home_of() { getent passwd "$1" | cut -d: -f6; }

# The shell that user $1 has chosen; nothing where it lets nobody work, as nologin does.
shell_of() {
  shell=$(getent passwd "$1" | cut -d: -f7)
  case $shell in */nologin | */false | */true) return ;; esac
  [ ! -x "$shell" ] || echo "$shell"
}

# The folder at or above $1 that others than root can change; nothing where there is none.
loose() {
  at=$1
  while [ ! -d "$at" ]; do at=$(dirname "$at"); done
  at=$(realpath "$at")
  while :; do
    case $(stat -c %u:%A "$at") in 0:?????-??-*) ;; *) echo "$at"; return ;; esac
    [ "$at" != / ] || return 0
    at=$(dirname "$at")
  done
}

# ok, or what stands at the home of user $1 instead: absent, link, file, closed or others.
home_is() {
  home=$(home_of "$1")
  if [ -L "$home" ]; then echo link
  elif [ ! -e "$home" ]; then
    # What its user mounts by FUSE is closed to root.
    case $(LC_ALL=C stat "$home" 2>&1) in *'No such file'*) echo absent ;; *) echo closed ;; esac
  elif [ ! -d "$home" ]; then echo file
  elif [ "$(stat -c %u "$home")" != "$(id -u "$1")" ]; then echo others
  else echo ok; fi
}

# An account named $1. A folder of theirs from before, one of the others or where new homes are made,
# bears the number that it is to have, if nobody has that. Who is new gets a number that no folder
# beside those bears: useradd takes the one after the highest, which was somebody's who is gone, and
# their home, programs with their rights and jobs of atd's would be the new account's.
make_account() {
  user=$1; shift
  set -- "$@" "$(useradd -D | sed -n 's/^HOME=//p')/$user"
  for place in "$@"; do
    number=$(stat -c %u "$place" 2>/dev/null) || continue
    if ! is_a_persons "$number" || getent passwd "$number" >/dev/null; then continue; fi
    useradd --create-home --shell /bin/bash --uid "$number" "$user"
    return
  done
  borne=$(for place; do stat -c %u "${place%/*}"/* 2>/dev/null || true; done | sort -u)
  number=$(getent passwd | cut -d: -f3 | while read -r each; do
    ! is_a_persons "$each" || echo "$each"; done | sort -n | tail -n 1)
  number=$((${number:-999} + 1)) own=
  for each in $borne; do
    ! is_a_persons "$each" || getent passwd "$each" >/dev/null || own=yes
  done
  while echo "$borne" | grep -qx "$number" || getent passwd "$number" >/dev/null; do
    number=$((number + 1))
  done
  useradd --create-home --shell /bin/bash ${own:+--uid "$number"} "$user"
}

is_a_persons() {
  case $1 in [1-9][0-9][0-9][0-9] | [1-5][0-9][0-9][0-9][0-9]) ;; *) return 1 ;; esac
}

# A home for $1 where there is none. It is root's and closed until all is in it, and has its name
# last: nobody can be in there while root copies, as long as what is above it is root's too.
make_home() {
  is=$(home_is "$1") home=$(home_of "$1")
  [ "$is" = absent ] || { echo "In the way of a home at $home: $is; deploy again." >&2; return 1; }
  over=$(realpath "$(dirname "$home")") && at=$(loose "$over")
  [ -z "$at" ] || {
    echo "$at can be changed by others than root, so no home is made in it." >&2; return 1; }
  draft="$over/.deeprig-home"
  rm -rf "$draft" && mkdir -m 700 "$draft" && cp -r /etc/skel/. "$draft" &&
    chown -hR "$1:" "$draft" && mv -T "$draft" "$over/${home##*/}"
}

# What sshd says for user $1; nothing where it says nothing.
sshd_of() {
  timeout 20 sshd -T -C "user=$1,host=,addr=127.0.0.1,laddr=127.0.0.1,lport=22" 2>/dev/null
}

# The words of keyword $3 in what sshd says, $2, for user $1: each on a line.
words_of() {
  plain=$(home_of "$1" | sed 's/[&|\\]/\\&/g')
  echo "$2" | sed -n "s/^$3 //p" | tr ' ' '\n' |
    sed "s|%u|$1|g; s|%h|$plain|g; s|%U|$(id -u "$1" 2>/dev/null)|g; s|%%|%|g"
}

# The files in which sshd looks for keys of user $1; $2 is what it says.
files_of() {
  words_of "$1" "$2" authorizedkeysfile | while read -r file; do
    case $file in none) ;; /*) echo "$file" ;; *) echo "$(home_of "$1")/$file" ;; esac
  done
}

# Whether ~/.ssh/authorized_keys is one of them; it is where sshd says nothing.
reads_usual() {
  [ -z "$2" ] || files_of "$1" "$2" | grep -qxF "$(home_of "$1")/.ssh/authorized_keys"
}

# Whether others than root can change the program $1: sshd starts no such AuthorizedKeysCommand.
unsafe() {
  program=$(realpath -e "$1" 2>/dev/null) || return 0
  case $(stat -c %u:%A "$program") in 0:-????-??-*) ;; *) return 0 ;; esac
  [ -n "$(loose "$(dirname "$program")")" ]
}

# Prints key where sshd finds one for user $1 in another place, asked as sshd asks: a file as that
# user, the command as the one who is named for it.
keys_elsewhere() {
  some='^[^#]*(ssh|ecdsa)-'
  files_of "$1" "$2" | grep -vxF "$(home_of "$1")/.ssh/authorized_keys" | while read -r file; do
    as_user 30 "$1" head -c 1048576 "$file" 2>/dev/null | grep -qE "$some" && echo key
  done | grep -m 1 key || {
    by=$(words_of "$1" "$2" authorizedkeyscommanduser)
    set -- "$1" "$(words_of "$1" "$2" authorizedkeyscommand)"
    case $2 in /*) ;; *) return 0 ;; esac
    user=$1
    set -f
    # shellcheck disable=SC2086 # sshd, too, takes words at blanks
    set -- $2
    set +f
    ! unsafe "$1" || return 0
    [ $# -gt 1 ] || set -- "$1" "$user"
    as_user 30 "$by" "$@" 2>/dev/null | grep -m 1 -qE "$some" && echo key
  } || true
}

# Run as the user whose they are, with a time limit: what they lead to may never answer.
# `look HOME` prints key, none, or what stands in the way: a word of deeprig/facts/people.py.
# `has HOME KEY...` prints so where all of them are there. `add HOME KEY...` adds what is missing.
# shellcheck disable=SC2016,SC2034 # for the shell of that user; used by what this is put before
KEYS='
most=1048576 verb=$1
kind() {
  if [ ! -e "$1" ]; then echo nowhere
  elif [ -p "$1" ]; then echo fifo
  elif [ -S "$1" ]; then echo socket
  elif [ -d "$1" ]; then echo folder
  elif [ -b "$1" ] || [ -c "$1" ]; then echo device
  elif [ -f "$1" ]; then echo file
  else echo something; fi
}
wrong() { # nothing where a file of keys is there, or there could be one
  cd "$1" 2>/dev/null || { echo home-closed; return; }
  case ,$(findmnt -nro OPTIONS -T . 2>/dev/null), in *,ro,*) echo home-read-only; return ;; esac
  [ -e .ssh ] || [ -L .ssh ] || return 0
  is=$(kind .ssh); [ $is = folder ] || { echo "folder-$is"; return; }
  [ -O .ssh ] && [ -x .ssh ] || { echo folder-others; return; }
  f=.ssh/authorized_keys
  [ -e $f ] || [ -L $f ] || return 0
  is=$(kind $f); [ $is = file ] || { echo "file-$is"; return; }
  [ -O $f ] && [ -r $f ] && [ -w $f ] || { echo file-others; return; }
  [ "$(stat -Lc %s $f)" -le $most ] || echo file-large
}
text() { head -c $most .ssh/authorized_keys 2>/dev/null; }
is_in() { # the key of line $1, whatever options and comment it has there
  set -f; set -- $1; set +f
  text | grep -v "^[[:space:]]*#" | grep -qF -- "$1 $2"
}
there=$(wrong "$2")
[ -z "$there" ] || {
  [ $verb = look ] && echo "$there" || echo "In the way of keys: $there; deploy again." >&2
  [ $verb = look ]; exit; }
cd "$2" || exit
case $verb in
look) text | grep -qE "^[^#]*(ssh|ecdsa)-" && echo key || echo none ;;
has) shift 2; for key; do is_in "$key" || exit; done; echo so ;;
add)
  shift 2; umask 077; mkdir -p .ssh
  for key; do
    ! is_in "$key" || continue
    [ -z "$(text | tail -c 1)" ] || echo >>.ssh/authorized_keys || exit
    printf "%s\n" "$key" >>.ssh/authorized_keys || exit
  done
  sync .ssh/authorized_keys .ssh ;; # or a power cut soon after leaves it empty
esac'
