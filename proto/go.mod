module github.com/sluice-iot/sluice/proto

go 1.26.0

require (
	github.com/go-json-experiment/json v0.0.0-20260820222146-c27c302e5fc3
	github.com/google/go-cmp v0.7.0
	github.com/google/uuid v1.6.0
	google.golang.org/protobuf v1.36.12
)

replace (
	github.com/sluice-iot/sluice/bus => ../bus
	github.com/sluice-iot/sluice/process => ../process
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
