# The floor of a first run: the bare apt, uv and cp commands, as root on the box, and no question asked.
# $PACKAGES is what deploy.py installs from the archive; files/, locks/ and ca/ lie beside this file.
set -e
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive
trust() { mkdir -p /usr/local/share/ca-certificates; cp ca/*.crt /usr/local/share/ca-certificates/ 2>/dev/null || :
  ! command -v update-ca-certificates >/dev/null || update-ca-certificates >/dev/null; }
trust
apt-get -q update
# shellcheck disable=SC2086 # words
apt-get -q -y install --no-install-recommends $PACKAGES
trust
export PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
export UV_PYTHON_DOWNLOADS=never UV_CACHE_DIR=/opt/deeprig/cache
cp -r files/. /
python3 -m venv /opt/deeprig/uv
/opt/deeprig/uv/bin/pip install -q --disable-pip-version-check --require-hashes -r locks/uv.lock
uv=/opt/deeprig/uv/bin/uv
$uv venv -q --no-project --python /usr/bin/python3 /opt/deeprig/notebook
$uv pip sync -q --require-hashes --compile-bytecode --python /opt/deeprig/notebook/bin/python locks/notebook.lock
export UV_CACHE_DIR=/mnt/data-disk/ai/cache/uv UV_LINK_MODE=copy
install -d -o ai -g ai /mnt/data-disk/ai /mnt/data-disk/ai/cache
as_user="runuser -u ai --"
$as_user $uv venv -q --no-project --python /usr/bin/python3 /home/ai/envs/base
$as_user $uv pip install -q --python /home/ai/envs/base/bin/python pip ipykernel numpy
ufw allow 22/tcp >/dev/null
ufw --force enable >/dev/null
systemctl daemon-reload
systemctl restart ssh
