#!/usr/bin/env bash
# Boots a kernel in QEMU and runs a command there as root, over this machine's files: the guest
# reads them, and what it writes is gone with it. The command's output is this one's.
#   boot.sh KERNEL RESULTS COMMAND…     KERNEL: a directory of fetch.sh's
# RESULTS is a file here; in the guest it is /dev/ttyS1, and each line is here once it is written.
#
# The processor is emulated: KVM is not everywhere, and figures that hold here hold anywhere.
# GUEST_MEMORY_MB and GUEST_SECONDS_MAX bound the guest; GUEST_THREADS=single has one thread emulate
# both processors.
set -euo pipefail

kernel=${1:?a directory of fetch.sh\'s}
results=${2:?a file for the results}
shift 2
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
release=$(ls "$kernel/lib/modules")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the guest needs before it has its root, in the order in which it is loaded.
files=$work/initrd
mkdir -p "$files"/{bin,dev,modules,proc,sys}
cp "$(command -v busybox)" "$files/bin/busybox"
install -m 755 "$here/init" "$files/init"
printf '%s\n' "$work/start" >"$files/start"
count=100
for module in virtio_pci 9pnet_virtio 9p overlay; do
  modprobe --dirname "$kernel" --set-version "$release" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r module; do
  name=$files/modules/$count-$(basename "$module")
  count=$((count + 1))
  case $module in
    *.xz) xz --decompress --stdout "$module" >"${name%.xz}" ;;
    *.zst) zstd --decompress --quiet --stdout "$module" >"${name%.zst}" ;;
    *) cp "$module" "$name" ;;
  esac
done
(cd "$files" && find . | cpio --quiet --create --format=newc | gzip -1) >"$work/initrd.gz"

# The guest finds it where it is here.
printf '%q ' exec bash "$here/guest.sh" "$kernel" "$@" >"$work/start"
chmod -R a+rX "$work"

# Clocks: reading the emulated counter is cheap, while any other clock leaves the emulation. Where
# processors are emulated their faults are not, and working around them is all cost.
timeout --foreground "${GUEST_SECONDS_MAX:-2400}" qemu-system-x86_64 \
  -accel "tcg,thread=${GUEST_THREADS:-multi}" -smp 2 -cpu "Westmere" -m "${GUEST_MEMORY_MB:-3072}" \
  -display none -monitor none -no-reboot -nic none \
  -chardev stdio,id=console,signal=on -serial chardev:console \
  -chardev "file,id=results,append=on,path=$results" -serial chardev:results \
  -kernel "$kernel/vmlinuz" -initrd "$work/initrd.gz" \
  -append "console=ttyS0 quiet panic=-1 mitigations=off clocksource=tsc tsc=reliable" \
  -fsdev local,id=host,path=/,security_model=none,multidevs=remap,readonly=on \
  -device virtio-9p-pci,fsdev=host,mount_tag=host </dev/null | sed --unbuffered 's/\r//g'
