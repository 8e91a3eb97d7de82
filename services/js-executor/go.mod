module github.com/sluice-iot/sluice/services/js-executor

go 1.26.0

require (
	github.com/dop251/goja v0.0.0-20260917113740-793a2a65c13b
	github.com/elastic/go-seccomp-bpf v1.6.0
	github.com/landlock-lsm/go-landlock v0.11.0
	github.com/prometheus/client_golang v1.25.0
	github.com/sluice-iot/sluice/bus v0.0.0-00010101000000-000000000000
	github.com/sluice-iot/sluice/process v0.0.0-00010101000000-000000000000
	github.com/sluice-iot/sluice/proto v0.0.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/dlclark/regexp2/v2 v2.5.2 // indirect
	github.com/go-sourcemap/sourcemap v2.1.3+incompatible // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/google/pprof v0.0.0-20230207041349-798e818bf904 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/segmentio/kafka-go v0.4.51 // indirect
	github.com/twmb/franz-go v1.22.2 // indirect
	github.com/twmb/franz-go/pkg/kfake v0.0.0-20260918054303-01f206a7e32c // indirect
	github.com/twmb/franz-go/pkg/kmsg v1.15.0 // indirect
	golang.org/x/net v0.59.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
	kernel.org/pub/linux/libs/security/libcap/psx v1.2.77 // indirect
)

replace github.com/sluice-iot/sluice/bus => ../../bus

replace github.com/sluice-iot/sluice/process => ../../process

replace github.com/sluice-iot/sluice/proto => ../../proto

replace github.com/sluice-iot/sluice/services/coap-transport => ../../services/coap-transport

replace github.com/sluice-iot/sluice/services/core-node => ../../services/core-node

replace github.com/sluice-iot/sluice/services/http-transport => ../../services/http-transport

replace github.com/sluice-iot/sluice/services/mqtt-transport => ../../services/mqtt-transport

replace github.com/sluice-iot/sluice/sluice => ../../sluice

replace github.com/sluice-iot/sluice/tests => ../../tests

replace github.com/sluice-iot/sluice/transport => ../../transport

replace github.com/sluice-iot/sluice/examples/csv-transport => ../../examples/csv-transport
