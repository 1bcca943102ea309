#!/bin/sh
# The loose files of versions before there was a package, 0.1.0 as of November 2026; to go a release later.
# old_layout HOOKS... : what is left of them, a kind and a name on each line.
#   file NAME   one of them
#   hook PATH   a file of ours elsewhere that calls one
#   used NAME   one that a process has in its command line
export LC_ALL=C # what is parsed here is in English
top=/usr/local/lib/deeprig
names='
access-guard apt-repository apt_entries.py apt_index.py apt_key.py apt_specification.py
apt_words.py array-start as-user as_user.py base-env boot-guard boot-trial boot_build.py
boot_cards.py boot_keep.py boot_loader.py boot_menu.py boot_once.py boot_proof.py
boot_reached.py boot_record.py boot_snapshot.py boot_work.py bounded.py data-disk
data-folder disk_making.py docker-state driver-move driver-set driver_apt.py
driver_back.py driver_build.py driver_debs.py driver_downloads.py driver_headers.py
driver_history.py driver_hold.py driver_index.py driver_kernels.py driver_libraries.py
driver_load.py driver_moving.py driver_others.py driver_proof.py driver_reasons.py
driver_reboot.py driver_record.py driver_snapshot.py driver_standing.py
driver_transaction.py driver_undo.py driver_waiting.py driver_wanted.py env_files.py
env_lock.py gpu_xids.json grow-root guest_files.py home-links home_links.py install_step.py job
job-window job_cards.py job_command.py job_records.py notebook-guard notebook-kernels
notebook-run notebook-server notebook-window notebook_work.py openpgp_keys.py
passthrough-bind passthrough-guest passthrough-now power-limits python-env reboot-gate
replaced.py root_only.py swap-file tool-env user-manager wake-on-lan watch
watch_delivery.py watch_findings.py watch_hardware.py watch_record.py __pycache__
'
for name in $names; do [ ! -e $top/"$name" ] || echo "file $name"; done
# shellcheck disable=SC2086 # a list of words
alternatives=$(echo $names | tr ' ' '|')
grep -lsE "$top/($alternatives)([^a-z_.-]|\$)" "$@" | sed 's/^/hook /'
# Anybody may call a process what they like: of others than us, those count that are for them to run.
{
    ps -ww -U "$(id -ru)" -o args=
    # shellcheck disable=SC2009 # the whole command line is looked at
    ps -ww -N -U "$(id -ru)" -o args= | grep -aE "$top/(job|job-window|notebook-run|notebook-window)( |\$)"
} | grep -aoE "$top/[a-z_-]+(\.py)?" | sort -u | sed "s,$top/,,; /^current\$/d; s/^/used /"
