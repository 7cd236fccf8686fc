#!/usr/bin/env bash
# Runs every Fuzz target of the module in turn, for the time given (default 60s).
set -euo pipefail
time=${1:-60s}
count=0
for package in $(go list ./...); do
  dir=$(go list -f '{{.Dir}}' "$package")
  targets=$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go 2>/dev/null | sed 's/func //' || true)
  for target in $targets; do
    echo "fuzz $package $target for $time"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package"
    count=$((count + 1))
  done
done
echo "fuzzed $count targets for $time each"
