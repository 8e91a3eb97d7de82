package selection

import (
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// AppendBare appends a point as {ts:1,value:2}: metadata carries points with names that are not quoted, also within
// values that are objects, and existing scripts read them so.
func AppendBare(dst []byte, p storage.Point) []byte {
	dst = strconv.AppendInt(append(dst, "{ts:"...), p.Time, 10)
	dst = append(dst, ",value:"...)
	if p.Value.Kind == telemetry.JSON {
		dst = appendBareJSON(dst, p.Value.Text())
	} else {
		dst = history.AppendStrict(dst, p.Value)
	}
	return append(dst, '}')
}

// appendBareJSON appends a value with the quotes of its names taken off. What is no JSON stays as it is.
func appendBareJSON(dst []byte, text string) []byte {
	dec := jsontext.NewDecoder(strings.NewReader(text), jsontext.AllowDuplicateNames(true))
	start := len(dst)
	for {
		kind, written := dec.StackIndex(dec.StackDepth())
		token, err := dec.ReadToken()
		if err == io.EOF {
			return dst
		}
		if err != nil {
			return append(dst[:start], text...)
		}
		opens := token.Kind() != '}' && token.Kind() != ']'
		isName := kind == '{' && written%2 == 0 && opens
		switch {
		case kind == '{' && written%2 == 1:
			dst = append(dst, ':')
		case opens && written > 0 && dec.StackDepth() > 0:
			dst = append(dst, ',')
		}
		switch {
		case isName:
			dst = append(dst, token.String()...)
		case token.Kind() == '"':
			dst = append(dst, object.Quote(token.String())...)
		default:
			dst = append(dst, token.String()...)
		}
	}
}
