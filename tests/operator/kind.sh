#!/usr/bin/env bash
# The operator at work on a cluster with kubelets, after `make deploy`; `make test-operator-kind` does both.
# A change is told; the pod is deleted; what changed meanwhile is told by the next pod, each change once.
set -euo pipefail

operator=faro-system
here=faro-kind-$$
patience=180s

main() {
  trap ended EXIT
  say "the pod gets ready"
  kubectl rollout status -n "$operator" deploy/faro-operator --timeout="$patience"
  answers
  say "its account is denied secrets"
  denied get secrets
  denied list secrets
  denied delete pods

  say "a change is told"
  kubectl create namespace "$here"
  kubectl create configmap before -n "$here"
  wait_for "ADDED before"

  say "the pod is deleted, and what changes meanwhile is told once"
  local pod
  pod=$(kubectl get pods -n "$operator" -l app.kubernetes.io/name=faro-operator -o name)
  kubectl delete "$pod" -n "$operator" --wait=false
  kubectl delete configmap before -n "$here"
  for number in 1 2 3 4 5 6 7 8 9 10; do
    kubectl create configmap "meanwhile-$number" -n "$here"
  done
  kubectl wait "$pod" -n "$operator" --for=delete --timeout="$patience"
  kubectl rollout status -n "$operator" deploy/faro-operator --timeout="$patience"
  kubectl create configmap last -n "$here"
  wait_for "ADDED last"
  told_once "ADDED before" "DELETED before" "ADDED last"
  for number in 1 2 3 4 5 6 7 8 9 10; do
    told_once "ADDED meanwhile-$number"
  done
  answers
  kubectl exec -n "$operator" deploy/faro-operator -- /faro events --tail 20
  say "passed"
}

# The Service, by way of the API server.
answers() {
  local base=/api/v1/namespaces/$operator/services/faro-operator-metrics:metrics/proxy
  kubectl get --raw "$base/ready" >/dev/null
  kubectl get --raw "$base/health" >/dev/null
  kubectl get --raw "$base/metrics" | grep -c '^faro_events_total{' >/dev/null || fail "the metrics name no events"
}

denied() {
  if kubectl auth can-i "$@" -A --as="system:serviceaccount:$operator:faro-operator" --quiet; then
    fail "the operator's account may $*"
  fi
}

# Lines of config maps in the namespace of this test: type and name.
told() {
  kubectl exec -n "$operator" deploy/faro-operator -- /faro events --output json --gvr v1/configmaps --namespace "$here" |
    sed -n 's/.*"eventType":"\([A-Z]*\)".*"name":"\([^"]*\)".*/\1 \2/p'
}

wait_for() {
  for _ in $(seq 60); do
    if told | grep -cx "$1" >/dev/null; then return; fi
    sleep 1
  done
  fail "$1 was not told"
}

told_once() {
  local line count
  for line in "$@"; do
    count=$(told | grep -cx "$line" || true)
    [[ $count == 1 ]] || fail "$line was told $count times"
  done
}

say() { printf '== %s\n' "$1"; }

fail() {
  printf 'kind.sh: %s\n' "$1" >&2
  exit 1
}

# What is needed to understand a failure; the namespace of this test goes in any case.
ended() {
  local code=$?
  if ((code)); then
    kubectl get pods,pvc,events -n "$operator" || true
    kubectl describe pods -n "$operator" || true
    kubectl logs -n "$operator" deploy/faro-operator --tail=100 || true
    told || true
  fi
  kubectl delete namespace "$here" --ignore-not-found --wait=false || true
  exit "$code"
}

main
