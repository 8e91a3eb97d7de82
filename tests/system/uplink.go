package system

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// uplinkTopic is where transports put devices' messages.
const uplinkTopic = "tb.rule-engine"

// encodeUplink writes a DeviceUplink (proto/device_uplink.proto) of one value, the number under key, by hand.
func encodeUplink(tenant, device, key string, number int64) []byte {
	value := appendBytes(nil, 1, []byte(key))
	value = appendNumber(value, 3, uint64(number)) // KeyValue.long_value
	now := time.Now()
	record := appendNumber(nil, 1, uint64(now.UnixMilli()))
	record = appendBytes(record, 3, value)
	out := appendBytes(nil, 1, rawID(tenant))
	out = appendBytes(out, 2, rawID(device))
	out = appendBytes(out, 7, rawID("01234567-89ab-4cde-8f01-23456789abcd"))
	out = appendNumber(out, 8, uint64(now.UnixMicro()))
	return appendBytes(out, 11, record)
}

func appendNumber(out []byte, field int, n uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(out, uint64(field)<<3), n)
}

func appendBytes(out []byte, field int, b []byte) []byte {
	out = binary.AppendUvarint(binary.AppendUvarint(out, uint64(field)<<3|2), uint64(len(b)))
	return append(out, b...)
}

// rawID is the 16 bytes of a UUID as the API writes it; nothing when it is none.
func rawID(text string) []byte {
	raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil {
		return nil
	}
	return raw
}
