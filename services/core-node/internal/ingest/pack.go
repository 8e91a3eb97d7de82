package ingest

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// pack is records of one topic that are handled and stored together. Its slices are used again
// once everything in it has its fate, so that the usual pack allocates nothing.
type pack struct {
	source  *source
	records []bus.Record
	uplinks []values.Uplink // of records[i], where it is one
	// flights are the messages of all records; those of records[i] are flights[first[i]:first[i+1]].
	flights []rule.Flight
	places  []place
	hops    []rule.Hop // room for the paths of flights
	first   []int
	// broken says why records[i] is no message; empty when all are.
	broken map[int]error
	// open counts what has yet to get its fate, and the owner while it is busy with the pack.
	open int
	// running counts what has yet to end, of a queue that decides by packs what is tried again, and the owner likewise.
	running int
	began   time.Time
	next    int64 // the offset after the last record
}

// place is where a flight comes from. A flight's Owner points to one.
type place struct {
	pack   *pack
	record int // -1: an event of ours
	// running: it has been started and not ended; concluded: it has its fate.
	running, concluded bool
	timer              timer      // it comes from, if it has an id
	generator          *generator // whose time it is
}

// fill makes messages of records, which belong to the pack from now on.
func (p *pack) fill(records []bus.Record) {
	p.records, p.broken = records, nil
	p.next = records[len(records)-1].Offset + 1
	p.open, p.running = 1, 1
	p.uplinks = resize(p.uplinks, len(records))
	p.first = resize(p.first, len(records)+1)
	total := 0
	for i := range records {
		p.first[i] = total
		n, err := p.decode(i)
		if err != nil {
			p.fail(i, err)
		}
		total += n
	}
	p.first[len(records)] = total
	p.flights, p.places = resize(p.flights, total), resize(p.places, total)
	p.hops = resize(p.hops, total*hopsLent)
	for i := range records {
		p.address(i)
	}
}

// hopsLent is how long a flight's path may get before it needs memory of its own.
const hopsLent = 4

// resize returns s with length n, keeping what its elements hold where it can.
func resize[T any](s []T, n int) []T {
	if n <= cap(s) {
		return s[:n]
	}
	return append(s[:cap(s)], make([]T, n-cap(s))...)
}

func (p *pack) fail(record int, err error) {
	if p.broken == nil {
		p.broken = map[int]error{}
	}
	p.broken[record] = err
}

// decode reads record i and returns how many messages it makes.
func (p *pack) decode(i int) (int, error) {
	r, u := &p.records[i], &p.uplinks[i]
	if header(r, topics.KindHeader) == topics.KindRuleMessage {
		return 1, nil
	}
	if err := values.ParseUplink(r.Value, u); err != nil {
		return 0, err
	}
	if u.Device.IsZero() || u.Tenant.IsZero() {
		return 0, fmt.Errorf("uplink of no device or no tenant")
	}
	n := len(u.Telemetry)
	if len(u.Attributes) > 0 {
		n++
	}
	return n, nil
}

// address makes the messages of record i.
func (p *pack) address(i int) {
	from, to := p.first[i], p.first[i+1]
	for n := from; n < to; n++ {
		p.places[n] = place{pack: p, record: i}
		f := &p.flights[n]
		f.Reset(p.hops[n*hopsLent : n*hopsLent : (n+1)*hopsLent])
		f.Owner = &p.places[n]
		if header(&p.records[i], topics.KindHeader) == topics.KindRuleMessage {
			if err := readRuleMessage(p.records[i].Value, f); err != nil {
				p.fail(i, err)
			}
		} else {
			uplinkMessage(&p.uplinks[i], n-from, &f.Message)
		}
		if q := p.source.queue; q != nil && !q.Main() {
			f.Message.Queue = q.Name
		}
		f.Message.Record = p.records[i].Offset + 1
	}
}

// uplinkMessage makes the message of u's record index; the attributes come after the last of telemetry.
func uplinkMessage(u *values.Uplink, index int, m *rule.Message) {
	*m = rule.Message{
		ID: u.ID, Index: index, Tenant: u.Tenant, Originator: u.Device.Entity(), Customer: u.Customer, Profile: u.Profile,
		Type: rule.PostAttributes, Time: u.ReceivedAt / 1000, ReceivedAt: u.ReceivedAt,
		Metadata: rule.Metadata{DeviceName: u.DeviceName, DeviceType: u.DeviceType},
	}
	if index == len(u.Telemetry) {
		m.Metadata.NotifyOff = true
		m.Body = rule.BodyOf(u.Attributes)
		return
	}
	record := &u.Telemetry[index]
	m.Type, m.Time = rule.PostTelemetry, record.Time
	m.Metadata.HasTs, m.Metadata.Ts = true, record.Time
	m.Body = rule.BodyOf(record.Values)
}

func readRuleMessage(data []byte, f *rule.Flight) (err error) {
	var wire sluicepb.RuleMessage
	if err := proto.Unmarshal(data, &wire); err != nil {
		return fmt.Errorf("parse rule message: %w", err)
	}
	ids := make([]ident.ID, 4)
	for i, raw := range [...][]byte{wire.GetId(), wire.GetTenantId(), wire.GetOriginator().GetId(), wire.GetCustomerId()} {
		var err error
		if ids[i], err = ident.FromBytes(raw); err != nil {
			return fmt.Errorf("parse rule message: %w", err)
		}
	}
	if f.Position, err = readPosition(&wire); err != nil {
		return err
	}
	f.Executions = int(wire.GetNodeExecutions())
	m := &f.Message
	*m = rule.Message{
		ID: values.MessageID(ids[0]), Index: int(wire.GetIndex()), Queue: wire.GetQueueName(), Tenant: ident.TenantID{ID: ids[1]},
		Originator: ident.EntityID{Type: wire.GetOriginator().GetType(), ID: ids[2]}, Customer: ident.CustomerID{ID: ids[3]},
		Type: wire.GetType(), Time: wire.GetTimeMs(), ReceivedAt: wire.GetReceivedAtUs(),
		Metadata: rule.Metadata{}.WithAll(wire.GetMetadata()), Body: rule.TextBody(string(wire.GetData())),
	}
	if m.Tenant.IsZero() || m.Originator.ID.IsZero() {
		return fmt.Errorf("rule message of no tenant or no originator")
	}
	return nil
}

func header(r *bus.Record, key string) string {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return string(r.Headers[i].Value)
		}
	}
	return ""
}
