#!/usr/bin/env bash
# The walkthrough of README.md, which fails if what it says does not happen. Needs only bash: /dev/tcp in place of nc.
#
#   examples/tcp-demux/walkthrough.sh [PROGRAM]      default target/debug/tcp-demux
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly PROGRAM=${1:-${CARGO_TARGET_DIR:-target}/debug/tcp-demux}
export GLUE_NETWORK_ID=$((7000000 + $$)) GLUE_LISTEN_INTERFACE=lo GLUE_LOG=warn GLUE_DISCOVERY_RATE_MILLISECONDS=200

work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "walkthrough: $*" >&2
    exit 1
}

# start NAME WORD ARGS..: starts the program, and waits for the line of its output that begins with WORD.
start() {
    local name=$1 word=$2
    shift 2
    "$PROGRAM" "$@" >"$work/$name" 2>"$work/$name.log" &
    pids+=($!)
    for _ in $(seq 100); do
        grep -q "^$word" "$work/$name" && return
        sleep 0.1
    done
    cat "$work/$name.log" >&2
    fail "$name does not start"
}

address() { awk -v word="$2" '$1 == word || word == "" { print $NF }' "$work/$1"; }

say() { echo "$1" >&"$2"; }

hear() { # hear DESCRIPTOR PATTERN
    local line
    IFS= read -r -t 20 -u "$1" line || fail "nothing comes, where $2 should"
    [[ $line == $2 ]] || fail "it hears '$line', which is not $2"
    echo "  < $line"
}

connect() { # connect DESCRIPTOR ADDRESS
    eval "exec $1<>/dev/tcp/${2%:*}/${2##*:}"
}

echo "An upstream service, by gRPC, and a demultiplexer before it:"
start server 127 test-server --port 0
start one management serve --listen 127.0.0.1:0 --management 127.0.0.1:0 --upstream "grpc://$(address server "")"
clients=$(address one clients)
connect 3 "$clients"
connect 4 "$clients"
say "one" 3
hear 3 "Hello, *: this was message 1."
say "two" 4
hear 3 "To all: message 2 came."
hear 4 "To all: message 2 came."

echo "A second demultiplexer, with no upstream of its own: broadcasts reach its clients as well."
start two management serve --listen 127.0.0.1:0 --management 127.0.0.1:0
for _ in $(seq 100); do
    # The two find each other.
    management=$(address two management)
    exec 6<>"/dev/tcp/${management%:*}/${management##*:}"
    printf 'GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n' >&6
    if grep -q '^tcp_demux_instances 1' <&6; then break; fi
    exec 6>&-
    sleep 0.1
done
connect 5 "$(address two clients)"
say "is anybody there?" 5
say "three" 3
hear 3 "Hello, *: this was message 3."
say "four" 3
hear 3 "To all: message 4 came."
hear 4 "To all: message 4 came."
hear 5 "To all: message 4 came."

echo "An upstream service that is a glue endpoint: it is found, and gets what has waited."
start found upstream test-upstream
hear 5 "Hello, *: this was message 1."
echo "It works."
