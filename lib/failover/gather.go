package failover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/published"
	"rplan/lib/run"
	"rplan/lib/source"
)

// report says how this node is. What cannot be found out is left empty: the
// rest is worth knowing all the more.
func (s *server) report(ctx context.Context) *NodeReport {
	r := &NodeReport{Node: s.self, Version: app.Version, Unmounted: []string{}, Disks: []Disk{}, Queue: -1}
	r.Dovecot = s.dovecot(ctx)
	r.Queue = s.queue(ctx)
	r.Sync = s.lastSync()
	maps := s.mapsDir()
	mail := true // unless there are to be no mailboxes
	if state, err := published.Load(maps); err == nil {
		r.Maps.Version, r.Maps.States = state.Version(), state.States()
		mail = len(state.Wanted) == 0 || slices.Contains(state.Wanted, "dovecot")
	}
	r.Maps.At, _ = published.Checked(maps)
	r.Disks, r.Unmounted = s.disks(), s.unmounted(mail)
	r.Directory = s.directory(ctx)
	r.Time = s.now() // last, as it is the nearest to when it is read
	return r
}

// directory is the version of this node's copy; the other URLs are not this node's.
func (s *server) directory(ctx context.Context) source.Version {
	settings := s.config.Directory
	settings.URLs = settings.URLs[:min(1, len(settings.URLs))]
	settings.Timeout = min(settings.Timeout, statusTime/3)
	src, err := source.New(settings)
	if err != nil {
		return ""
	}
	v, _ := src.Version(ctx)
	return v
}

// dovecot is its version, such as "2.3.19.1".
func (s *server) dovecot(ctx context.Context) string {
	result, err := s.run(ctx, run.Cmd{Argv: []string{"dovecot", "--version"}, Timeout: statusTime / 3})
	if err != nil {
		return ""
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(result.Stdout)), " ")
	return version
}

// queue counts Postfix's messages; it looks at nobody's.
func (s *server) queue(ctx context.Context) int {
	result, err := s.run(ctx, run.Cmd{Argv: []string{"postqueue", "-j"}, Timeout: statusTime / 3, MaxOutput: 256 << 20})
	if err != nil {
		return -1
	}
	return bytes.Count(result.Stdout, []byte("\n"))
}

func (s *server) mapsDir() string { return s.config.mapsDir() }

// mapsDir is where rp-genmaps publishes.
func (c *configuration) mapsDir() string {
	output, _ := c.genmaps["output"].(string)
	return output
}

// mailDir is what all mailboxes are below.
func (s *server) mailDir() string {
	fixed, _, _ := strings.Cut(s.config.failover.Home, "%")
	return filepath.Dir(fixed + "x")
}

// disks are the file systems of mail and maps, each once.
func (s *server) disks() []Disk {
	disks := []Disk{}
	seen := map[syscall.Fsid]bool{}
	for _, path := range []string{s.mailDir(), s.mapsDir()} {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(existing(path), &fs); err != nil || seen[fs.Fsid] && fs.Fsid != (syscall.Fsid{}) {
			continue
		}
		seen[fs.Fsid] = true
		disks = append(disks, Disk{Path: path, Free: fs.Bavail * uint64(fs.Bsize), Total: fs.Blocks * uint64(fs.Bsize)})
	}
	return disks
}

// existing is the path, or what is there of it: a new node has no mail yet.
func existing(path string) string {
	for path != "/" {
		if _, err := os.Stat(path); err == nil {
			break
		}
		path = filepath.Dir(path)
	}
	return path
}

// unmounted are those directories of "mounts" on which nothing is mounted. Where
// that names none, the mail must be on another file system than the root: on that
// one is what was written while its own disk was not unlocked.
func (s *server) unmounted(mail bool) []string {
	missing := []string{}
	mounted := mountPoints()
	for _, dir := range s.config.failover.Mounts {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil || !mounted[real] {
			missing = append(missing, dir)
		}
	}
	if mail && len(s.config.failover.Mounts) == 0 {
		dir, _ := filepath.EvalSymlinks(existing(s.mailDir()))
		for !mounted[dir] && filepath.Dir(dir) != dir {
			dir = filepath.Dir(dir)
		}
		if dir == "/" {
			missing = append(missing, s.mailDir())
		}
	}
	return missing
}

// mountPoints are the directories on which something is mounted.
func mountPoints() map[string]bool {
	table, _ := os.ReadFile("/proc/self/mountinfo")
	mounted := map[string]bool{}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			mounted[unescape.Replace(fields[4])] = true
		}
	}
	return mounted
}

// syncPath is where sync says how its last pass went.
func (c *configuration) syncPath() string { return filepath.Join(c.failover.State, "sync.json") }

func (s *server) lastSync() *SyncState {
	text, err := os.ReadFile(s.config.syncPath())
	if err != nil {
		return nil
	}
	state := &SyncState{}
	if json.Unmarshal(text, state) != nil {
		return nil
	}
	return state
}

// exitKind is the kind that one of rplan's programs ended with.
func exitKind(err error) diag.Kind {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return diag.Kind(exit.ExitCode())
	}
	return diag.KindOf(err)
}

// brief is an error and its hint in one line, for a place where there is room for no more.
func brief(err error) string {
	const most = 400
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	if hint := diag.HintOf(err); hint != "" {
		text += "; hint: " + hint
	}
	return text
}

// age is how long ago something was, by the node's own clock; -1 if never.
func (r *NodeReport) age(t time.Time) time.Duration {
	if t.IsZero() {
		return -1
	}
	return max(0, r.Time.Sub(t))
}
