"""What real boxes printed, for tests without one."""

# deeprig.survey.SCRIPT on a Debian 13 container, 2026-11-22, shortened in the middle of `mac=`.
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
