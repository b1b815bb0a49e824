#!/usr/bin/env bash
# The targets of glue-fuzz under libFuzzer, which sees what code an input reaches and goes on from those that reach more.
# It needs a C++ compiler beside the toolchain, stable or not. No address sanitizer: there is no unsafe code to watch.
#
#   tests/fuzz/deep.sh list                   the targets
#   tests/fuzz/deep.sh build                  only builds
#   tests/fuzz/deep.sh TARGET [SECONDS]       one, for 60 s unless it is told otherwise
#   tests/fuzz/deep.sh all [SECONDS]          each, two at a time (FUZZ_JOBS)
#   tests/fuzz/deep.sh keep TARGET|all        adds to corpus/TARGET what was found and reaches more than what is there
#
# What is found stays in the target directory, and the next run goes on from it. An input that fails is saved in
# corpus/TARGET, where the ordinary tests find it: cargo test -p glue-fuzz --test corpus TARGET.
set -euo pipefail
exec </dev/null

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target_dir=${CARGO_TARGET_DIR:-$root/target}
work=$target_dir/fuzz
readonly here root target_dir work
readonly JOBS=${FUZZ_JOBS:-2}
readonly SECONDS_EACH=60
# A little more than a datagram on most paths, as the mutator of the ordinary tests.
readonly MAX_BYTES=4096
readonly MAX_MIB=2048
# No input takes so long unless it does what it must not.
readonly MOST_SECONDS=20
# What is kept: the smallest inputs, and of a target no more than this.
readonly MAX_KEPT_BYTES=512
readonly MAX_KEPT_FILES=40
# What cargo-fuzz passes too. With a target named, they are not for build scripts.
readonly COVERAGE="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4\
 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table\
 -Cllvm-args=-sanitizer-coverage-trace-compares"

usage() { sed -n '5,9p' "$0" | sed 's/^# *//'; }

fail() {
    echo "error: $*" >&2
    exit 1
}

host() { rustc -vV | sed -n 's/^host: //p'; }

build() {
    command -v "${CXX:-c++}" >/dev/null || fail "no C++ compiler: install one, or run the ordinary way: cargo run --release -p glue-fuzz"
    RUSTFLAGS=$COVERAGE CARGO_TARGET_DIR=$work/build \
        cargo build --locked --release --manifest-path "$here/deep/Cargo.toml" --target "$(host)"
}

program() { echo "$work/build/$(host)/release/glue-fuzz-deep"; }

names() { GLUE_FUZZ_TARGET=list "$(program)" 2>/dev/null; }

# libFuzzer with a target and its inputs; the first directory takes what is new.
run() { # run TARGET ARGUMENT..
    local target=$1
    shift
    mkdir -p "$work/found/$target" "$work/beginnings/$target" "$here/corpus/$target"
    GLUE_FUZZ_TARGET=$target GLUE_FUZZ_BEGINNINGS=$work/beginnings/$target "$(program)" -max_len=$MAX_BYTES \
        -rss_limit_mb=$MAX_MIB -timeout=$MOST_SECONDS -report_slow_units=$MOST_SECONDS "$@" 2>&1
}

fuzz() { # fuzz TARGET SECONDS
    local target=$1 seconds=$2 log=$work/$1.log code=0 failed
    run "$target" -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$here/corpus/$target/failed-" \
        "$work/found/$target" "$work/beginnings/$target" "$here/corpus/$target" >"$log" || code=$?
    if [ "$code" -eq 0 ]; then
        awk -v target="$target" -v seconds="$seconds" '
            / cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") edges = $(i + 1); if ($i == "corp:") inputs = $(i + 1) } }
            /^stat::number_of_executed_units/ { runs = $2 }
            /^stat::peak_rss_mb/ { memory = $2 }
            END { printf "%-17s %11d executions in %d s, %s edges, %s inputs (count/bytes), %d MiB, no failure\n",
                target, runs, seconds, edges, inputs, memory
                if (runs == 0) exit 1 }' "$log" || fail "$target: nothing was executed, see $log"
        return
    fi
    tail -n 40 "$log" | cut -c 1-500
    failed=$(sed -n "s|.*Test unit written to ||p" "$log" | tail -n 1)
    echo "$target FAILED: ${failed:-see $log}"
    echo "again: cargo test -p glue-fuzz --test corpus $target"
    [ -z "$failed" ] || echo "shorter: GLUE_FUZZ_TARGET=$target $(program) -minimize_crash=1 -max_total_time=60 $failed"
    return 1
}

# Small inputs first, so that a larger one is kept only for what no smaller one reaches.
keep() { # keep TARGET
    local target=$1 pool=$work/pool/$1 kept=$work/kept/$1
    rm -rf "$pool" "$kept"
    mkdir -p "$pool" "$kept" "$here/corpus/$target" "$work/found/$target"
    find "$here/corpus/$target" "$work/found/$target" -type f -size "-$((MAX_KEPT_BYTES + 1))c" -exec cp -t "$pool" {} +
    run "$target" -merge=1 "$kept" "$pool" >"$work/$target.keep.log" || fail "$target: see $work/$target.keep.log"
    local file count=0
    while IFS= read -r file; do
        [ -e "$here/corpus/$target/$(basename "$file")" ] || cp "$file" "$here/corpus/$target/"
        count=$((count + 1))
    done < <(find "$kept" -type f -printf '%s %p\n' | sort -n | cut -d ' ' -f 2- | head -n $MAX_KEPT_FILES)
    echo "$target: $(find "$here/corpus/$target" -type f | wc -l) inputs, $(du -cb "$here/corpus/$target"/* | tail -n 1 | cut -f 1) bytes"
}

# Not by -q, which closes the pipe before all is written.
is_target() { names | grep -x -- "$1" >/dev/null; }

main() {
    local what=${1:-} number=${2:-}
    case $what in
        "" | -h | --help) usage ;;
        build) build ;;
        list) build && names ;;
        all)
            build
            # Each by itself: xargs goes on after a failure, and fails in the end.
            names | FUZZ_BUILT=1 xargs -P "$JOBS" -I '{}' "$0" '{}' "${number:-$SECONDS_EACH}" || fail "a target failed"
            ;;
        keep)
            build
            local target
            for target in $(if [ "$number" = all ]; then names; else echo "$number"; fi); do
                is_target "$target" || fail "there is no target $target, see: $0 list"
                keep "$target"
            done
            ;;
        *)
            [ -n "${FUZZ_BUILT:-}" ] || build
            is_target "$what" || fail "there is no target $what, see: $0 list"
            fuzz "$what" "${number:-$SECONDS_EACH}"
            ;;
    esac
}

main "$@"
