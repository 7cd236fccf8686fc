# Every target in one line of help: `make` alone lists them.
.DEFAULT_GOAL := help
TOOL := go tool -modfile=tools/go.mod
TIME ?= 60s
KILLS ?= 100
NODES ?= 1
SEEDS ?= 200
PLAYERS ?= 1000000
MB ?= 1024
SCENARIO ?= kill
LOAD ?= steady
ROUNDS ?= 30

.PHONY: powercut help run check ci test race fuzz lint generate bench bench-three crash shutdown scale simulate torture transfers worlds catchup cluster failover load reports vuln golden

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

run: ## one node on this machine, addresses printed
	go run ./cmd/skerry node

check: ## format, vet, lint, house, unit tests: before every push
	@bash .ci/run build format vet house tests lint

ci: ## everything that must hold on a fresh clone
	@bash .ci/run

test: ## all tests
	go test ./...

race: ## the packages with goroutines again, with the race detector
	@bash .ci/run race

fuzz: ## every Fuzz target in turn, TIME each; new crashers become testdata
	@bash internal/fuzzall.sh $(TIME)

lint: ## the linter alone
	GOMEMLIMIT=3GiB $(TOOL) golangci-lint run ./...

generate: ## generated code from proto/
	bash codec/generate.sh

bench: ## N1, N2, N10 beside other stores, interleaved; for docs/performance.md
	go run ./cmd/skerry-load peers --closer 20s

bench-three: ## N3, N9 and memory on three processes, beside etcd and NATS where installed
	go run ./internal/torture -bench

crash: ## KILLS times kill -9 under load, everything acknowledged counted
	go run ./internal/crash -kills $(KILLS)

shutdown: ## SIGTERM with 10,000 dirty players under load, then kill -9 in the middle of it
	go run ./internal/shutdown

powercut: ## 200 power cuts of log and store on a disk that forgets what was not synced
	go test ./persistence/replication -count=1 -run StoreSurvivesPowerCuts -seeds 40 -v

scale: ## PLAYERS players created, passivated, restarted: start-up, activation, memory
	go run ./internal/scale -players $(PLAYERS)

simulate: ## SEEDS fresh seeds of a cluster in one goroutine, everything that can break breaking; then each mechanism switched off
	go test ./internal/simulation -count=1 -timeout 0 -run 'TestSeed$$|TestMutations$$' -seeds=$(SEEDS) -v

torture: ## three voters as processes, kill -9, SIGSTOP and handovers under load for TIME, everything counted
	go run ./internal/torture -time $(TIME)

transfers: ## 10,000 transfers among players and chests, KILLS times kill -9 in the middle, everything counted
	go run ./internal/transfers -nodes $(NODES) -kills $(KILLS)

worlds: ## the VXC1 files in DATA (none: made ones) imported, killed, exported; small edits; paging
	go run ./internal/worlds -data "$(DATA)"

cluster: ## three nodes on this machine, joined; data in skerry-cluster/
	bash internal/threenodes.sh

failover: ## three nodes under load, killed ROUNDS times; SCENARIO freeze, drain, restart, upgrade, grow, partition, disasters
	go run ./internal/failover -scenario $(SCENARIO) -rounds $(ROUNDS)

catchup: ## a follower of MB MiB wiped under load: how long until it votes again, what the owner's callers see
	go run ./internal/catchup -mb $(MB)

load: ## skerry-load plays LOAD (steady, crash, autosave-storm, …) against nodes of its own
	go run ./cmd/skerry-load run $(LOAD)

reports: ## the load tests' report.html in a headless Chromium, wide and narrow, light and dark
	go run ./internal/reportcheck

vuln: ## known vulnerabilities in what is linked
	$(TOOL) govulncheck ./...

golden: ## add goldens of stored bytes that are new; never changes one that is there
	go test ./codec -run Golden -update
