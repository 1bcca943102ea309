# Before any part of the survey, which asks these instead of starting a program of its own.
# shellcheck disable=SC2034 # it is the parts that ask
contained=$(systemd-detect-virt -cq && echo yes)
packages=$(dpkg-query -W -f ' ${db:Status-Status}:${Package} ')
installed() { case $packages in *" installed:$1 "*) ;; *) return 1 ;; esac; }
