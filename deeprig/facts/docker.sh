# What is there of Docker: somebody else's settings or packages, a swarm, and what it keeps where.

(
config=/etc/docker/daemon.json
root=/var/lib/docker
if [ -s $config ]; then
  if grep -q '"deeprig=' $config; then
    root=$(sed -nE 's/^ *"data-root": "([^"]+)".*/\1/p' $config); root=${root:-/var/lib/docker}
  else
    tr -d '[:space:]{}' < $config | grep -q . && echo docker_settings=foreign
  fi
fi
for p in docker-ce docker-ee moby-engine podman-docker; do
  installed $p && echo "docker_other=$p"; done
[ -e /snap/bin/docker ] && echo 'docker_other=the snap docker'
[ -s "$root/swarm/docker-state.json" ] && echo docker_swarm=yes
count() { if [ -e "$1" ]; then echo $#; else echo 0; fi; }
kept="$(count "$root"/image/*/imagedb/content/sha256/*) $(count "$root"/containers/*) $(
  count "$root"/volumes/*/)"
[ "$kept" = '0 0 0' ] || echo "docker_keeps=$root $kept"
)
