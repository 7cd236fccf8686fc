#!/usr/bin/env bash
# Three nodes on this machine, the second and third joined to the first. Data is in skerry-data/n1 to n3. Ctrl-C stops them.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p .cache/bin
go build -o .cache/bin/skerry ./cmd/skerry

pids=()
stop() {
	kill -TERM "${pids[@]}" 2>/dev/null || true
	wait || true
}
trap stop EXIT
trap 'exit 0' INT TERM

for n in 1 2 3; do
	port=$((7700 + 10 * (n - 1)))
	join=()
	[[ $n -gt 1 ]] && join=(--join 127.0.0.1:7703)
	.cache/bin/skerry node --name "n$n" --data "skerry-data/n$n" "${join[@]}" \
		--http "127.0.0.1:$port" --grpc "127.0.0.1:$((port + 1))" --peer "127.0.0.1:$((port + 2))" \
		--gossip "127.0.0.1:$((port + 3))" --admin "127.0.0.1:$((port + 4))" &
	pids+=($!)
done
wait
