# rplan: make, make demo, make test, make install. GNU make, Go; the tests install the rest.

VERSION := $(shell sed -n '1s/.*(\([^-)]*\).*/\1/p' contrib/debian/changelog)
PREFIX  ?= /usr
DESTDIR ?=
SBIN    := $(DESTDIR)$(PREFIX)/sbin
SHARE   := $(DESTDIR)$(PREFIX)/share

GO       ?= go
TAGS     := urfave_cli_no_docs,urfave_cli_no_suggest
LDFLAGS  := -s -w -X rplan/lib/app.Version=$(VERSION)
COMMANDS := $(notdir $(wildcard cmd/*))
SCHEDULE := $(patsubst contrib/%,%,$(wildcard contrib/cron/rp-* contrib/systemd/rp-*))
BUILD     = CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)'

# Pinned, so that what lint says does not depend on the day.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.0

.PHONY: all demo test soak lint bench fuzz lab install clean packages

all: $(COMMANDS:%=bin/%)

bin/%: FORCE
	$(BUILD) -o $@ ./cmd/$*
FORCE:

demo: all
	@sh contrib/example/demo.sh

packages:
	tests/install.sh

# One package at a time: most tests start real daemons, and machines are small.
test: packages all
	@mkdir -p build && rm -f build/skipped
	RPLAN_SKIPPED=$(CURDIR)/build/skipped $(GO) test -tags $(TAGS) -count 1 -p 1 -timeout 60m ./...
	@! [ -e build/skipped ] || { echo 'skipped, for want of something:'; sort -u build/skipped; }

# The long scenarios of tests/failover, again and again with other seeds; RPLAN_SCENARIO="kills out" RPLAN_SEED=N repeats one.
MINUTES ?= 30
soak: packages all
	@mkdir -p build
	RPLAN_SOAK=$(MINUTES) RPLAN_VERDICTS=$(CURDIR)/build/verdicts.json $(GO) test -tags $(TAGS) -count 1 -v -run TestSoak \
		-timeout $$(($(MINUTES) + 90))m ./tests/failover

lint: packages
	test -z "$$(gofmt -l cmd lib tests contrib)" || { gofmt -d cmd lib tests contrib; exit 1; }
	$(GO) vet -tags $(TAGS) ./...
	$(GO) run $(STATICCHECK) -tags $(TAGS) ./...
	tests/lint.sh

bench: packages all
	$(GO) run -tags $(TAGS) ./tests/bench

# How long each fuzzed parser is tried.
FUZZTIME ?= 30s
fuzz:
	tests/fuzz.sh $(FUZZTIME)

lab: packages all
	$(GO) build -tags $(TAGS) -o bin/lab ./tests/lab/cmd/lab
	bin/lab up

DOCS := ldap ssh postfix dovecot apache dns mailman3 initramfs doc
install: all
	install -d $(SBIN) $(SHARE)/man/man5 $(SHARE)/man/man7 $(SHARE)/man/man8 $(SHARE)/doc/rplan/contrib \
		$(SHARE)/bash-completion/completions $(SHARE)/zsh/vendor-completions $(SHARE)/fish/vendor_completions.d
	install -m 755 $(COMMANDS:%=bin/%) $(SBIN)
	install -m 644 man/*.5 $(SHARE)/man/man5
	install -m 644 man/*.7 $(SHARE)/man/man7
	install -m 644 man/*.8 $(SHARE)/man/man8
	for c in $(COMMANDS); do \
		install -m 644 completions/$$c.bash $(SHARE)/bash-completion/completions/$$c && \
		install -m 644 completions/_$$c $(SHARE)/zsh/vendor-completions/ && \
		install -m 644 completions/$$c.fish $(SHARE)/fish/vendor_completions.d/ || exit 1; \
	done
	install -m 644 README.md LICENSE $(SHARE)/doc/rplan
	cp -R $(DOCS:%=contrib/%) $(SHARE)/doc/rplan/contrib
	install -d $(SHARE)/doc/rplan/contrib/example $(SHARE)/doc/rplan/contrib/cron $(SHARE)/doc/rplan/contrib/systemd
	install -m 644 contrib/example/collective.ldif contrib/example/rplan.toml $(SHARE)/doc/rplan/contrib/example
	for f in $(SCHEDULE); do \
		sed 's,/usr/sbin/rp-,$(PREFIX)/sbin/rp-,g' contrib/$$f >$(SHARE)/doc/rplan/contrib/$$f || exit 1; \
	done

clean:
	rm -rf bin build
