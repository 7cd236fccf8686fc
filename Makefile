# Every target in one line of help: `make` alone lists them.
.DEFAULT_GOAL := help
TOOL := go tool -modfile=tools/go.mod
RACE := ./codec/... ./persistence/... ./actors/... ./gateway/... ./client/... ./node/... ./skerrytest/...
TIME ?= 60s
KILLS ?= 100
PLAYERS ?= 1000000

.PHONY: help run check test race fuzz lint generate bench crash scale vuln golden

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

run: ## one node on this machine, addresses printed
	go run ./cmd/skerry node

check: ## format, vet, lint, house, unit tests: before every push
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not formatted: run gofmt -w"; exit 1; }
	go vet ./...
	$(TOOL) golangci-lint run ./...
	go test -count=1 -run House .
	go test ./...

test: ## all tests
	go test ./...

race: ## the packages with goroutines again, with the race detector
	go test -race $(RACE)

fuzz: ## every Fuzz target in turn, TIME each; new crashers become testdata
	@bash internal/fuzzall.sh $(TIME)

lint: ## the linter alone
	$(TOOL) golangci-lint run ./...

generate: ## generated code from proto/
	bash codec/generate.sh

bench: ## N1, N2, N4, N5, N10 beside their baselines; for docs/performance.md
	go run ./internal/bench

crash: ## KILLS times kill -9 under load, everything acknowledged counted
	go run ./internal/crash -kills $(KILLS)

scale: ## PLAYERS players created, passivated, restarted: start-up, activation, memory
	go run ./internal/scale -players $(PLAYERS)

vuln: ## known vulnerabilities in what is linked
	$(TOOL) govulncheck ./...

golden: ## rewrite the datadriven files; read the diff
	go test ./gateway ./persistence/replication -rewrite
