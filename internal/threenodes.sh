#!/usr/bin/env bash
# Three nodes on this machine, the second and third joined to the first. Data is in skerry-cluster/n1 to n3. Ctrl-C stops them.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p .cache/bin
go build -o .cache/bin/skerry ./cmd/skerry

pids=()
stop() {
	trap '' HUP INT TERM # a node's second signal would end it like a crash
	kill -TERM "${pids[@]}" 2>/dev/null || true
	for ((i = 0; i < 300; i++)); do # 30 s; shutdown-timeout is 20 s
		[[ -z $(jobs -pr) ]] && return
		sleep 0.1
	done
	kill -KILL "${pids[@]}" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 0' HUP INT TERM

set -m # each node is a process group of its own: Ctrl-C reaches this script only
for n in 1 2 3; do
	port=$((7700 + 10 * (n - 1)))
	join=()
	[[ $n -gt 1 ]] && join=(--join 127.0.0.1:7703)
	.cache/bin/skerry node --name "n$n" --data "skerry-cluster/n$n" "${join[@]}" \
		--http "127.0.0.1:$port" --grpc "127.0.0.1:$((port + 1))" --peer "127.0.0.1:$((port + 2))" \
		--gossip "127.0.0.1:$((port + 3))" --admin "127.0.0.1:$((port + 4))" &
	pids+=($!)
	echo "n$n: pid $!"
done
set +m
wait
