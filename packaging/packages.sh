# shellcheck shell=bash
# What ./quickstart and ./check need, by the names that Debian 12 and Ubuntu 22.04/24.04 share.
# Sourced by both.

PACKAGES_BUILD=(gcc libc6-dev cmake ninja-build pkg-config libpq-dev librdkafka-dev libsqlite3-dev
    libfyaml-dev libpcre2-dev libjansson-dev libzstd-dev zlib1g-dev libxxhash-dev libcurl4-openssl-dev
    libssl-dev tzdata)
PACKAGES_SERVER=(postgresql util-linux)
PACKAGES_TEST=(libcmocka-dev libavro-dev python3 python3-psycopg2 kcat openssl zstd ca-certificates sqlite3)

# packages_missing NAME…: prints those that are not installed.
packages_missing() {
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] ||
            printf '%s\n' "$name"
    done
}

# packages_install LOG NAME…: installs what is missing, and only then asks apt for anything.
# Prints how many were installed. Root rights are taken for apt-get alone.
packages_install() {
    local log=$1 missing as_root=()
    shift
    if ! command -v dpkg-query >/dev/null; then
        echo "not a Debian or Ubuntu system: install these yourself: $*" >&2
        return 1
    fi
    mapfile -t missing < <(packages_missing "$@")
    if [ ${#missing[@]} -eq 0 ]; then
        echo "all there"
        return 0
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "sudo is missing; as root: apt-get install ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    local env=(env DEBIAN_FRONTEND=noninteractive)
    if ! { "${as_root[@]}" "${env[@]}" apt-get -o Acquire::Retries=3 update &&
        "${as_root[@]}" "${env[@]}" apt-get -o Acquire::Retries=3 \
            -o Dpkg::Options::=--force-confold install -y --no-install-recommends \
            "${missing[@]}"; } >>"$log" 2>&1 </dev/null; then
        tail -n 15 "$log" >&2
        echo "apt-get could not install: ${missing[*]}" >&2
        return 1
    fi
    echo "${#missing[@]} installed"
}
