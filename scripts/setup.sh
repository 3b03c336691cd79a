#!/bin/sh
# Makes the machine ready, and says so in one line a step. Nothing is done twice: a second call takes milliseconds.
#
#   setup.sh run      .venv with what chatd needs to run
#   setup.sh dev      the same with what tests and checks need
#   setup.sh node     node, which parses and tests the scripts for browsers: Debian's, installed when this is root
#   setup.sh chromium Chromium for the tests, likewise
#   setup.sh redis    Redis 7 for the tests of a cluster, likewise; the others have an older one from a wheel
#   setup.sh fonts    letters of all interface languages and emoji, for pictures; never an error
#
# PYTHON names another interpreter than the newest python3 on the PATH.
set -eu
cd "$(dirname "$0")/.."
log=.venv/setup.log

say() { printf '%s\n' "$*" >&2; }
stop() {
    say "$*"
    exit 1
}
is_root() { [ "$(id -u)" = 0 ]; }
has() { command -v "$1" >/dev/null 2>&1; }

# Debian's package lists may be empty on a fresh machine; they are fetched only when an install needs them.
apt_install() {
    has apt-get && is_root || return 1
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 && return 0
    apt-get update -qq >/dev/null 2>&1 || return 1
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if has "$candidate" && new_enough "$candidate"; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

# Debian splits venv's pip (ensurepip) into a package of its own, so `python3 -m venv` may be there and fail.
make_venv() {
    rm -rf .venv
    if "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        "$1" -m venv .venv >/dev/null 2>&1 && return 0
    fi
    if apt_install python3-venv && "$1" -m venv .venv >/dev/null 2>&1; then return 0; fi
    rm -rf .venv
    if "$1" -m virtualenv --version >/dev/null 2>&1 && "$1" -m virtualenv -q .venv >/dev/null 2>&1; then return 0; fi
    rm -rf .venv
    # pip of the system can fill an environment that has none of its own (pip 22.3 and newer).
    if "$1" -m venv --without-pip .venv >/dev/null 2>&1 &&
        "$1" -m pip --python .venv/bin/python install -q pip >/dev/null 2>&1; then return 0; fi
    rm -rf .venv
    return 1
}

install_packages() { # run | dev
    if ! { [ -x .venv/bin/python ] && new_enough .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
        python=$(find_python) || stop "chatd needs Python 3.11 or newer. On Debian or Ubuntu run: sudo apt-get install python3 python3-venv"
        say "setup: making .venv with $("$python" --version)"
        make_venv "$python" ||
            stop "No virtual environment could be made. On Debian or Ubuntu run: sudo apt-get install python3-venv"
    fi
    # The stamp holds what was installed for: these lines of pyproject.toml, this place, this Python.
    wanted="$(cksum <pyproject.toml) $(pwd) $(.venv/bin/python --version)"
    for stamp in ".venv/stamp-$1" .venv/stamp-dev; do
        if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return 0; fi
    done
    what=.
    [ "$1" = dev ] && what='.[dev]'
    say "setup: installing what pyproject.toml names ($1)"
    if ! .venv/bin/python -m pip install --disable-pip-version-check --no-input -e "$what" >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        stop "Installing failed; the whole story is in $log. Mend what it says and run the same command again."
    fi
    printf '%s' "$wanted" >".venv/stamp-$1"
}

find_tool() { # names…
    for name in "$@"; do
        if has "$name"; then return 0; fi
    done
    return 1
}

need() { # packages in one word, then the names that the program may have
    packages=$1
    shift
    if find_tool "$@"; then return 0; fi
    say "setup: installing $packages"
    # shellcheck disable=SC2086 # split into packages
    apt_install $packages ||
        say "!!! NOT EVERYTHING IS TESTED: there is no $1 here, so what needs it is skipped. Run: sudo apt-get install $packages"
}

redis_7() {
    for name in redis-server valkey-server; do
        if has "$name" && "$name" --version | grep -Eq 'v=([7-9]|[1-9][0-9])\.'; then return 0; fi
    done
    return 1
}

# Debian 12 and Ubuntu 24.04 have Redis 7; where the system starts it as a service, the tests leave that one alone.
need_redis_7() {
    if redis_7; then return 0; fi
    say "setup: installing redis-server"
    { apt_install redis-server && redis_7; } ||
        say "!!! NOT EVERYTHING IS TESTED: there is no Redis 7 here, so what needs a cluster is skipped. Run: sudo apt-get install redis-server"
}

install_fonts() {
    has fc-list && [ -n "$(fc-list :lang=zh)" ] && fc-list | grep -qi emoji && return 0
    say "setup: installing fonts"
    apt_install fontconfig fonts-noto-cjk fonts-noto-color-emoji fonts-dejavu-core || say "setup: no fonts; pictures may show boxes"
}

for step in "$@"; do
    case "$step" in
    run | dev) install_packages "$step" ;;
    node) need nodejs node ;;
    chromium) [ -n "${CHATD_TEST_CHROMIUM:-}" ] || need "chromium fonts-dejavu-core" chromium chromium-browser google-chrome ;;
    redis) need_redis_7 ;;
    fonts) install_fonts ;;
    *) stop "setup.sh: unknown step '$step'; expected run, dev, node, chromium, redis or fonts" ;;
    esac
done
