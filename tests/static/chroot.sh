#!/usr/bin/env bash
# Runs a static Faro in an empty root: chroot.sh STATIC_PROGRAM PROGRAM_WITH_SIMULATOR
#
# In the root lie the program, a configuration, a certificate authority, a kubeconfig, /etc/hosts and a folder for events, and
# nothing else. The kubeconfig's server is a name; a simulated cluster outside answers it over TLS. Faro must resolve the name,
# log in, capture, show what it captured with `faro events`, and exit 0 on SIGTERM. Nothing is skipped: what cannot be done fails.
set -euo pipefail

program=$(realpath "${1:?usage: chroot.sh STATIC_PROGRAM PROGRAM_WITH_SIMULATOR}")
simulator=$(realpath "${2:?usage: chroot.sh STATIC_PROGRAM PROGRAM_WITH_SIMULATOR}")
work=$(mktemp -d)
root=$work/root
processes=()

cleanup() {
  # Only those that are ours and still run.
  for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
  wait || true
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  printf 'FAIL: %s\n' "$1" >&2
  for log in "$work"/*.log; do printf -- '--- %s\n' "${log##*/}" >&2; tail -n 20 "$log" >&2; done
  exit 1
}

# Waits half a minute at most until a command holds.
eventually() {
  local what=$1; shift
  for _ in {1..300}; do
    if "$@"; then return; fi
    sleep 0.1
  done
  fail "waited in vain: $what"
}

in_root=(chroot --userspec=65532:65532 "$root")
mkdir -p "$root"/etc/faro "$root"/var/faro/events
cp "$program" "$root/faro"
# The user of distroless images: it may read everything and write only the events.
chmod 0755 "$work" "$root"
if ((EUID == 0)); then
  chown 65532:65532 "$root/var/faro/events"
else
  # Without root, a user namespace in which we are.
  in_root=(unshare --map-root-user chroot "$root")
fi
version=$("${in_root[@]}" /faro --version 2>"$work/chroot.log") ||
  fail "the program does not run in an empty root; where chroot is not permitted, run this as root"
echo "in an empty root: $version"

"$simulator" demo --plain --rate 20 --output-dir "$work/demo" >"$work/demo.log" 2>&1 &
processes+=($!)
kubeconfig_of() { sed -n 's/.*--kubeconfig \([^ ]*\) .*/\1/p' "$work/demo.log" | head -n 1 | grep .; }
eventually "the simulated cluster names its kubeconfig" kubeconfig_of >/dev/null
# Its certificate is for localhost, which is no more than a name in a root without /etc/hosts.
authority=$(sed -n 's|.*"certificate-authority-data":"\([^"]*\)".*|\1|p' "$(kubeconfig_of)" | head -n 1)
base64 -d <<<"$authority" >"$root/etc/faro/ca.crt"
sed -e 's|https://127.0.0.1:|https://localhost:|' \
  -e 's|"certificate-authority-data":"[^"]*"|"certificate-authority":"/etc/faro/ca.crt"|' "$(kubeconfig_of)" >"$root/etc/faro/kubeconfig"
for word in https://localhost: /etc/faro/ca.crt; do
  grep -q "$word" "$root/etc/faro/kubeconfig" || fail "the simulator's kubeconfig is not as expected: $word is not in it"
done
cat >"$root/etc/faro/config.yaml" <<'YAML'
output_dir: /var/faro/events
metrics: {enabled: false}
resources:
  - gvr: v1/pods
  - gvr: v1/events
YAML
run=("${in_root[@]}" /faro --config /etc/faro/config.yaml --kubeconfig /etc/faro/kubeconfig)

if "${run[@]}" >"$work/unresolved.log" 2>&1; then fail "a server whose name nobody knows was reached"; fi
grep -q localhost "$work/unresolved.log" || fail "the name that cannot be resolved is not told"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
chmod -R a+rX "$root/etc"

"${run[@]}" >"$work/faro.log" 2>&1 &
faro=$!
processes+=("$faro")
shown() { "${in_root[@]}" /faro events --gvr v1/events --type added >"$work/events.log" 2>&1 && grep -qv initial "$work/events.log"; }
eventually "faro events shows a change that was captured" shown
grep -v initial "$work/events.log" | head -n 3

kill -TERM "$faro"
code=0
wait "$faro" || code=$?
((code == 0)) || fail "on SIGTERM it exits $code, not 0"
lines=$("${in_root[@]}" /faro events --output json | wc -l)
((lines > 0)) || fail "nothing is in the files"
echo "captured $lines lines over TLS in an empty root, and exited 0 on SIGTERM"
