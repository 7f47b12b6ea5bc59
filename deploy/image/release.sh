#!/bin/sh
# Gives a released image its tags: deploy/image/release.sh push|tag IMAGE VERSION, as in push ghcr.io/t0masd/faro-operator v1.2.3
#
# `push` builds the image on this machine and pushes it as VERSION-amd64 or VERSION-arm64. `tag` joins the two under VERSION,
# and, unless VERSION is one before a release (v1.2.3-rc.1), under v1.2, v1 and latest, and gives a workflow's later steps
# `image` and `digest` of what they name.
set -eu
cd "$(dirname "$0")/../.."

refuse() {
  echo "release.sh: $1" >&2
  exit 2
}

[ $# = 3 ] || refuse "expected push|tag IMAGE VERSION"
# GitHub's owners may have capitals; an image's name may not.
image=$(printf %s "$2" | tr '[:upper:]' '[:lower:]')
version=$3
case "$version" in
v[0-9]*.[0-9]*.[0-9]*) ;;
*) refuse "$version is no version; expected one like v1.2.3" ;;
esac

case "$1" in
push)
  case "$(uname -m)" in
  x86_64) processor=amd64 ;;
  aarch64) processor=arm64 ;;
  *) refuse "images are built on amd64 and arm64, not on $(uname -m)" ;;
  esac
  make image image-push IMAGE="$image" TAG="$version-$processor"
  ;;
tag)
  tags="$version"
  case "$version" in
  *-*) ;;
  *) tags="$version ${version%.*} ${version%%.*} latest" ;;
  esac
  set --
  for tag in $tags; do
    set -- "$@" --tag "$image:$tag"
  done
  docker buildx imagetools create "$@" "$image:$version-amd64" "$image:$version-arm64"
  digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image:$version")
  printf 'image=%s\ndigest=%s\n' "$image" "$digest" | tee -a "${GITHUB_OUTPUT:-/dev/null}"
  ;;
*) refuse "expected push or tag, found $1" ;;
esac
