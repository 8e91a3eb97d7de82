module github.com/sluice-iot/sluice/process

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/prometheus/client_golang v1.25.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace (
	github.com/sluice-iot/sluice/bus => ../bus
	github.com/sluice-iot/sluice/proto => ../proto
	github.com/sluice-iot/sluice/services/coap-transport => ../services/coap-transport
	github.com/sluice-iot/sluice/services/core-node => ../services/core-node
	github.com/sluice-iot/sluice/services/http-transport => ../services/http-transport
	github.com/sluice-iot/sluice/services/mqtt-transport => ../services/mqtt-transport
	github.com/sluice-iot/sluice/sluice => ../sluice
	github.com/sluice-iot/sluice/tests => ../tests
	github.com/sluice-iot/sluice/transport => ../transport
)

replace github.com/sluice-iot/sluice/services/js-executor => ../services/js-executor

replace github.com/sluice-iot/sluice/examples/csv-transport => ../examples/csv-transport
