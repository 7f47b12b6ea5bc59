#!/usr/bin/env bash
# Proves that a program needs nothing but the kernel: prove.sh PROGRAM
set -euo pipefail

program=${1:?usage: prove.sh PROGRAM}
fail() { printf 'FAIL: %s: %s\n' "$program" "$1" >&2; exit 1; }

[[ -x $program ]] || fail "there is no such program; build it with \`make static\`"
command -v readelf >/dev/null || fail "readelf is not installed, without which nothing is proven (binutils)"
headers=$(readelf --wide --program-headers "$program")
needed=$(readelf --wide --dynamic "$program")
if grep -q INTERP <<<"$headers"; then fail "it asks for a dynamic loader"; fi
if grep -q NEEDED <<<"$needed"; then fail "it needs shared libraries: $(grep NEEDED <<<"$needed")"; fi
echo "static: $program, $(stat --format=%s "$program") bytes"
