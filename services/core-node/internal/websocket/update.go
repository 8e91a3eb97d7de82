package websocket

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// The error codes of a frame (rest-api §4.4).
const (
	codeFailed   = 1 // internal, denied or not found
	codeBad      = 2
	codeTooMany  = 34
	deletedAt    = 0 // the time a deleted value is shown with; its value is empty
	frameReserve = 64
)

// update is one frame on its way to a client: the points of one subscription, by key.
type update struct {
	subscription int64
	series       []history.Series
	answer       bool           // to a command: it is sent whole, never merged
	index        map[string]int // of series by key, once updates are merged
	bytes        int
}

// newAnswer is the first reply to a command: keys without points are left out.
func newAnswer(subscription int64, series []history.Series) *update {
	u := newUpdate(subscription, slices.DeleteFunc(series, func(s history.Series) bool { return len(s.Points) == 0 }))
	u.answer = true
	return u
}

func newUpdate(subscription int64, series []history.Series) *update {
	u := &update{subscription: subscription, series: series, bytes: frameReserve}
	for _, s := range series {
		u.bytes += seriesBytes(s)
	}
	return u
}

const pointBytes = 32

func seriesBytes(s history.Series) int {
	n := len(s.Key)
	for _, p := range s.Points {
		n += pointBytes + len(p.Value.Text())
	}
	return n
}

// merge takes over newer's points, which replace those of the same keys: who is slow gets the latest.
func (u *update) merge(newer *update) {
	if u.index == nil {
		u.index = make(map[string]int, len(u.series))
		for i, s := range u.series {
			u.index[s.Key] = i
		}
	}
	for _, s := range newer.series {
		if i, ok := u.index[s.Key]; ok {
			u.bytes -= seriesBytes(u.series[i])
			u.series[i] = s
		} else {
			u.index[s.Key] = len(u.series)
			u.series = append(u.series, s)
		}
		u.bytes += seriesBytes(s)
	}
}

// appendTo writes the v1 update message (rest-api §4.4), keys sorted.
func (u *update) appendTo(dst []byte) []byte {
	slices.SortFunc(u.series, func(a, b history.Series) int { return strings.Compare(a.Key, b.Key) })
	u.index = nil
	dst = append(dst, `{"subscriptionId":`...)
	dst = strconv.AppendInt(dst, u.subscription, 10)
	dst = append(dst, `,"errorCode":0,"errorMsg":null,"data":{`...)
	for i, s := range u.series {
		dst = appendName(dst, i, s.Key)
		dst = append(dst, '[')
		for j, p := range s.Points {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '[')
			dst = strconv.AppendInt(dst, p.Time, 10)
			dst = append(dst, ',')
			dst = history.AppendText(dst, p.Value)
			dst = append(dst, ']')
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `},"latestValues":{`...)
	for i, s := range u.series {
		dst = appendName(dst, i, s.Key)
		dst = strconv.AppendInt(dst, s.Points[len(s.Points)-1].Time, 10)
	}
	return append(dst, "}}"...)
}

func appendName(dst []byte, i int, name string) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	return append(history.AppendString(dst, name), ':')
}

// errorFrame is the message of a command that failed.
func errorFrame(subscription int64, code int, message string) []byte {
	dst := append([]byte(`{"subscriptionId":`), strconv.FormatInt(subscription, 10)...)
	dst = append(dst, `,"errorCode":`...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, `,"errorMsg":`...)
	dst = history.AppendString(dst, message)
	return append(dst, `,"data":null,"latestValues":{}}`...)
}

// one is a series of a single point.
func one(key string, at int64, v telemetry.Value) history.Series {
	return history.Series{Key: key, Points: []storage.Point{{Time: at, Value: v}}}
}
