#!/bin/sh
# Writes a kustomization of deploy/operator with another image and with overlays: deploy/operator/overlay.sh IMAGE [OVERLAY…]
# It goes to target/operator, which `kubectl apply -k target/operator` and `kubectl kustomize target/operator` take.
set -eu
cd "$(dirname "$0")/../.."

refuse() {
  echo "overlay.sh: $1" >&2
  exit 2
}

image=$1
shift
case "${image##*/}" in
*@*) name=${image%@*} version="digest: ${image#*@}" ;;
*:*) name=${image%:*} version="newTag: '${image##*:}'" ;;
*) refuse "$image has no tag; name one, as in $image:dev" ;;
esac
overlays=$(cd deploy/operator/overlays && echo *)
for overlay in "$@"; do
  [ -d "deploy/operator/overlays/$overlay" ] || refuse "there is no overlay $overlay; there are: $overlays"
done

mkdir -p target/operator
{
  echo "apiVersion: kustomize.config.k8s.io/v1beta1"
  echo "kind: Kustomization"
  echo "resources: [../../deploy/operator]"
  echo "images: [{name: ghcr.io/t0masd/faro-operator, newName: $name, $version}]"
  echo "components:"
  for overlay in "$@"; do
    echo "  - ../../deploy/operator/overlays/$overlay"
  done
} >target/operator/kustomization.yaml
