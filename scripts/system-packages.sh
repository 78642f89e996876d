#!/bin/sh
# Install the programs that some tests need, where this user may; say so where not.
# Never fails: the tests that miss a program skip and give the reason.
set -u

have() {
    for name in "$@"; do
        command -v "$name" >/dev/null 2>&1 && return 0
    done
    return 1
}

missing=
have chromium chromium-browser google-chrome google-chrome-stable || missing="$missing chromium"
have node || missing="$missing nodejs"
have npm || missing="$missing npm"
have mosquitto /usr/sbin/mosquitto || missing="$missing mosquitto"
have turnserver || missing="$missing coturn"
have pulseaudio || missing="$missing pulseaudio"
have parec || missing="$missing pulseaudio-utils"
/sbin/ldconfig -p 2>/dev/null | grep -q 'libportaudio\.so\.2' || missing="$missing libportaudio2"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && have apt-get; then
    echo "Installing for the tests:$missing"
    apt-get update -qq
    # One by one, so that a package that cannot be had does not cost the others.
    for package in $missing; do
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" \
            || echo "apt-get failed; the tests that need $package will be skipped." >&2
    done
else
    echo "Not installed:$missing. The tests that need them will be skipped." >&2
    echo "To run them too:  sudo apt-get install$missing" >&2
fi
exit 0
