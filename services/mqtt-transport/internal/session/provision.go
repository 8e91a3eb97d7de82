package session

import (
	"context"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
)

// provisioning is the user name, or client id, of a client that comes for credentials (device-api §1.11). It is nobody yet: all it
// may do is to ask for them.
const provisioning = "provision"

// afterProvisioning is how long a client may stay once it was answered.
const afterProvisioning = 60 * time.Second

// nobody is the session of a client that is no device.
type nobody struct{}

func (nobody) ID() ident.ID      { return ident.ID{} }
func (nobody) Active()           {}
func (nobody) SubscribeRPC(bool) {}
func (nobody) Close()            {}

// publishNobody takes on a PUBLISH of a client that is no device.
func (s *Session) publishNobody(ctx context.Context, m, before *message, p *packet.Publish) Verdict {
	if topic.Find(p.Topic).Action != topic.Provision {
		return s.conclude(m, outcome{fate: UnknownTopic, reason: packet.TopicNameInvalid, fatal: true, acknowledge: true})
	}
	if !s.beginRead() {
		s.withdraw(m, before)
		return Pause
	}
	request := append([]byte(nil), p.Payload...)
	s.hub.reads.Go(func() {
		s.provision(ctx, m, request)
		s.endRead()
	})
	return More
}

// provision asks for credentials, acknowledges m and answers.
func (s *Session) provision(ctx context.Context, m *message, request []byte) {
	answer, _, err := s.hub.platform.Provision(ctx, request, true, s.wire.Peer().Address)
	switch {
	case fault.KindOf(err) == fault.Invalid && jsontext.Value(request).IsValid():
		// It can be read, but does not say what it must.
		s.conclude(m, outcome{fate: Malformed, reason: packet.ImplementationError, fatal: true, acknowledge: s.version == packet.V5})
	case err != nil:
		s.conclude(m, s.outcomeOf(err, m.qos))
	default:
		s.finish(m, outcome{fate: Answered})
		s.mu.Lock()
		defer s.mu.Unlock()
		s.send(topic.ProvisionedFilter, topic.Provisioned, answer)
		s.requestDue.Store(s.hub.now.Load() + s.hub.ticksFor(afterProvisioning))
	}
}
