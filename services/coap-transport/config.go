package coaptransport

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// Config is what operators set. Every bound on what devices can make grow is here.
type Config struct {
	Listen string `name:"coap-listen" default:":5683" help:"UDP address for CoAP; empty for none."`

	DTLSListen               string        `name:"coap-dtls-listen" default:"" help:"UDP address for CoAP over DTLS; empty: port 5684 when there are certificates. Without certificates devices prove themselves by keys: the user name and the password of their MQTT_BASIC credentials."`
	DTLSCertificates         string        `name:"coap-dtls-certificates" default:"" help:"Folder of certificates for DTLS: *.pem with chain and key, or NAME.crt with NAME.key; or one such file. Changed files are read again."`
	DTLSSessions             int           `name:"coap-dtls-sessions" default:"20000" help:"Most DTLS connections; beyond it one that is idle for ten minutes makes room, or the new one is refused."`
	DTLSHandshakes           int           `name:"coap-dtls-handshakes" default:"1000" help:"DTLS connections that are being made at a time; the next ends the oldest of them."`
	DTLSHandshakesPerAddress int           `name:"coap-dtls-handshakes-per-address" default:"64" help:"The same of one address, whose next is refused."`
	DTLSHandshakeTimeout     time.Duration `name:"coap-dtls-handshake-timeout" default:"30s" help:"How long making a DTLS connection may take."`
	DTLSFailures             int           `name:"coap-dtls-failures" default:"60" help:"How often one address may fail to prove who it is in a minute; then it is not listened to until the minute ends."`
	DTLSIdle                 time.Duration `name:"coap-dtls-idle" default:"24h" help:"How long a DTLS connection lasts without a datagram."`

	MaxPayloadBytes    int `name:"coap-max-payload" default:"8192" help:"Largest payload of one request in bytes; a larger one is answered 4.13."`
	MaxUploadBytes     int `name:"coap-max-upload" default:"262144" help:"Largest payload of a request that comes in several blocks, in bytes; a larger one is answered 4.13."`
	Uploads            int `name:"coap-uploads" default:"2" help:"Requests of one endpoint that may come in blocks at a time; the next ends the oldest."`
	UploadBytes        int `name:"coap-upload-bytes" default:"33554432" help:"Bytes of all requests that come in blocks and are not whole yet; the next block is answered 5.03."`
	MaxAnswerBytes     int `name:"coap-max-answer" default:"1024" help:"Largest payload sent at once in bytes, 16 to 1024; a larger one goes in blocks."`
	AnswerBytes        int `name:"coap-answer-bytes" default:"33554432" help:"Bytes of answers and notifications that are kept while they are fetched in blocks; beyond it the oldest is made anew when asked for."`
	Fetches            int `name:"coap-fetches" default:"10000" help:"Devices whose firmware or software is remembered while they fetch it; beyond it they are looked up for every block."`
	InHand             int `name:"coap-in-hand" default:"20000" help:"Requests worked on at once; the next is answered 5.03."`
	Waiting            int `name:"coap-waiting" default:"1000" help:"Requests that wait for the core or for room on the bus at once; the next is answered 5.03."`
	Remembered         int `name:"coap-remembered" default:"100000" help:"Answered requests remembered to recognise their retransmissions; beyond it the oldest is forgotten."`
	RememberedBytes    int `name:"coap-remembered-bytes" default:"33554432" help:"Bytes of the answers remembered; beyond it the oldest is forgotten."`
	Retransmitting     int `name:"coap-retransmitting" default:"10000" help:"Separate responses and notifications that wait for their acknowledgement; beyond it they are sent once."`
	OutboxBytes        int `name:"coap-outbox-bytes" default:"4194304" help:"Bytes of datagrams that wait to be sent; beyond it they are dropped."`
	ReceiveBufferBytes int `name:"coap-receive-buffer" default:"4194304" help:"Receive buffer asked of the kernel, in bytes; it may grant less."`
	Batch              int `name:"coap-batch" default:"64" help:"Datagrams read or written by one system call."`

	Observers       int           `name:"coap-observers" default:"100000" help:"Devices that observe; the next is answered 5.03."`
	ObserveRequests int           `name:"coap-observe-requests" default:"64" help:"Requests that wait for one observing device; the next is not delivered."`
	ObserveKeys     int           `name:"coap-observe-keys" default:"1000" help:"Changed attributes that wait for one observing device; more are left out."`
	ObserveProbe    time.Duration `name:"coap-observe-probe" default:"1h" help:"How long nothing may be heard of an observing device until it is asked whether it is there."`

	AmplificationFactor int `name:"coap-amplification" default:"3" help:"How many times its request an answer may be long while the sender has not shown that it receives what is sent to its address."`
	AmplificationTrials int `name:"coap-amplification-trials" default:"16" help:"Longer answers that one address gets in a minute all the same, each asking for an acknowledgement; the next is 4.01 with an Echo to send back."`
	KnownPeers          int `name:"coap-known-peers" default:"200000" help:"Addresses remembered to be their senders'; beyond it the oldest are forgotten."`

	PiggybackTimeout time.Duration `name:"coap-piggyback-timeout" default:"500ms" help:"How long a request may take before it is acknowledged without its response."`
	Patience         time.Duration `name:"coap-patience" default:"10s" help:"How long a request waits for the core or for room on the bus."`
	BlockLifetime    time.Duration `name:"coap-block-lifetime" default:"4m" help:"How long a request waits for its next block, and an answer in blocks to be fetched."`
	RetryAfter       time.Duration `name:"coap-retry-after" default:"5s" help:"When a refused device may try again, in Max-Age of 5.03 and 4.29."`
	DrainTimeout     time.Duration `name:"coap-drain-timeout" default:"12s" help:"How long a stopping service waits for the requests in hand."`
}

