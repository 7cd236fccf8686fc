#!/usr/bin/env bash
# Generates Go code and the OpenAPI document from proto/, with the tools pinned in tools/go.mod. Needs only Go.
#
#   codec/generate.sh          writes the generated files
#   codec/generate.sh --check  changes nothing; fails when a generated file is not what proto/ gives, or lint complains
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
bin=$root/.cache/bin

case "${1:-}" in
'') check= ;;
--check) check=yes ;;
*)
	sed -n '2,5s/^# \{0,1\}//p' "$root/codec/generate.sh" >&2
	exit 2
	;;
esac

mkdir -p "$bin"
(cd tools && go build -o "$bin/" \
	github.com/bufbuild/buf/cmd/buf \
	github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway \
	github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv2 \
	github.com/planetscale/vtprotobuf/cmd/protoc-gen-go-vtproto \
	google.golang.org/grpc/cmd/protoc-gen-go-grpc \
	google.golang.org/protobuf/cmd/protoc-gen-go)
export PATH=$bin:$PATH

# generated lists the generated files below a directory.
generated() {
	(cd "$1" && find codec gateway/openapi -name '*.pb.go' -o -name '*.pb.gw.go' -o -name '*.swagger.json' | LC_ALL=C sort)
}

buf lint
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
buf generate -o "$fresh"

drift=0
while read -r file; do
	cmp -s "$fresh/$file" "$file" && continue
	drift=1
	if [[ $check ]]; then
		echo "generated code drifts from proto/: $file" >&2
		diff -u "$file" "$fresh/$file" 2>/dev/null | head -20 >&2 || true
	elif [[ -e $fresh/$file ]]; then
		mkdir -p "$(dirname "$file")"
		cp "$fresh/$file" "$file"
		echo "wrote $file"
	else
		rm "$file"
		echo "removed $file"
	fi
done < <({ generated "$root"; generated "$fresh"; } | LC_ALL=C sort -u)

if [[ $check && $drift -ne 0 ]]; then
	echo "run: go generate ./codec" >&2
	exit 1
fi
