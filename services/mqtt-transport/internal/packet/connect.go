package packet

// Connect is a CONNECT (§3.1). Its will is checked and dropped: there are no wills.
type Connect struct {
	Version                      Version
	Clean                        bool
	KeepAlive                    uint16 // seconds; 0 is none
	ClientID, Username, Password []byte
	HasUsername, HasPassword     bool

	// MQTT 5; zero is not given.
	SessionExpiry     uint32 // seconds
	ReceiveMaximum    uint16
	MaximumPacketSize uint32
	ExtendedAuth      bool
}

// Connect flags (§3.1.2.3).
const (
	connectReserved = 1 << 0
	connectClean    = 1 << 1
	connectWill     = 1 << 2
	connectWillQoS  = 3 << 3
	connectRetain   = 1 << 5
	connectPassword = 1 << 6
	connectUsername = 1 << 7
)

// maxClientID31 is how long a client identifier may be in MQTT 3.1.
const maxClientID31 = 23

// ParseConnect reads the body of a CONNECT. With ErrVersion nothing may be answered: who sent it
// does not speak MQTT, or a version that has no answer in common with ours.
func ParseConnect(body []byte) (Connect, *Error) {
	f := fields{b: body}
	name, level := f.binary(), Version(f.byte())
	flags := f.byte()
	c := Connect{Version: level, Clean: flags&connectClean != 0, KeepAlive: f.uint16()}
	switch {
	case f.err != nil:
		return Connect{}, f.err
	case level == V31 && string(name) == "MQIsdp", (level == V311 || level == V5) && string(name) == "MQTT":
	default:
		return Connect{}, ErrVersion
	}
	if flags&connectReserved != 0 {
		return c, ErrFlags
	}
	if level == V5 {
		p := f.properties(inConnect)
		c.SessionExpiry, c.ReceiveMaximum, c.MaximumPacketSize = p.sessionExpiry, p.receiveMaximum, p.maximumPacketSize
		c.ExtendedAuth = p.authMethod
	}
	c.ClientID = f.text()
	if level == V31 && f.err == nil && (len(c.ClientID) == 0 || len(c.ClientID) > maxClientID31) {
		return c, ErrClientID
	}
	f.will(flags, level)
	if c.HasUsername = flags&connectUsername != 0; c.HasUsername {
		c.Username = f.text()
	}
	if c.HasPassword = flags&connectPassword != 0; c.HasPassword {
		c.Password = f.binary()
	}
	return c, f.end()
}

// will passes over the will, checking what may not be (§3.1.2.5 to §3.1.2.7, §3.1.3.2).
func (f *fields) will(flags byte, v Version) {
	if flags&connectWill == 0 {
		if flags&(connectWillQoS|connectRetain) != 0 && v != V31 {
			f.fail(ErrFlags)
		}
		return
	}
	if flags&connectWillQoS == connectWillQoS {
		f.fail(ErrQoS)
		return
	}
	if v == V5 {
		f.properties(inWill)
	}
	f.text()
	f.binary()
}
