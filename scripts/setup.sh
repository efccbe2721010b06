#!/usr/bin/env bash
# Installs what building, testing and the demo need, where it is missing. Starts no service, and
# leaves none running or enabled that was not so before.
#   setup.sh [kernels]     kernels: also what testing on other kernels needs
set -euo pipefail

# What the packages are for, so that another distribution's user can find their names there.
wanted='
  a C compiler, make, pkg-config     gcc make pkg-config
  clang (for the eBPF programs)      clang, version 15 or newer
  libelf and zlib, with headers      libelf-dev zlib1g-dev
  PostgreSQL 13 or newer (server)    postgresql
  Redis (server)                     redis-server
  nginx                              nginx
  Prometheus (server)                prometheus
  iproute2 and nftables              iproute2 nftables
  bpftrace (for tests; runs of your own scripts want it, too)  bpftrace
  Docker (for tests only)            docker.io, or another that brings dockerd
  Chromium (for tests only)          chromium; without it the tests of the page are skipped
  QEMU (for make test-kernels only)  qemu-system-x86 busybox-static cpio kmod e2fsprogs
  Rust 1.89 or newer and cargo       from https://rustup.rs
  cargo-nextest                      cargo install --locked cargo-nextest'

say() { printf 'setup: %s\n' "$*"; }

if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi

need_rust() {
  command -v cargo >/dev/null && return
  say 'cargo is missing: install Rust 1.89 or newer from https://rustup.rs, then run this again'
  exit 6
}

# The packages that are not installed yet, of those given.
missing() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

# The container engine that tests start for themselves, unless there is one of some kind.
engine() {
  command -v dockerd >/dev/null || [ -x /usr/sbin/dockerd ] || echo docker.io
}

# The browser in which a page is tested. Some distributions have it as something else than a package.
browser() {
  [ -x /usr/bin/chromium ] || ! apt-cache show chromium >/dev/null 2>&1 || echo chromium
}

install_packages() {
  # Debian 12's own clang is 14, which has crashed on eBPF sources; a newer one lies beside it.
  local clang=clang
  if apt-cache show clang-19 >/dev/null 2>&1; then clang=clang-19; fi
  local nginx=nginx-light
  if command -v nginx >/dev/null || [ -x /usr/sbin/nginx ]; then nginx=; fi
  local packages containerd
  # shellcheck disable=SC2046,SC2086 # one word each; an empty $nginx or engine is no argument
  packages=$(missing gcc make pkg-config "$clang" libelf-dev zlib1g-dev postgresql redis-server \
    $nginx iproute2 nftables bpftrace ca-certificates prometheus $kernels $(engine) \
    $(browser))
  # It comes with Docker.
  containerd=$(missing containerd)
  [ -n "$packages" ] || return 0
  say "installing" $packages
  # Installing a server starts it unless a policy says no. One that is there already is left as
  # it is; services that it lets start are stopped below.
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
    trap "$sudo rm -f '$policy'" EXIT
  fi
  # shellcheck disable=SC2086 # one word each
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages
  # Where systemd is there and does not run, units are enabled for the next boot all the same.
  command -v systemctl >/dev/null || return 0
  local now='' package
  if [ -d /run/systemd/system ]; then now=--now; fi
  # shellcheck disable=SC2086 # one word each; an empty $now is no argument
  for package in $packages; do
    case "$package" in
      nginx-light) $sudo systemctl disable $now --quiet nginx || true ;;
      docker.io)
        $sudo systemctl disable $now --quiet docker.socket docker.service $containerd || true
        ;;
      postgresql | redis-server | prometheus)
        $sudo systemctl disable $now --quiet "$package" || true
        ;;
    esac
  done
}

# What boots another kernel over this machine's files, and Debian's keys, by which it is known.
kernels=
if [ "${1:-}" = kernels ]; then
  kernels='qemu-system-x86 busybox-static cpio kmod e2fsprogs xz-utils debian-archive-keyring'
fi

distribution=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}") || distribution=
case " $distribution " in
  *" debian "* | *" ubuntu "*)
    # shellcheck disable=SC2086 # one word each
    if [ -n "$(missing $kernels libelf-dev zlib1g-dev redis-server nftables bpftrace prometheus)$(engine)$(browser)" ] \
      || ! apt-cache show redis-server >/dev/null 2>&1; then
      $sudo apt-get update -q
    fi
    install_packages
    ;;
  *)
    say "this is not Debian or Ubuntu: please install these, if they are missing:"
    printf '%s\n' "$wanted"
    ;;
esac
need_rust
if ! cargo nextest --version >/dev/null 2>&1; then
  say 'installing cargo-nextest, the test runner'
  cargo install --locked cargo-nextest
fi
say 'everything is there'
