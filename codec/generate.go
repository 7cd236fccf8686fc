package codec

// The messages of codec/skerryv1 and codec/storev1, the gRPC services and the OpenAPI document are generated from proto/.
//
//go:generate ./generate.sh
