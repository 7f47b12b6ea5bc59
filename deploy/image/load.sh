#!/usr/bin/env bash
# Brings an image that was built here to the nodes of a local cluster: load.sh kind|kinc|k3s ENGINE IMAGE:TAG
#
# KIND_CLUSTER (kind), KINC_NODE (kinc-default-control-plane) and K3S (sudo k3s) name others.
set -euo pipefail

fail() { printf 'load.sh: %s\n' "$1" >&2; exit 2; }
need() { command -v "$1" >/dev/null || fail "$1 is not installed; $2"; }

(($# == 3)) || fail "usage: load.sh kind|kinc|k3s ENGINE IMAGE:TAG"
cluster=$1 engine=$2 image=$3
[[ $cluster =~ ^(kind|kinc|k3s)$ ]] || fail "expected CLUSTER=kind, kinc or k3s, found \"$cluster\""
"$engine" image inspect "$image" >/dev/null 2>&1 || fail "$engine has no image $image; build it with \`make image\`"

case $cluster in
  kind)
    need kind "see https://kind.sigs.k8s.io"
    # An archive, as only that works with each engine.
    archive=$(mktemp --suffix=.tar)
    trap 'rm -f "$archive"' EXIT
    "$engine" save -o "$archive" "$image"
    kind load image-archive "$archive" --name "${KIND_CLUSTER:-kind}"
    ;;
  kinc)
    need podman "kinc's nodes are containers of podman"
    node=${KINC_NODE:-kinc-default-control-plane}
    podman container exists "$node" || fail "there is no container $node; name the node with KINC_NODE (\`podman ps\` lists them)"
    # Its runtime is CRI-O, which takes images from its own store alone; skopeo is what writes there.
    podman exec "$node" sh -c 'command -v skopeo >/dev/null || dnf install -y -q skopeo'
    "$engine" save "$image" | podman exec -i "$node" skopeo copy docker-archive:/dev/stdin "containers-storage:$image"
    ;;
  k3s)
    read -ra k3s <<<"${K3S:-sudo k3s}"
    need "${k3s[0]}" "name the command with K3S"
    "$engine" save "$image" | "${k3s[@]}" ctr images import -
    ;;
esac
echo "$image is on the nodes of $cluster"
