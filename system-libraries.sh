#!/bin/sh
# usage: sh system-libraries.sh PYTHON
#
# Open3D loads libraries that pip does not bring, and draws without a screen through Vulkan on the processor (Mesa's llvmpipe).
# On Debian and Ubuntu, as root, this installs those that are missing. Anywhere else it says in one line what to install.
# It never fails: without Open3D everything works but the 3D pictures and the window.
set -u
python=$1
packages="libusb-1.0-0 libgl1 libegl1 libgomp1 libx11-6 libvulkan1 mesa-vulkan-drivers"

# Prints what is missing, by asking the loader itself: package databases differ between distributions, sonames do not.
missing_libraries() {
    "$python" - <<'PYTHON'
import ctypes
from pathlib import Path

sonames = "libusb-1.0.so.0 libGL.so.1 libEGL.so.1 libgomp.so.1 libX11.so.6 libvulkan.so.1".split()
missing = []
for soname in sonames:
    try:
        ctypes.CDLL(soname)
    except OSError:
        missing.append(soname)
# The Vulkan loader is of no use without a driver's description.
folders = [Path(root, "vulkan/icd.d") for root in ("/usr/share", "/usr/local/share", "/etc")]
if not any(folder.glob("*.json") for folder in folders):
    missing.append("a Vulkan driver")
print(", ".join(missing))
PYTHON
}

[ "$(uname -s)" = Linux ] || exit 0
"$python" -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("open3d"))' || exit 0
missing=$(missing_libraries)
if [ -n "$missing" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "system-libraries: installing what Open3D needs ($missing)"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # a list of words
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages; } </dev/null >/dev/null
    missing=$(missing_libraries)
fi
if [ -n "$missing" ]; then
    echo "system-libraries: Open3D finds no $missing; for 3D pictures: apt install $packages (or your system's names for them)"
fi
exit 0
