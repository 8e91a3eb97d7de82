package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
)

// kafka-go's metadata stops before the version that tells topics' ids (Kafka 2.8), so that one question
// is framed here. Its fields are of the protocol's "flexible" kind: lengths are varints, one too large.
const keyMetadata, versionMetadata = 3, 10

// maxLayout bounds the answer about one topic: it names every broker of the cluster.
const maxLayout = 1 << 20

// TopicID returns the id that the cluster gave a topic when it was made.
func (d *Dialer) TopicID(ctx context.Context, topic string) (id [16]byte, err error) {
	c, err := d.Any(ctx)
	if err != nil {
		return id, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	release, err := c.limit(ctx, c.timeout)
	if err != nil {
		return id, err
	}
	defer release()
	name := d.Prefix + topic
	c.begin(keyMetadata, versionMetadata)
	c.frame.int8(0) // no tags in the header
	c.frame.int8(2) // one topic
	c.frame = append(c.frame, make([]byte, 16)...)
	c.frame = binary.AppendUvarint(c.frame, uint64(len(name))+1)
	c.frame = append(c.frame, name...)
	c.frame.int8(0) // no tags
	c.frame.int8(0) // do not create it
	c.frame.int8(0) // nor tell who may do what, in the cluster
	c.frame.int8(0) // or the topic
	c.frame.int8(0) // no tags
	if err := c.send(nil); err != nil {
		return id, fmt.Errorf("ask for the id of %s: %w", topic, err)
	}
	answer, err := c.receive(maxLayout)
	if err != nil {
		return id, fmt.Errorf("ask for the id of %s: %w", topic, err)
	}
	id, code, err := topicIDAnswer(answer, name)
	if err == nil && code != 0 {
		err = code
	}
	if err != nil {
		return id, fmt.Errorf("ask for the id of %s: %w", topic, err)
	}
	return id, nil
}

// topicIDAnswer reads a Metadata v10 response to a question about one topic, as far as its id.
func topicIDAnswer(answer []byte, topic string) (id [16]byte, code kafka.Error, err error) {
	f := fields{bytes: answer}
	f.tags()
	f.skip(4) // throttle time
	for range f.compactCount(4 + 1 + 4 + 1 + 1) {
		f.skip(4) // broker
		f.compact()
		f.skip(4) // port
		f.compact()
		f.tags()
	}
	f.compact() // cluster
	f.skip(4)   // controller
	topics := f.compactCount(2 + 1 + 16)
	code = kafka.Error(f.int16())
	name := f.compact()
	copy(id[:], f.take(len(id)))
	if f.bad || topics != 1 || string(name) != topic {
		return [16]byte{}, 0, errAnswer
	}
	return id, code, nil
}

// uvarint reads a length.
func (f *fields) uvarint() int {
	v, n := binary.Uvarint(f.bytes)
	if n <= 0 || v > uint64(len(f.bytes)) {
		f.bad, f.bytes = true, nil
		return 0
	}
	f.take(n)
	return int(v)
}

// compact reads text or bytes that state their length plus one; null is empty.
func (f *fields) compact() []byte { return f.take(max(0, f.uvarint()-1)) }

// compactCount reads the length of an array whose elements take at least each bytes; null counts as empty.
func (f *fields) compactCount(each int) int {
	n := max(0, f.uvarint()-1)
	if n > len(f.bytes)/each {
		f.bad, f.bytes = true, nil
		return 0
	}
	return n
}

// tags skips what newer brokers add.
func (f *fields) tags() {
	for range f.uvarint() {
		if f.bad {
			return
		}
		f.uvarint()
		f.take(f.uvarint())
	}
}
