package diag

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestExitCode(t *testing.T) {
	inner := TryAgain.Errorf("reading %q: %w", "ldap://x", io.ErrUnexpectedEOF).WithHint("is %s running?", "slapd")
	for _, c := range []struct {
		err  error
		code int
		hint string
	}{
		{nil, 0, ""},
		{errors.New("plain"), 1, ""},
		{inner, 75, "is slapd running?"},
		{fmt.Errorf("wrapped: %w", inner), 75, "is slapd running?"},
		{Partial.Errorf("outer: %w", inner), 3, "is slapd running?"},
		{errors.Join(errors.New("first"), inner), 75, "is slapd running?"},
	} {
		if got := ExitCode(c.err); got != c.code {
			t.Errorf("ExitCode(%v) = %d, want %d", c.err, got, c.code)
		}
		if got := HintOf(c.err); got != c.hint {
			t.Errorf("HintOf(%v) = %q, want %q", c.err, got, c.hint)
		}
	}
	if !errors.Is(inner, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
}
