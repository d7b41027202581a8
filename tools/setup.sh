# SPDX-License-Identifier: Apache-2.0
# Sourced by demo.sh and test.sh: `setup_packages build` or `setup_packages build tests` installs what is missing of
# the Debian 12 packages below, and is silent when nothing is.

build_packages="g++ cmake ninja-build nlohmann-json3-dev libfmt-dev libcli11-dev libicu-dev libeigen3-dev libzstd-dev python3"
tests_packages="libgtest-dev libgmock-dev googletest libbenchmark-dev binutils clang libclang-rt-14-dev
                qemu-user-static g++-aarch64-linux-gnu libc6-dev-arm64-cross"

setup_packages() {
  local list package missing="" as_root=""
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "setup: no apt-get here; the packages of tools/setup.sh have to be installed by hand" >&2
    return 0
  fi
  for list in "$@"; do
    list="${list}_packages"
    for package in ${!list}; do
      case "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" in
        *"ok installed") ;;
        *) missing="$missing $package" ;;
      esac
    done
  done
  [ -z "$missing" ] && return 0
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "setup: these packages are missing, and installing them needs root or sudo:$missing" >&2
      return 1
    fi
    as_root="sudo"
  fi
  echo "setup: installing$missing"
  local log
  log="$(mktemp)"
  if $as_root apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update >"$log" 2>&1 &&
     $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
       install -y --no-install-recommends $missing >>"$log" 2>&1; then
    rm -f "$log"
    return 0
  fi
  tail -n 20 "$log" >&2
  rm -f "$log"
  echo "setup: apt-get failed (its last lines are above)" >&2
  return 1
}
