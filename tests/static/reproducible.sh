#!/usr/bin/env bash
# Packs the static binary in two folders, under all that a build must not depend on, and proves that the packages are the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo_home=${CARGO_HOME:-$HOME/.cargo}
FARO_COMMIT=$(git rev-parse --short=12 HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export FARO_COMMIT SOURCE_DATE_EPOCH

root=$PWD/target/reproducible
one=$root/a other=$root/in-a/longer-path
rm -rf "$root"
# The working tree as it is.
for folder in "$one" "$other"; do
  mkdir -p "$folder"
  git ls-files -z | tar --create --null --files-from=- | tar --extract --directory="$folder"
done
# The same crates under another path.
mkdir "$root/cargo-home"
for entry in config.toml git registry; do
  [[ ! -e $cargo_home/$entry ]] || ln -s "$cargo_home/$entry" "$root/cargo-home/$entry"
done

make --directory "$one" dist
(
  umask 077
  export CARGO_HOME=$root/cargo-home CARGO_BUILD_JOBS=1 LC_ALL=C TZ=Pacific/Kiritimati
  make --directory "$other" dist
)

for package in "$one"/target/dist/*; do
  cmp "$package" "$other/target/dist/${package##*/}"
done
echo "twice the same: $(cat "$one"/target/dist/*.sha256)"
