package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// sortProperty is what a property may be called (rest-api §3.1).
var sortProperty = regexp.MustCompile(`^[A-Za-z0-9_-]*$`)

// pageRequest reads pageSize, page, textSearch, sortProperty and sortOrder.
func (a *api) pageRequest(r *http.Request) (entity.PageRequest, error) {
	q := r.URL.Query()
	size, err := number(r, "pageSize")
	if err != nil {
		return entity.PageRequest{}, err
	}
	page, err := number(r, "page")
	if err != nil {
		return entity.PageRequest{}, err
	}
	switch {
	case size < 1:
		return entity.PageRequest{}, invalid("pageSize", "must be at least 1")
	case size > int64(a.Settings.MaxPageSize):
		return entity.PageRequest{}, invalid("pageSize", fmt.Sprintf("must be at most %d", a.Settings.MaxPageSize))
	case page < 0:
		return entity.PageRequest{}, invalid("page", "must not be negative")
	}
	p := entity.PageRequest{Page: int(page), Size: int(size), Search: q.Get("textSearch"), Sort: q.Get("sortProperty")}
	if !sortProperty.MatchString(p.Sort) {
		return entity.PageRequest{}, invalid("sortProperty", "only letters, digits, _ and - are allowed")
	}
	p.Descending, err = descending(r, "sortOrder", false)
	return p, err
}

// descending reads ASC or DESC.
func descending(r *http.Request, name string, otherwise bool) (bool, error) {
	switch text := r.URL.Query().Get(name); strings.ToUpper(text) {
	case "":
		return otherwise, nil
	case "ASC":
		return false, nil
	case "DESC":
		return true, nil
	default:
		return false, invalid(name, fmt.Sprintf("%q is neither ASC nor DESC", text))
	}
}

// page is PageData (rest-api §3.1).
type page struct {
	Data          any  `json:"data"`
	TotalPages    int  `json:"totalPages"`
	TotalElements int  `json:"totalElements"`
	HasNext       bool `json:"hasNext"`
}

// paged shows a page, each item by show.
func paged[T, V any](found entity.Page[T], asked entity.PageRequest, show func(T) V) page {
	shown := make([]V, len(found.Items))
	for i, item := range found.Items {
		shown[i] = show(item)
	}
	pages := (found.Total + asked.Size - 1) / asked.Size
	return page{Data: shown, TotalPages: pages, TotalElements: found.Total, HasNext: asked.Page < pages-1}
}

// number reads a required integer parameter.
func number(r *http.Request, name string) (int64, error) {
	if !r.URL.Query().Has(name) {
		return 0, invalid(name, "is required")
	}
	return numberOr(r, name, 0)
}

// numberOr reads an integer parameter that may be left out.
func numberOr(r *http.Request, name string, otherwise int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, invalid(name, fmt.Sprintf("%q is not a whole number", text))
	}
	return n, nil
}

// flagOr reads a boolean parameter that may be left out.
func flagOr(r *http.Request, name string, otherwise bool) (bool, error) {
	switch text := strings.ToLower(r.URL.Query().Get(name)); text {
	case "":
		return otherwise, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	default:
		return false, invalid(name, fmt.Sprintf("%q is neither true nor false", text))
	}
}

// pathText reads a text of the path, which may hold any character.
func pathText(r *http.Request, name string) (string, error) {
	value := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return value, nil // decoded already
	}
	decoded, err := url.PathUnescape(value)
	if err != nil {
		return "", invalid(name, "is not a part of a path")
	}
	return decoded, nil
}

// pathID reads an id of the path.
func pathID(r *http.Request, name string) (ident.ID, error) {
	return parseID(name, chi.URLParam(r, name))
}

func parseID(name, text string) (ident.ID, error) {
	id, err := ident.Parse(text)
	if err != nil {
		return ident.ID{}, invalid(name, err.Error())
	}
	return id, nil
}

// queryID reads an id parameter that may be left out.
func queryID(r *http.Request, name string) (ident.ID, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return ident.ID{}, nil
	}
	return parseID(name, text)
}

// idList reads a comma-separated list of ids.
func idList(r *http.Request, name string) ([]ident.ID, error) {
	var ids []ident.ID
	for text := range strings.SplitSeq(r.URL.Query().Get(name), ",") {
		if text == "" {
			continue
		}
		id, err := parseID(name, text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// entityType reads an entity type by its name.
func entityType(name string) (ident.EntityType, error) {
	n, ok := sluicepb.EntityType_value[name]
	if !ok || n == 0 || ident.EntityType(n) == ident.UserSession || ident.EntityType(n) == ident.AdminSettings {
		return 0, invalid("entityType", fmt.Sprintf("%q is unknown", name))
	}
	return ident.EntityType(n), nil
}

// pathEntity reads the entity whose type and id the path names.
func pathEntity(r *http.Request) (ident.EntityID, error) {
	kind, err := entityType(chi.URLParam(r, "entityType"))
	if err != nil {
		return ident.EntityID{}, err
	}
	id, err := pathID(r, "entityId")
	return ident.EntityID{Type: kind, ID: id}, err
}

// ref is an entity's id as JSON (rest-api §3.2): {"entityType":…,"id":…}; none is the null id.
type ref struct{ ident.EntityID }

type refBody struct {
	EntityType string `json:"entityType"`
	ID         string `json:"id"`
}

// MarshalJSON implements json.Marshaler.
func (e ref) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"entityType":%q,"id":%q}`, e.Type.String(), auth.IDText(e.ID)), nil
}

func refOf(kind ident.EntityType, id ident.ID) ref { return ref{ident.EntityID{Type: kind, ID: id}} }

// optional is refOf, or nil, shown as null, for the zero id.
func optional(kind ident.EntityType, id ident.ID) *ref {
	if id.IsZero() {
		return nil
	}
	e := refOf(kind, id)
	return &e
}

// given is a ref somebody sent: null, or an object whose entityType may be left out.
type given refBody

// id reads what was sent for field as an id of the kind; null and the null id are zero.
func (g *given) id(field string, kind ident.EntityType) (ident.ID, error) {
	if g == nil || g.ID == "" && g.EntityType == "" {
		return ident.ID{}, nil
	}
	if g.EntityType != "" && g.EntityType != kind.String() {
		return ident.ID{}, invalid(field, fmt.Sprintf("entityType is %q, want %s", g.EntityType, kind))
	}
	id, err := auth.ParseID(g.ID)
	if err != nil {
		return ident.ID{}, invalid(field, err.Error())
	}
	return id, nil
}

// markup is what names may not look like: tags, and templates a page would fill in.
var markup = regexp.MustCompile(`<[A-Za-z/!]|\{\{.*\}\}`)

// checkText holds what people name things by to rest-api §1.6: at most 255 characters, no markup.
func checkText(field, value string) error {
	switch {
	case !utf8.ValidString(value):
		return invalid(field, "is not valid UTF-8")
	case utf8.RuneCountInString(value) > 255:
		return invalid(field, "length must be equal or less than 255")
	case markup.MatchString(value):
		return invalid(field, "is malformed: markup is not allowed")
	}
	return nil
}

// checkTexts checks fields, given as name and value in turn.
func checkTexts(fields ...string) error {
	for i := 0; i+1 < len(fields); i += 2 {
		if err := checkText(fields[i], fields[i+1]); err != nil {
			return err
		}
	}
	return nil
}
