#!/usr/bin/env bash
# Installs the Debian/Ubuntu packages that are missing; does nothing where all are there.
#   tools/install_dependencies.sh [build] [test]      default: build
set -euo pipefail

build_packages=(g++ cmake ninja-build ccache libprotobuf-dev protobuf-compiler libonnx-dev libdnnl-dev libturbojpeg0-dev libstb-dev libcli11-dev libcsv-dev nlohmann-json3-dev)
test_packages=(libgtest-dev libonnx-testdata clang clang-format clang-tidy libomp-dev openmpi-bin python3 python3-numpy python3-onnx python3-torch python3-torchvision)
wanted=()
for group in "${@:-build}"; do
  case "$group" in
    build) wanted+=("${build_packages[@]}") ;;
    test) wanted+=("${test_packages[@]}") ;;
    *) echo "install_dependencies.sh: unknown group '$group'; use build or test" >&2; exit 2 ;;
  esac
done

missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [[ "$status" == *"install ok installed"* ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "install_dependencies.sh: this system has no apt-get; install these by hand: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "install_dependencies.sh: neither root nor sudo; install these by hand: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "installing ${missing[*]}"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