// ListenDTLS sets where DTLS is listened for when there are certificates and the operator said nothing: at the port that is
// CoAP's under DTLS, beside host ("": all addresses).
func (c *Config) ListenDTLS(host string) {
	if c.DTLSCertificates != "" && c.DTLSListen == "" {
		c.DTLSListen = net.JoinHostPort(host, "5684")
	}
}

// maxDatagram is what UDP over IPv4 can carry.
const maxDatagram = 65507

// optionsAllowance is what header, token and options of a request may add to its payload
// before it counts as too large.
const optionsAllowance = 1280

// minBlock and maxBlock are the sizes of blocks there can be (RFC 7959 §2.2).
const (
	minBlock = 16
	maxBlock = 1024
)

// smallAnswer is how long any answer may be, in bytes (RFC 9175 §2.4).
const smallAnswer = 136

// check refuses settings that cannot work, naming them.
func (c *Config) check() error {
	var wrong []error
	for _, s := range []struct {
		name         string
		value, least int64
	}{
		{"coap-max-payload", int64(c.MaxPayloadBytes), 1},
		{"coap-dtls-sessions", int64(c.DTLSSessions), 1},
		{"coap-dtls-handshakes", int64(c.DTLSHandshakes), 1},
		{"coap-dtls-handshakes-per-address", int64(c.DTLSHandshakesPerAddress), 1},
		{"coap-dtls-handshake-timeout", int64(c.DTLSHandshakeTimeout), int64(time.Second)},
		{"coap-dtls-failures", int64(c.DTLSFailures), 1},
		{"coap-dtls-idle", int64(c.DTLSIdle), int64(time.Second)},
		{"coap-max-upload", int64(c.MaxUploadBytes), 1},
		{"coap-uploads", int64(c.Uploads), 1},
		{"coap-upload-bytes", int64(c.UploadBytes), 1},
		{"coap-max-answer", int64(c.MaxAnswerBytes), minBlock},
		{"coap-answer-bytes", int64(c.AnswerBytes), 1},
		{"coap-fetches", int64(c.Fetches), 1},
		{"coap-remembered-bytes", int64(c.RememberedBytes), 1},
		{"coap-observers", int64(c.Observers), 0},
		{"coap-observe-requests", int64(c.ObserveRequests), 1},
		{"coap-observe-keys", int64(c.ObserveKeys), 1},
		{"coap-observe-probe", int64(c.ObserveProbe), int64(time.Minute)},
		{"coap-amplification", int64(c.AmplificationFactor), 1},
		{"coap-amplification-trials", int64(c.AmplificationTrials), 0},
		{"coap-known-peers", int64(c.KnownPeers), 2},
		{"coap-block-lifetime", int64(c.BlockLifetime), int64(time.Second)},
		{"coap-in-hand", int64(c.InHand), 1},
		{"coap-waiting", int64(c.Waiting), 1},
		{"coap-remembered", int64(c.Remembered), 1},
		{"coap-retransmitting", int64(c.Retransmitting), 0},
		{"coap-outbox-bytes", int64(c.OutboxBytes), maxDatagram},
		{"coap-receive-buffer", int64(c.ReceiveBufferBytes), 1},
		{"coap-batch", int64(c.Batch), 1},
		{"coap-piggyback-timeout", int64(c.PiggybackTimeout), 1},
		{"coap-patience", int64(c.Patience), 1},
		{"coap-retry-after", int64(c.RetryAfter), int64(time.Second)},
		{"coap-drain-timeout", int64(c.DrainTimeout), 0},
	} {
		if s.value < s.least {
			wrong = append(wrong, fmt.Errorf("%s: must be at least %d", s.name, s.least))
		}
	}
	if c.MaxPayloadBytes > maxDatagram {
		wrong = append(wrong, fmt.Errorf("coap-max-payload: a datagram holds at most %d", maxDatagram))
	}
	if c.DTLSCertificates != "" && c.DTLSListen == "" {
		wrong = append(wrong, errors.New("coap-dtls-certificates: needs coap-dtls-listen"))
	}
	if c.MaxAnswerBytes > maxBlock {
		wrong = append(wrong, fmt.Errorf("coap-max-answer: a block holds at most %d", maxBlock))
	}
	return errors.Join(wrong...)
}
