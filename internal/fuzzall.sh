#!/usr/bin/env bash
# Runs every Fuzz target of the module in turn, for the time given (default 60s). What it finds stays in testdata.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-60s}
count=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
log=$dir/log
cache=$(go env GOCACHE)/fuzz

# fuzz runs one target of the package that was built. On a busy machine Go itself fails a target whose time ends while a worker is at
# work, with "context deadline exceeded" and no failing input (a race in its coordinator); that is no finding.
fuzz() {
  (cd "$1" && "$dir/test" -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$time" -test.fuzzcachedir "$cache/$(go list -f '{{.ImportPath}}' .)") > "$log" 2>&1 &&
    { tail -1 "$log"; return; }
  if grep -q '^ *context deadline exceeded$' "$log" && ! grep -qE 'Failing input written|panic|_test\.go' "$log"; then
    echo "nothing found; Go's coordinator missed the end of the time"
    return
  fi
  cat "$log"
  return 1
}

built=""
while read -r file; do
  package=./$(dirname "$file")
  if [[ $package != "$built" ]]; then # once for all of its targets
    go test -c -fuzz . -o "$dir/test" "$package"
    built=$package
  fi
  for target in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$file"); do
    echo "fuzz $package $target for $time"
    fuzz "$package" "$target"
    count=$((count + 1))
  done
done < <(grep -rlE '^func Fuzz' --include='*_test.go' . | sed 's|^\./||' | LC_ALL=C sort)
[[ $count -gt 0 ]] || { echo "no Fuzz target found"; exit 1; }
echo "fuzzed $count targets for $time each"
