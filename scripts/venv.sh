#!/bin/sh
# Create a virtual environment:  scripts/venv.sh FOLDER
# Takes $PYTHON if set, else the newest of python3.13 ... python3 that is at least 3.11.
set -eu
folder=$1

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

python=
for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
    if command -v "$candidate" >/dev/null 2>&1 && new_enough "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "daetalker needs Python 3.11 or newer and found none among: ${PYTHON:-python3.13 python3.12 python3.11 python3 python}." >&2
    echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.12 ..." >&2
    exit 1
fi

if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "Installing $package (this Python comes without its venv module)"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package"
    else
        echo "This Python comes without its venv module. Install it, then try again:  sudo apt-get install $package" >&2
        exit 1
    fi
fi

echo "Creating $folder with $("$python" --version)"
rm -rf "$folder"
"$python" -m venv "$folder"
