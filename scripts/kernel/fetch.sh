#!/usr/bin/env bash
# Fetches the kernel of a Debian release, once, and prints the directory in which it lies then:
# `vmlinuz`, and `lib/modules/RELEASE`.
#   fetch.sh SUITE        such as bookworm
#
# The package comes from the mirror that this machine's apt has for Debian, or from DEBIAN_MIRROR,
# and is believed when Debian's own keys say so. Remove the directory to have it fetched anew.
set -euo pipefail

suite=${1:?the name of a Debian release}
keys=/usr/share/keyrings/debian-archive-keyring.gpg
cache=${XDG_CACHE_HOME:-$HOME/.cache}/temblor/kernels
kernel=$cache/$suite

fail() {
  printf 'test-kernels: %s\n' "$*" >&2
  exit 6
}

if [ -e "$kernel/vmlinuz" ]; then
  printf '%s\n' "$kernel"
  exit
fi
[ "$(dpkg --print-architecture)" = amd64 ] \
  || fail 'the guests run the programs of this machine, and their kernels are those for amd64'
[ -e "$keys" ] || fail "$keys is missing: apt-get install debian-archive-keyring"
# The main archive is listed before or after the one of security updates.
mirror=${DEBIAN_MIRROR:-$(
  apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' \
    | awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }'
)}
[ -n "$mirror" ] \
  || fail 'apt knows no mirror of Debian here: name one, DEBIAN_MIRROR=http://… make test-kernels'

mkdir -p "$cache"
# It has its name only when it is whole.
new=$(mktemp -d --tmpdir="$cache")
trap 'rm -rf "$new"' EXIT
mkdir -p "$new/apt/lists/partial" "$new/apt/cache/archives/partial"
printf 'deb [signed-by=%s] %s %s main\n' "$keys" "$mirror" "$suite" >"$new/apt/sources.list"
# Lists of its own: what this machine's apt knows stays as it is.
own=(
  -o "Dir::Etc::SourceList=$new/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
  -o "Dir::State::Lists=$new/apt/lists" -o "Dir::Cache=$new/apt/cache"
  -o "APT::Sandbox::User=$(id -un)"
)
printf 'test-kernels: fetching the kernel of Debian %s\n' "$suite" >&2
apt-get "${own[@]}" update -qq >&2
package=$(apt-cache "${own[@]}" depends linux-image-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
[ -n "$package" ] || fail "the mirror has no linux-image-amd64 for $suite"
(cd "$new" && apt-get "${own[@]}" download -qq "$package" >&2)
dpkg-deb --extract "$new"/linux-image-*.deb "$new/package"
# Up to Debian 12 modules were packed in /lib, later in /usr/lib.
mkdir "$new/lib"
for modules in "$new"/package/lib/modules "$new"/package/usr/lib/modules; do
  if [ -d "$modules" ]; then mv "$modules" "$new/lib/"; fi
done
depmod --basedir "$new" "$(ls "$new/lib/modules")"
mv "$new"/package/boot/vmlinuz-* "$new/vmlinuz"
rm -rf "$new/apt" "$new/package" "$new"/*.deb
chmod 755 "$new"
mv -T "$new" "$kernel"
trap - EXIT
printf '%s\n' "$kernel"
