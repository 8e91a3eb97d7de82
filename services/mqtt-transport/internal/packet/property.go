package packet

// Property identifiers of MQTT 5 (§2.2.2.2).
const (
	payloadFormat          = 1
	messageExpiry          = 2
	contentType            = 3
	responseTopic          = 8
	correlationData        = 9
	subscriptionIdentifier = 11
	sessionExpiry          = 17
	assignedClientID       = 18
	serverKeepAlive        = 19
	authMethod             = 21
	authData               = 22
	requestProblemInfo     = 23
	willDelay              = 24
	requestResponseInfo    = 25
	reasonString           = 31
	receiveMaximum         = 33
	topicAliasMaximum      = 34
	topicAlias             = 35
	maximumQoS             = 36
	userProperty           = 38
	maximumPacketSize      = 39
	subscriptionIDs        = 41
	sharedSubscriptions    = 42
)

// properties are those of a client's packet that matter to the server; the others are checked and dropped.
type properties struct {
	sessionExpiry     uint32
	receiveMaximum    uint16
	maximumPacketSize uint32
	topicAlias        uint16
	authMethod        bool
}

// set is a set of property identifiers.
type set uint64

func setOf(ids ...uint) set {
	var s set
	for _, id := range ids {
		s |= 1 << id
	}
	return s
}

func (s set) has(id int) bool { return id < 64 && s>>id&1 == 1 }

// The properties that may be in each packet a client sends. §3.x.2 of each packet.
var (
	inConnect = setOf(sessionExpiry, receiveMaximum, maximumPacketSize, topicAliasMaximum, requestResponseInfo,
		requestProblemInfo, userProperty, authMethod, authData)
	inWill = setOf(willDelay, payloadFormat, messageExpiry, contentType, responseTopic, correlationData, userProperty)
	// A client's PUBLISH must not carry a subscription identifier (MQTT-3.3.4-6).
	inPublish     = setOf(payloadFormat, messageExpiry, topicAlias, responseTopic, correlationData, userProperty, contentType)
	inAck         = setOf(reasonString, userProperty)
	inSubscribe   = setOf(subscriptionIdentifier, userProperty)
	inUnsubscribe = setOf(userProperty)
	inDisconnect  = setOf(sessionExpiry, reasonString, userProperty)
)

// properties reads the property block that comes next; allowed are those that may be in it.
func (f *fields) properties(allowed set) (p properties) {
	block := fields{b: f.take(f.varint())}
	var seen set
	for len(block.b) > 0 && block.err == nil {
		id := block.varint()
		if block.err != nil {
			break
		}
		if !allowed.has(id) {
			block.fail(ErrProperty)
			break
		}
		if seen.has(id) && id != userProperty {
			block.fail(ErrPropertyDup)
			break
		}
		seen |= 1 << id
		block.property(id, &p)
	}
	if block.err != nil {
		f.fail(block.err)
	}
	return p
}

// property reads the value of one property, by the type it has.
func (f *fields) property(id int, p *properties) {
	switch id {
	case payloadFormat, requestProblemInfo, requestResponseInfo:
		if f.byte() > 1 {
			f.fail(ErrPropertyDup)
		}
	case messageExpiry, willDelay:
		f.uint32()
	case contentType, responseTopic, reasonString:
		f.text()
	case authMethod:
		f.text()
		p.authMethod = true
	case correlationData, authData:
		f.binary()
	case userProperty:
		f.text()
		f.text()
	case topicAliasMaximum:
		f.uint16()
	case sessionExpiry:
		p.sessionExpiry = f.uint32()
	case receiveMaximum:
		if p.receiveMaximum = f.uint16(); p.receiveMaximum == 0 {
			f.fail(ErrPropertyDup)
		}
	case maximumPacketSize:
		if p.maximumPacketSize = f.uint32(); p.maximumPacketSize == 0 {
			f.fail(ErrPropertyDup)
		}
	case topicAlias:
		if p.topicAlias = f.uint16(); p.topicAlias == 0 {
			f.fail(ErrAlias)
		}
	case subscriptionIdentifier:
		if f.varint() == 0 {
			f.fail(ErrPropertyDup)
		}
	}
}
