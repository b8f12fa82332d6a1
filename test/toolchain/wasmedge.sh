#!/usr/bin/env bash
# Installs WasmEdge into test/toolchain/.wasmedge: Debian trixie's packages with their own libc, unpacked, so that nothing
# of the system changes. Needs apt on x86_64. Prints one line where it cannot: the tests then skip it, and say so.
set -uo pipefail
cd "$(dirname "$0")"
target=$PWD/.wasmedge
if [ -x "$target/usr/bin/wasmedge" ]; then exit 0; fi
if [ "$(uname -m)" != x86_64 ] || ! command -v apt-get >/dev/null; then
  echo "SKIPPED: WasmEdge needs apt on x86_64"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root"
cat >"$work/trixie.sources" <<SOURCES
Types: deb
URIs: http://deb.debian.org/debian
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/trixie.sources" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o Dir::State::status=/dev/null
  -o APT::Sandbox::User=root -o Acquire::Retries=3)
install() {
  cd "$work" || return 1
  "${apt[@]}" update >/dev/null || return 1
  local names
  names=$("${apt[@]}" install -y --no-install-recommends --print-uris wasmedge | awk -F"'" '/^.http/ { print $3 }' |
    awk '{ sub(/_.*/, "", $1); print $1 }')
  [ -n "$names" ] || return 1
  # shellcheck disable=SC2086 # one word per package
  "${apt[@]}" download $names || return 1
  local package
  for package in *.deb; do dpkg -x "$package" root || return 1; done
}
if (install >"$work/log" 2>&1); then
  mv "$work/root" "$target"
else
  tail -n 3 "$work/log"
  echo "SKIPPED: WasmEdge could not be installed from Debian trixie"
fi
