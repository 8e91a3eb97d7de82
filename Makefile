# Sluice. `make help` lists what there is; `make verify` is what of CI needs no servers.
SHELL := bash
MODULES := $(shell sed -n 's/^\t\.\///p' go.work)
# Those whose tests take longest begin first, so that none is left alone at the end.
PACKAGES := ./services/js-executor ./services/mqtt-transport ./bus ./sluice/chain $(addprefix ./,$(addsuffix /...,$(filter-out tests,$(MODULES))))
FUZZTIME ?= 30s
# What ships is built without C, and so are the tests. The race detector needs it; what it finds nothing in, a binary
# of its own and the reading of sources, is not run under it.
export CGO_ENABLED := 0
race bench bench-fleet: export CGO_ENABLED := 1
RACED = $(PACKAGES) $(shell go list ./tests/... | grep -vE '/tests/(architecture|system)$$')

.PHONY: help build test test-modules test-platform race lint fix generate modules bench bench-fleet fuzz ledger clients conformance test-fleet test-compose verify demo

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

build: ## build the binary into bin/
	GOWORK="$$(tools/trim)" go build -ldflags '-s -w' -o bin/sluice ./sluice

demo: build ## everything in one process, with demo accounts and simulated devices
	./bin/sluice demo

test: ## the standard run: needs nothing but Go
	go list -export -deps $(PACKAGES) ./tests/... >/dev/null
	$(MAKE) --no-print-directory --jobs 2 test-modules test-platform

test-modules: # beside the other one: each waits more than it computes
	go test $(PACKAGES)

test-platform:
	go test -count=1 -p 1 -parallel 4 ./tests/system ./tests/...

race: ## the same under the race detector
	go test -race -vet=off $(RACED)

ledger: build ## kill -9 under load, twenty times, and check what was acknowledged against what is stored
	LEDGER_KILLS=20 go test -count=1 -v -timeout 20m -run 'TestLedger' ./tests/system

clients: build ## clients nobody here wrote: mosquitto, curl, libcoap, paho, aiocoap, Californium, the reference SDK and gateway
	tests/clients/run

test-fleet: ## the fleet on real Kafka, ZooKeeper, Cassandra, Redis and HAProxy; FULL=1 for all faults at full length
	FULL=$(FULL) RUN='$(RUN)' tests/fleet/run

test-compose: ## the fleet by docker compose, scaled under load (root; Debian packages)
	tests/compose/run

lint: ## vet, staticcheck, errcheck, formatting
	go vet work
	tools/lint

fix: ## repair what can be repaired
	tools/format -w
	go fix work

generate: ## everything that is generated, again
	cd tools && GOWORK=off go run ./protogen ../proto ../proto/gen
	go test ./sluice -run 'Reference' -update
	go test ./services/core-node/internal/rulenode -run 'Reference' -update

conformance: ## run the tests of the reference's cases and write docs/reference/conformance.md
	go test -count=1 ./tests/conformance -update

modules: ## level the go.mod files and tidy each
	tools/modules

bench: ## side by side with the bare broker, the bare store and the peers (Debian packages mosquitto, libcoap3-bin)
	go run ./tests/bench

bench-fleet: ## the same for a process per role, on real Kafka, ZooKeeper, Cassandra and Redis
	go run ./tests/bench --fleet

fuzz: ## each fuzz target for FUZZTIME
	tools/fuzz $(FUZZTIME)

verify: build lint test race ## what of CI needs no servers
	tools/alone
