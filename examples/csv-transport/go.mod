module github.com/sluice-iot/sluice/examples/csv-transport

go 1.26.0

replace github.com/sluice-iot/sluice/bus => ../../bus

replace github.com/sluice-iot/sluice/process => ../../process

replace github.com/sluice-iot/sluice/proto => ../../proto

replace github.com/sluice-iot/sluice/services/coap-transport => ../../services/coap-transport

replace github.com/sluice-iot/sluice/services/core-node => ../../services/core-node

replace github.com/sluice-iot/sluice/services/http-transport => ../../services/http-transport

replace github.com/sluice-iot/sluice/services/js-executor => ../../services/js-executor

replace github.com/sluice-iot/sluice/services/mqtt-transport => ../../services/mqtt-transport

replace github.com/sluice-iot/sluice/sluice => ../../sluice

replace github.com/sluice-iot/sluice/tests => ../../tests

replace github.com/sluice-iot/sluice/transport => ../../transport

require (
	github.com/sluice-iot/sluice/bus v0.0.0
	github.com/sluice-iot/sluice/process v0.0.0-00010101000000-000000000000
	github.com/sluice-iot/sluice/proto v0.0.0
	github.com/sluice-iot/sluice/transport v0.0.0-00010101000000-000000000000
	go.uber.org/goleak v1.3.0
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-json-experiment/json v0.0.0-20260820222146-c27c302e5fc3 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/maypok86/otter/v2 v2.4.0 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	github.com/prometheus/client_golang v1.25.0 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/redis/go-redis/v9 v9.23.0 // indirect
	github.com/segmentio/kafka-go v0.4.51 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
