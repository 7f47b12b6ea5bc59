#!/usr/bin/env bash
# Leaves in a CycloneDX file of cargo-cyclonedx what is in the static binary, and proves that all of it is there:
# sbom.sh FILE TARGET FEATURES
#
# cargo-cyclonedx goes by `cargo metadata`, in which tests switch on features, and so crates, that the binary is built without.
set -euo pipefail
cd "$(dirname "$0")/../.."

file=${1:?usage: sbom.sh FILE TARGET FEATURES}
command -v jq >/dev/null || { echo "FAIL: jq is not installed, without which nothing is proven" >&2; exit 1; }
crates=$(cargo tree --locked --target "${2:?}" --no-default-features --features "${3:?}" --edges normal --prefix none --format '{p}' |
  cut -d ' ' -f 1,2 | sort -u)

# The folder that it was built in is nobody's business.
sed -i "s|file://$PWD|file://.|g" "$file"
jq --arg crates "$crates" '
  ($crates | split("\n")) as $built
  | .components |= map(select("\(.name) v\(.version)" | IN($built[])))
  | [.metadata.component["bom-ref"], .components[]["bom-ref"]] as $kept
  | .dependencies |= map(select(.ref | IN($kept[])) | if .dependsOn then .dependsOn |= map(select(IN($kept[]))) else . end)
' "$file" >"$file.new"
mv "$file.new" "$file"

listed=$(jq -r '.metadata.component, .components[] | "\(.name) v\(.version)"' "$file" | sort -u)
diff <(echo "$crates") <(echo "$listed") || { echo "FAIL: $file lacks what is in the binary (<), or has more (>)" >&2; exit 1; }
echo "$file: $(wc -l <<<"$listed") crates, as in the binary"
