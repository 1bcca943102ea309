# Written by deeprig (files/etc/profile.d): edit it there.
case ":$PATH:" in
*:/usr/local/cuda/bin:*) ;;
*) PATH="$PATH:/usr/local/cuda/bin" ;;
esac
