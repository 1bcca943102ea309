"""What real boxes printed, for tests without one."""

# deeprig.facts.survey.SCRIPT on a Debian 13 container, 2026-11-22, shortened inside `mac=`.
DEBIAN_13 = """\
system=debian
version=13
name=Debian GNU/Linux 13 (trixie)
architecture=x86_64
openssh=10.0
kex=diffie-hellman-group14-sha256 curve25519-sha256 curve25519-sha256@libssh.org \
sntrup761x25519-sha512 sntrup761x25519-sha512@openssh.com mlkem768x25519-sha256
cipher=3des-cbc aes128-ctr aes192-ctr aes256-ctr aes128-gcm@openssh.com aes256-gcm@openssh.com \
chacha20-poly1305@openssh.com
mac=hmac-sha1 hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com umac-128-etm@openssh.com
container=yes
user=ai
has_key=ai
ssh_socket=disabled
""".splitlines()

DEBIAN_12 = [
    line.replace(" mlkem768x25519-sha256", "").replace("=13", "=12").replace("=10.0", "=9.2")
    for line in DEBIAN_13
]

# The GPU part of the same on an ubuntu-like lab box, 2026-11-25: its apt reads the stand-in for
# Ubuntu's archive, its cards are pretended.
UBUNTU_LIKE = """\
fake_gpu=test
gpu=0000:01:00.0 10de:5950 030200
gpu=0000:02:00.0 10de:2204 030000
gpu=0000:02:00.1 10de:1aef 040300
kernel=6.8.0-142-generic
kernel_package=linux-headers-generic
kernel_package=linux-image-generic
offers=yes
offer=linux-modules-nvidia-580-server-open-generic 6.8.0-142.142+1
offer=nvidia-headless-no-dkms-580-server-open 580.178.04-0ubuntu0.24.04.1 \
580.173.02-0ubuntu0.24.04.1
modalias=10de:2204 nvidia-driver-580-server-open
modalias=10de:2204 nvidia-driver-595-server-open
modalias=10de:5950 nvidia-driver-595-server-open
""".splitlines()

# What a desktop with Secure Boot says more, in mokutil's words; not recorded on one.
DESKTOP = """\
secure_boot=yes
module_key=/var/lib/shim-signed/mok/MOK.der is already enrolled
desktop=gdm3.service
""".splitlines()
