#!/bin/sh
# shellcheck disable=SC2154 # udhcpc gives its answer in the environment
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
# shellcheck disable=SC2154,SC2086 # there may be several
ip route add default via $router
