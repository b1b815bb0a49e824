#!/usr/bin/env bash
# Requests a second and p99 of nginx and of router, glue and agent, before one server, in one run: interleaved, the
# medians. Needs nginx and wrk (apt-get install nginx wrk). Everything stays on the loopback.
#
#   examples/http-gateway/measure.sh [ROUNDS] [SECONDS]     default: 5 rounds of 4 s
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly ROUNDS=${1:-5} SECONDS_EACH=${2:-4} CONNECTIONS=64
readonly BACKEND=18590 NGINX=18591 GATEWAY=18592
program=${CARGO_TARGET_DIR:-target}/release/http-gateway
[ -x "$program" ] || cargo build --locked --release -p http-gateway
for variable in $(compgen -e | grep -E '^(GLUE|HTTP_GATEWAY)_' || true); do unset "$variable"; done
export GLUE_NETWORK_ID=$((RANDOM * 32768 + RANDOM)) GLUE_LISTEN_INTERFACE=lo

work=$(mktemp -d)
pids=()
finish() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    [ ! -s "$work/nginx.pid" ] || kill "$(cat "$work/nginx.pid")" || true
    wait
    rm -rf "$work"
}
trap finish EXIT

mkdir "$work/www"
chmod 755 "$work"
head -c 10240 /dev/urandom >"$work/www/10k"
head -c 1048576 /dev/urandom >"$work/www/1m"
cat >"$work/nginx.conf" <<CONF
worker_processes 2;
pid $work/nginx.pid;
error_log $work/error.log;
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000;
  upstream back { server 127.0.0.1:$BACKEND; keepalive 64; keepalive_requests 100000000; }
  server { listen 127.0.0.1:$BACKEND reuseport; root $work/www; location = / { return 200 "hello world\n"; } }
  server {
    listen 127.0.0.1:$NGINX reuseport;
    location / { proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host \$host; }
  }
}
CONF
nginx -c "$work/nginx.conf"
"$program" agent --id measured --proxy-host "http://127.0.0.1:$BACKEND" 2>"$work/agent.log" &
pids+=($!)
"$program" router --listen "127.0.0.1:$GATEWAY" 2>"$work/router.log" &
pids+=($!)
for _ in $(seq 100); do
    [ "$(curl -s "http://127.0.0.1:$GATEWAY/")" != "hello world" ] || break
    sleep 0.1
done

measure() { # measure PORT PATH: requests a second, p99 in ms
    wrk -t1 -c"$CONNECTIONS" -d"$SECONDS_EACH" --latency "http://127.0.0.1:$1$2" >"$work/wrk"
    ! grep -E 'Socket errors|Non-2xx' "$work/wrk" >&2 || true
    awk '/99%/ { v = $2; u = v; gsub(/[0-9.]/, "", u); f = u == "us" ? 0.001 : u == "s" ? 1000 : 1; p = v * f }
         /Requests\/sec/ { r = $2 } END { printf "%.0f %.2f\n", r, p }' "$work/wrk"
}

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

for path in / /10k /1m; do
    rm -f "$work"/*.figures
    for _ in $(seq "$ROUNDS"); do
        measure $NGINX $path >>"$work/nginx.figures"
        measure $GATEWAY $path >>"$work/gateway.figures"
    done
    for column in 1 2; do
        n=$(cut -d ' ' -f $column "$work/nginx.figures" | median)
        g=$(cut -d ' ' -f $column "$work/gateway.figures" | median)
        what=$([ $column = 1 ] && echo "requests/s" || echo "p99 in ms")
        awk -v path=$path -v what="$what" -v n="$n" -v g="$g" \
            'BEGIN { printf "%-5s %-10s  nginx %8s  gateway %8s  ratio %.2f\n", path, what, n, g, g / n }'
    done
done
ps -o time=,rss=,args= -p "$(IFS=,; echo "${pids[*]}")" | awk '{ print "processor time " $1 ", " $2 " KiB: " $5 }'
