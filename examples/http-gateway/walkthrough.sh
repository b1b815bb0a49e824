#!/usr/bin/env bash
# Both walkthroughs of README.md with real processes and curl, on the loopback. The first failure ends it.
#
#   examples/http-gateway/walkthrough.sh [PROGRAM]     default: target/debug/http-gateway
set -euo pipefail
cd "$(dirname "$0")/../.."

program=${1:-${CARGO_TARGET_DIR:-target}/debug/http-gateway}
[ -x "$program" ] || cargo build --locked -p http-gateway
for variable in $(compgen -e | grep -E '^(GLUE|HTTP_GATEWAY)_' || true); do unset "$variable"; done
export GLUE_NETWORK_ID=$((RANDOM * 32768 + RANDOM)) GLUE_LISTEN_INTERFACE=lo

logs=$(mktemp -d)
declare -A pids=()

finish() {
    local code=$?
    [ ${#pids[@]} -eq 0 ] || kill -9 "${pids[@]}" 2>/dev/null || true
    [ "$code" -eq 0 ] || tail -n 20 "$logs"/* >&2
    rm -rf "$logs"
    exit "$code"
}
trap finish EXIT

start() { # start NAME ARGUMENTS..
    local name=$1
    shift
    "$program" "$@" >"$logs/$name.out" 2>"$logs/$name.err" &
    pids[$name]=$!
}

stop() { # stop NAME SIGNAL: returns its exit status
    local code=0
    kill "-$2" "${pids[$1]}"
    wait "${pids[$1]}" 2>/dev/null || code=$?
    unset "pids[$1]"
    return "$code"
}

fail() {
    echo "error: $*" >&2
    exit 1
}

ask() { curl --silent --show-error --max-time 10 "$@"; }

# A port is chosen by the system, so that runs do not meet: the program tells which.
await_line() { # await_line NAME PATTERN: the first match in its log, within 20 s
    local found
    for _ in $(seq 200); do
        found=$(grep -ohE "$2" "$logs/$1.err" "$logs/$1.out" 2>/dev/null | head -n 1 || true)
        [ -z "$found" ] || { echo "$found" && return; }
        sleep 0.1
    done
    fail "$1 does not say $2"
}

await_answer() { # await_answer TEXT CURL-ARGUMENTS..: the text is answered within 20 s
    local text=$1 answer=""
    shift
    for _ in $(seq 200); do
        answer=$(ask "$@" || true)
        [[ "$answer" != *"$text"* ]] || return 0
        sleep 0.1
    done
    fail "expected $text, the last answer is: $answer"
}

address_of() { await_line "$1" 'http://127\.0\.0\.1:[0-9]+'; }

zeroconf() {
    echo "-- workers before the router; curl twice, they answer in turn"
    start worker-1 hello worker-1
    start worker-2 hello worker-2
    start router router --listen 127.0.0.1:0
    local url one two alive at
    url=$(address_of router)
    await_answer "Hello from worker-1" "$url"
    await_answer "Hello from worker-2" "$url"
    one=$(ask "$url")
    two=$(ask "$url")
    [ "$one" != "$two" ] || fail "twice $one"
    echo "   $one, $two"

    echo "-- kill one: every request is answered"
    stop worker-1 KILL || true
    for at in $(seq 20); do
        one=$(ask "$url")
        [ "$one" = "Hello from worker-2" ] || fail "$one"
    done
    echo "   20 times $one"

    echo "-- start five more: all answer"
    for at in 3 4 5 6 7; do start "worker-$at" hello "worker-$at"; done
    for at in 3 4 5 6 7; do await_answer "Hello from worker-$at" "$url"; done
    alive=$(for at in $(seq 12); do ask "$url"; done | sort -u | wc -l)
    [ "$alive" -eq 6 ] || fail "$alive workers answer, not 6"
    echo "   6 workers answer"

    echo "-- stop them in good order, while requests go on"
    for at in 3 4 5 6 7; do
        stop "worker-$at" TERM || fail "worker-$at ended with $?"
        ask --fail --output /dev/null "$url" || fail "a request failed as worker-$at went"
    done
    stop worker-2 TERM || fail "worker-2 ended with $?"
    [ "$(ask --output /dev/null --write-out '%{http_code}' "$url")" = 503 ] || fail "no worker, but no 503"
    stop router TERM || fail "the router ended with $?"
}

fuyuu() {
    echo "-- a server behind an agent is reached by the agent's id"
    # The server is itself a router with a worker behind it: the walkthrough needs nothing but the program. Its worker has
    # the agent's id, since the field passes through.
    start inner-worker hello agent01
    start inner-router router --listen 127.0.0.1:0
    local server url code
    server=$(address_of inner-router)
    await_answer "Hello from agent01" "$server"
    export GLUE_NETWORK_ID=$((GLUE_NETWORK_ID + 1))
    start agent agent --id agent01 --proxy-host "$server" --labels site=north
    start hub router --listen 127.0.0.1:0 --admin 127.0.0.1:0
    url=$(await_line hub 'listening at http://127\.0\.0\.1:[0-9]+' | grep -o 'http.*')
    await_answer "Hello from agent01" -H 'FuyuuRouter-IDs: agent01' "$url/any/path?query=1"
    code=$(ask --output "$logs/unknown.out" --write-out '%{http_code}' -H 'FuyuuRouter-IDs: agent09' "$url")
    [ "$code" = 503 ] && grep -q '"status":503' "$logs/unknown.out" || fail "an unknown id gives $code"
    echo "   agent01 answers, agent09 is a 503 at once"

    echo "-- operators see the agent"
    local admin
    admin=$(await_line hub 'operators at http://127\.0\.0\.1:[0-9]+' | grep -o 'http.*')
    ask "$admin/workers" | grep -q '"site":"north"' || fail "the agent's label is missing"
    # A request is counted when its answer was handed over, a moment after curl has it.
    await_answer 'http_gateway_requests_total{worker="agent01",status="200"}' "$admin/metrics"
    stop agent TERM || fail "the agent ended with $?"
    stop hub TERM || fail "the hub ended with $?"
}

zeroconf
fuyuu
echo "both walkthroughs work"
