# Which deploy is at work here. It is known by sshd's process for its login, which ends with it.
lock=/run/deeprig-deploy patience=15

login() {
  pid=$$
  while [ "$pid" -gt 1 ]; do
    case $(cat "/proc/$pid/comm" 2>/dev/null) in sshd*) break ;; esac
    pid=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status" 2>/dev/null)
    pid=${pid:-1}
  done
  echo "$pid"
}

began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# An end of a connection as ss takes it, from the kernel's table: bytes of a word are turned there.
end_of() {
  address=${1%:*} port=$(printf %d "0x${1#*:}")
  words=$(echo "$address" | sed 's/\(..\)\(..\)\(..\)\(..\)/\4\3\2\1/g')
  case $address in
  ????????) # shellcheck disable=SC2046,SC2183 # four numbers
    printf '%d.%d.%d.%d:%d' $(echo "$words" | sed 's/../0x& /g') "$port" ;;
  *) printf '[%s]:%d' "$(echo "$words" | sed 's/..../&:/g; s/:$//')" "$port" ;;
  esac
}

# How many packets came in by this login. A deploy's computer sends one every few seconds, so that
# the number grows as long as it is there; a laptop that sleeps or has no network sends none.
# ss would show whose a connection is, too, but among words that anybody can choose.
heard() {
  for fd in "/proc/$1/fd/"*; do readlink "$fd"; done | sed -n 's/^socket:\[\([0-9]*\)\]$/\1/p' |
    while read -r inode; do
      awk -v inode="$inode" '$10 == inode { print $2, $3 }' "/proc/$1/net/tcp" "/proc/$1/net/tcp6"
    done | while read -r here there; do
    ss -Htni src "$(end_of "$here")" dst "$(end_of "$there")" | grep -o 'segs_in:[0-9]*'
  done
}

is_there() {
  first=$(heard "$1")
  for _ in $(seq "$patience"); do
    sleep 1
    [ "$(heard "$1")" = "$first" ] && [ -n "$first" ] || return 0
  done
  return 1
}

# The process of the login that has taken the box, if that is another one and has not ended.
taken() {
  [ -r $lock ] && read -r pid since <$lock || return 0
  [ "$pid" = "$(login)" ] || [ "$(began "$pid")" != "$since" ] || echo "$pid"
}

# The process and the seconds of another deploy that is at work; nothing where there is none.
other() {
  pid=$(taken)
  [ -z "$pid" ] || ! is_there "$pid" || echo "$pid" "$(ps -o etimes= -p "$pid" | tr -d ' ')"
}

# The same; and where there is none, `taken`: this login's is it from now on. One that came by no
# sshd has nothing that ends with it, and takes nothing.
take() {
  {
    flock 9
    found=$(other) me=$(login) gone=$(taken)
    if [ "$found" ]; then echo "$found"
    elif [ "$me" -le 1 ]; then echo taken
    else
      [ -z "$gone" ] || kill "$gone"
      echo "$me $(began "$me")" >$lock.new && mv $lock.new $lock && echo taken
    fi
  } 9>>$lock.lock
}
umask 077
