// Package relation keeps the relations between a tenant's entities: directed, typed, in groups.
//
// A relation is two rows: the one at its from side is the relation, the one at its to side says
// where to look. The latter is written first and removed last, and what is found by it is looked up, so
// that a kill in between leaves nothing that is seen.
package relation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/reference"
)

// Groups of relations. Relations people make are Common.
const (
	Common     = "COMMON"
	Dashboards = "DASHBOARD"
	RuleChains = "RULE_CHAIN"
	RuleNodes  = "RULE_NODE"
	Edges      = "EDGE"
	EdgeChains = "EDGE_AUTO_ASSIGN_RULE_CHAIN"
)

// Group returns the group of that name; unknown names are Common, as in the reference platform.
func Group(name string) string {
	if slices.Contains([]string{Dashboards, RuleChains, RuleNodes, Edges, EdgeChains}, name) {
		return name
	}
	return Common
}

// Contains is the type of most relations.
const Contains = "Contains"

// Key names a relation within a tenant.
type Key struct {
	From, To ident.EntityID
	Type     string // by convention Contains, Manages or Created
	Group    string // one of the groups; "" is Common
}

// Relation is one relation.
type Relation struct {
	Key
	AdditionalInfo json.RawMessage // any JSON, or none
	Version        int64           // 1 when new, +1 per save
}

// document is a Relation as the REST API and rule messages show it.
type document struct {
	From           reference.Entity `json:"from"`
	To             reference.Entity `json:"to"`
	Type           string           `json:"type"`
	TypeGroup      string           `json:"typeGroup"`
	AdditionalInfo json.RawMessage  `json:"additionalInfo"`
	Version        *int64           `json:"version"`
}

// MarshalJSON writes the relation as the REST API shows it.
func (r Relation) MarshalJSON() ([]byte, error) {
	info := r.AdditionalInfo
	if len(info) == 0 {
		info = json.RawMessage("null")
	}
	return json.Marshal(document{
		reference.Entity{EntityID: r.From}, reference.Entity{EntityID: r.To}, r.Type, r.Group, info, &r.Version,
	})
}

// UnmarshalJSON reads what MarshalJSON writes, and what people send. The errors are fault.Invalid.
func (r *Relation) UnmarshalJSON(text []byte) error {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return err
	}
	r.Key = Key{d.From.EntityID, d.To.EntityID, d.Type, Group(d.TypeGroup)}
	r.AdditionalInfo, r.Version = nil, 0
	if len(d.AdditionalInfo) > 0 && string(d.AdditionalInfo) != "null" {
		r.AdditionalInfo = d.AdditionalInfo
	}
	if d.Version != nil {
		r.Version = *d.Version
	}
	return nil
}

// maxType is how many characters a relation's type may have.
const maxType = 255

func (k *Key) complete() error {
	k.Group = Group(k.Group)
	switch {
	case k.From.ID.IsZero():
		return fault.New(fault.Invalid, "from: Relation should contain from entity!")
	case k.To.ID.IsZero():
		return fault.New(fault.Invalid, "to: Relation should contain to entity!")
	case k.Type == "":
		return fault.New(fault.Invalid, "type: Relation type should be specified!")
	case utf8.RuneCountInString(k.Type) > maxType:
		return fault.New(fault.Invalid, "type: length must be equal or less than 255")
	case !utf8.ValidString(k.Type) || strings.ContainsFunc(k.Type, unicode.IsControl):
		return fault.New(fault.Invalid, "type: contains a control character")
	}
	return nil
}

// Where rows lie: group "relation/<side>/<tenant>/<entity>", key group 0 type 0 other entity.

func rowGroup(side string, tenant ident.TenantID, e ident.EntityID) string {
	return "relation/" + side + "/" + tenant.String() + "/" + e.Type.String() + "/" + e.ID.String()
}

func rowKey(group, kind string, other ident.EntityID) []byte {
	key := append(append([]byte(group), 0), kind...)
	key = append(key, 0, byte(other.Type))
	return append(key, other.ID[:]...)
}

// readKey is rowKey's inverse.
func readKey(key []byte) (group, kind string, other ident.EntityID, err error) {
	g, rest, ok := bytes.Cut(key, []byte{0})
	k, rest, again := bytes.Cut(rest, []byte{0})
	if !ok || !again || len(rest) != 17 {
		return "", "", other, fmt.Errorf("malformed key %x of a relation", key)
	}
	other.Type = ident.EntityType(rest[0])
	copy(other.ID[:], rest[1:])
	return string(g), string(k), other, nil
}

// after returns the first key behind all that start with prefix, which ends in 0.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	end[len(end)-1] = 1
	return end
}
