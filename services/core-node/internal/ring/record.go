package ring

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"time"
)

// record is who took a partition last: the content of leases/<p>, which lives as long as its session, and of epochs/<p>, which stays.
type record struct {
	Epoch   int64  `json:"epoch"`
	Node    string `json:"node"`
	Session string `json:"session"`
	// Released: the owner has returned, and acts no more.
	Released bool `json:"released"`
}

func (r record) encode() []byte {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings, a number and a bool
	}
	return data
}

func decodeRecord(data []byte) (r record, err error) {
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("parse %q: %w", data, err)
	}
	return r, nil
}

// Node is one live node, as it has registered.
type Node struct {
	ID        string            `json:"id"`
	Addresses map[string]string `json:"addresses"`
	Since     time.Time         `json:"since"`
}

// layout is where the znodes are.
type layout string

func (l layout) nodes() string         { return path.Join(string(l), "nodes") }
func (l layout) node(id string) string { return path.Join(string(l), "nodes", id) }
func (l layout) leases() string        { return path.Join(string(l), "leases") }
func (l layout) lease(p int) string    { return path.Join(string(l), "leases", strconv.Itoa(p)) }
func (l layout) epochs() string        { return path.Join(string(l), "epochs") }
func (l layout) epoch(p int) string    { return path.Join(string(l), "epochs", strconv.Itoa(p)) }
func sessionName(id int64) string      { return "0x" + strconv.FormatUint(uint64(id), 16) }
func (l layout) folders() (all []string) {
	for i, c := range string(l) {
		if c == '/' && i > 0 {
			all = append(all, string(l)[:i])
		}
	}
	return append(all, string(l), l.nodes(), l.leases(), l.epochs())
}

var errNodeID = errors.New("--node-id: must be a name without slashes")
