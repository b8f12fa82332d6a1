#!/usr/bin/env bash
# Installs Mesa's software Vulkan, lavapipe, new enough for Dawn: bookworm's own 22.3 is not, so there it comes from
# bookworm-backports, whose source is added if it is missing (apt takes nothing else from it unasked). Needs root and apt.
# Prints one line where it cannot: the tests then skip it, and say so.
set -uo pipefail
skip() {
  echo "SKIPPED: lavapipe $1"
  exit 0
}
if grep -qsE '"api_version": *"1\.([4-9]|[1-9][0-9])' /usr/share/vulkan/icd.d/lvp_icd*.json &&
  dpkg -s libvulkan1 >/dev/null 2>&1; then exit 0; fi
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then skip 'needs apt and root'; fi
packages=(libvulkan1 mesa-vulkan-drivers)
if grep -qs 'VERSION_CODENAME=bookworm' /etc/os-release; then
  packages=(libvulkan1 mesa-vulkan-drivers/bookworm-backports)
  if ! apt-cache policy | grep -q 'n=bookworm-backports'; then
    cat >/etc/apt/sources.list.d/bookworm-backports.sources <<SOURCES
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
    apt-get update -qq -o Acquire::Retries=3 >/dev/null 2>&1
  fi
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 \
  --no-install-recommends "${packages[@]}" >/dev/null || skip 'could not be installed: is Debian reachable?'
