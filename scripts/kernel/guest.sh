#!/usr/bin/env bash
# Process 1 of the guest, when its root is there: what a distribution has done by the time that
# somebody logs in, then the command.
#   guest.sh KERNEL COMMAND…        KERNEL: a directory of fetch.sh's
set -uo pipefail

kernel=$1
shift
export HOME=/root LANG=C.UTF-8
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

mount -t tmpfs run /run
ln -s /proc/self/fd /dev/fd
mkdir -p /run/lock /run/tmp /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# As systemd hands the controllers down to those below.
for controller in cpu cpuset io memory pids; do
  echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
# What the host's own runs have left is not for this machine.
if [ -d /var/lib/temblor ]; then mount -t tmpfs temblor /var/lib/temblor; fi
release=$(uname -r)
mkdir -p "/lib/modules/$release"
mount --bind "$kernel/lib/modules/$release" "/lib/modules/$release"
# Where there is udev, these load themselves when their files are opened.
modprobe --all loop tun
# A file system with a disk below it: what is written to memory costs neither I/O nor faults.
truncate --size 1G /run/disk
mkfs.ext4 -q /run/disk
mount -o loop /run/disk /run/tmp
chmod 1777 /run/tmp
# A name of a host has no plus sign.
hostname "linux-${release//+/-}"
ip link set lo up
# Code that lies elsewhere each time has to be translated each time by whoever emulates it.
echo 0 >/proc/sys/kernel/randomize_va_space
# The kernel's own messages are for dmesg: the console is for the command's.
dmesg --console-off

# A session of its own: nothing that the command starts is process 1's.
# TEMBLOR_TEST_EMULATED: see crates/faults/tests/emulated.
TMPDIR=/run/tmp TEMBLOR_TEST_EMULATED=1 setsid --wait "$@" </dev/null
echo "test-kernels: the command ended with $?"
if [ "${SHOW_DMESG:-}" ]; then dmesg | tail -40; fi
echo o >/proc/sysrq-trigger
# Never to come back: the end of process 1 would be a panic.
exec sleep infinity
