package failover

import (
	"time"

	"rplan/lib/failover/merge"
	"rplan/lib/source"
)

// NodeReport is what a node says of itself.
type NodeReport struct {
	Node      string         `json:"node"`
	Time      time.Time      `json:"time"`      // by its own clock
	Version   string         `json:"version"`   // of rplan
	Dovecot   string         `json:"dovecot"`   // its version; "" where it is not installed
	Directory source.Version `json:"directory"` // of its copy; "" where it cannot be read
	Maps      MapsReport     `json:"maps"`
	Disks     []Disk         `json:"disks"`
	Unmounted []string       `json:"unmounted"` // directories on which something should be mounted
	Queue     int            `json:"queue"`     // messages in Postfix's queue; -1 if not known
	Sync      *SyncState     `json:"sync"`      // of the last pass; nil if there was none
}

// MapsReport is where a node's maps stand.
type MapsReport struct {
	Version source.Version `json:"version"` // that all of them have at least
	States  source.Version `json:"states"`  // from which the nodes' states are that they follow
	At      time.Time      `json:"at"`      // when they were last found or made current
	Error   string         `json:"error,omitempty"`
}

// Disk is a file system that holds mail or maps.
type Disk struct {
	Path  string `json:"path"`
	Free  uint64 `json:"free"` // bytes
	Total uint64 `json:"total"`
}

// free is the free share in percent.
func (d Disk) free() float64 {
	if d.Total == 0 {
		return 0
	}
	return 100 * float64(d.Free) / float64(d.Total)
}

// SyncState is sync.json in the state directory: the last pass of sync, for all peers.
type SyncState struct {
	At time.Time `json:"at"`
	merge.Report
}
