#!/bin/bash
# servers.sh SUITE FOLDER DESTINATION PACKAGE...
#
# Unpacks Debian packages of SUITE with all the libraries they need, the C library included, into FOLDER, made to be
# run from DESTINATION, to which the caller moves it afterwards. Neither the host's packages nor its package lists are
# touched, and no root is needed: apt works on folders of its own.
set -euo pipefail
suite=$1 folder=$(realpath "$2") destination=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log() { echo "servers: $*" >&2; }

# Which mirror: the one this machine already uses, as apt tells it from its lists. A fresh machine has no lists yet.
mirror() {
    apt-get "$@" indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | grep -v security | head -n 1 || true
}
uri=$(mirror)
if [ -z "$uri" ]; then
    log "no package lists on this machine: reading them"
    mkdir -p "$work/host-lists/partial"
    host=(-q -o Dir::State::lists="$work/host-lists" -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=3)
    apt-get "${host[@]}" update >/dev/null
    uri=$(mirror "${host[@]}")
fi
[ -n "$uri" ] || { log "no Debian mirror among this machine's package sources"; exit 1; }

mkdir -p "$work"/etc/apt/{apt.conf.d,preferences.d,sources.list.d} "$work"/var/lib/{apt/lists/partial,dpkg} "$work"/var/cache/apt/archives/partial
: >"$work/var/lib/dpkg/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$work/etc/apt/sources.list"
apt=(-q -o Dir="$work" -o Dir::State::status="$work/var/lib/dpkg/status" -o APT::Sandbox::User=root
    -o Acquire::Languages=none -o Acquire::Retries=3 -o Acquire::http::Timeout=60)
apt-get "${apt[@]}" update >/dev/null
apt-get "${apt[@]}" -y --no-install-recommends --download-only install "$@" patchelf >/dev/null
for package in "$work"/var/cache/apt/archives/*.deb; do
    case $(basename "$package") in
    erlang-* | rabbitmq-server_* | haproxy_* | lib* | zlib1g_* | patchelf_*) dpkg -x "$package" "$folder" ;;
    esac
done

# Every program is bound to the libraries beside it: the suite's own C library is newer than the host's.
libraries=usr/lib/x86_64-linux-gnu loader=usr/lib64/ld-linux-x86-64.so.2
patchelf=("$folder/$loader" --library-path "$folder/$libraries" "$folder/usr/bin/patchelf")
find "$folder/usr/lib/erlang" "$folder/usr/sbin" -type f -perm -u+x | while read -r file; do
    if head -c4 "$file" | grep -q ELF && "${patchelf[@]}" --print-interpreter "$file" >/dev/null 2>&1; then
        "${patchelf[@]}" --set-interpreter "$destination/$loader" --force-rpath --set-rpath "$destination/$libraries" "$file"
    fi
done
# Erlang's start scripts know where they were installed.
grep -rlI --include=erl --include=start --include=RELEASES /usr/lib/erlang "$folder/usr/lib/erlang" |
    xargs -r sed -i "s#\([ \"=]\)/usr/lib/erlang#\1$destination/usr/lib/erlang#g"
