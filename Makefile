# The commands of CONTRIBUTING.md, one target each. GO may name another tool chain.
GO ?= go
TOOL = $(GO) tool -modfile=tools.mod
FUZZTIME ?= 10s

.PHONY: build test race lint gen golden fuzz faults faults-long bench bench-plan bench-scale bench-micro load e2e clean

build: ## the program, into ./slugfile
	CGO_ENABLED=0 $(GO) build -trimpath -o slugfile ./cmd/slugfile

test: ## what README.md promises: no network, no root
	$(GO) test ./...

race: ## the same under the race detector
	$(GO) test -timeout 30m -race ./...

lint: ## golangci-lint, and the module files are tidy
	$(TOOL) golangci-lint run
	$(GO) mod tidy -diff

gen: ## generated files: the schema and its reference
	$(GO) generate ./...

golden: ## rewrite golden files; read the diff before you commit it
	GOLDIE_UPDATE=true $(GO) test ./...

# Before Go 1.27 the end of the time is sometimes called a failure (go.dev/issue/75804). A finding is written to a file.
fuzz: ## every fuzz target for FUZZTIME each
	@set -e; for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "== $$p $$f"; \
	    if out=$$($(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$p 2>&1); then echo "$$out" | tail -n 3; continue; fi; \
	    echo "$$out"; \
	    case $$out in *"Failing input"*) exit 1;; *"context deadline exceeded"*) echo "the time was over while an input was tried: no finding";; *) exit 1;; esac; \
	  done; \
	done

# SLUGFILE_FAULTS_TABLE names a file for the table that is printed at the end; SLUGFILE_SEED takes the random cases
# of an earlier run back. In the directory of the package, so that go test prints the table.
faults: ## kills, signals, races and a broken network at the sizes that a change needs, and the explorer: under 12 minutes
	SLUGFILE_FAULTS=gate $(GO) test -count=1 -tags failpoint -run 'TestNames|TestSet' ./pipeline/failpoint
	SLUGFILE_FAULTS=gate $(GO) test -count=1 -timeout 30m -run '^TestApply_' ./pipeline
	SLUGFILE_FAULTS=gate $(GO) test -count=1 -timeout 30m -tags failpoint -run '^TestKill_' ./pipeline/platform/local
	SLUGFILE_FAULTS=gate $(GO) test -count=1 -timeout 30m -v -run '^TestSwitch_' ./pipeline/platform/local
	cd cmd/slugfile && SLUGFILE_FAULTS=gate $(GO) test -count=1 -timeout 30m -tags failpoint -run '^TestFault'

faults-long: ## the same for hours
	SLUGFILE_FAULTS=long $(GO) test -count=1 -timeout 12h -run '^TestApply_' ./pipeline
	SLUGFILE_FAULTS=long $(GO) test -count=1 -timeout 12h -tags failpoint -run '^TestKill_' ./pipeline/platform/local
	cd cmd/slugfile && SLUGFILE_FAULTS=long $(GO) test -count=1 -timeout 12h -tags failpoint -run '^TestFault'

# The trees are kept in SLUGFILE_BENCH_DIR, by default slugfile-bench in the user's cache
# directory: 1 GB, and 5 GB more on the same file system while a run lasts. Nothing else should run.
bench: ## slugfile beside tar, pigz, igzip and others, on three real trees: 20 minutes; apt and npm once
	SLUGFILE_BENCH=1 $(GO) test -count=1 -timeout 3h -run '^TestBenchPeers$$' -v ./cmd/slugfile

bench-plan: ## plan beside git status, on a checkout of 40,000 files: 1 minute
	SLUGFILE_BENCH=plan $(GO) test -count=1 -timeout 1h -run '^TestBenchPlan$$' -v ./cmd/slugfile

bench-scale: ## cost by entries (to 1,000,000) and by bytes (to 1 GB)
	SLUGFILE_BENCH=scale $(GO) test -count=1 -timeout 3h -run '^TestBenchScale$$' -v ./cmd/slugfile

bench-micro: ## go test -bench, and plan against version as whole processes
	$(GO) test -run '^$$' -bench . -benchmem ./...

load: ## 200 apps released by 16 processes on one platform with 3 % injected errors: 4 minutes
	SLUGFILE_LOAD=1 $(GO) test -count=1 -timeout 30m -run '^TestLoad' -v ./cmd/slugfile

# npm install --prefix DIR heroku@11.10.0, and DIR/node_modules/.bin/heroku on PATH, make the heroku command a part of it.
e2e: ## real runtimes from package clients (npm, apt), and the heroku command: needs the network
	SLUGFILE_E2E=1 $(GO) test -count=1 -timeout 15m -run 'TestArticle|TestExample|TestHerokuCommand|RealPrograms' -v ./cmd/slugfile
	SLUGFILE_E2E=1 $(GO) test -count=1 -run '^TestReal' -v ./pipeline/stack

clean:
	rm -f slugfile
