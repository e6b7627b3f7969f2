#!/bin/sh
# Branches of each parser that its unit tests and the seeds of its fuzz target take: 100 %, or an exit status of 1 and the lines.
# A branch that cannot be taken is marked beside the line, with the reason (GCOVR_EXCL_BR_LINE); those of CHECK, which only a bug takes, are none.
# usage: parser_coverage.sh [--no-build]
set -eu
cd "$(dirname "$0")/../.."

# What reads bytes from outside, and the tests that drive it.
parsers='common/(address|backend_addr|client_hello|ctl_codec|duration|host_port|hostname|listen_addr|log_event|proxy_protocol|proxy_v1|server_hello|utf8)\.c
master/(config_reader|config_values|firewall_rule|grpc_frame|h2_scan|json_in|metrics_http|proto_scan|proto_wire|row_read.*)\.c'
tests='test_address test_addr_set test_backend_addr test_client_hello test_client_hello_records test_config test_config_errors
    test_ctl_codec test_ctl_channel test_duration test_firewall_rule test_grpc_frame test_grpc_server test_grpc_session
    test_grpc_session_ends test_grpc_floods test_h2_budget test_hostname test_json test_log_event test_log_format
    test_metrics_http test_proto_scan test_proto_wire test_proxy_protocol test_proxy_v1 test_row_read test_row_diff
    test_server_hello test_utf8'
seeds='address client_hello config ctl_msg duration h2_server hostname log_record metrics_http proto_scan proxy_protocol rows server_hello'

build='build-coverage'
umask 0
for seed in $seeds; do tests="$tests corpus_$seed"; done
if [ "${1:-}" != --no-build ]; then
    cmake --preset coverage >/dev/null
    # shellcheck disable=SC2086 # a list of words
    cmake --build --preset coverage --target $tests
fi
find "$build" -name '*.gcda' -delete
pattern=$(echo "$tests" | tr -s ' \n' '||' | sed 's/corpus_/corpus./g')
ctest --preset coverage -R "^(unit\.)?($pattern)\$" >"$build/parser-tests.txt" || { cat "$build/parser-tests.txt"; exit 1; }

set --
for one in $parsers; do set -- "$@" --filter "$one"; done
gcovr --root . "$@" --branches --exclude-unreachable-branches --exclude-throw-branches \
    --exclude-branches-by-pattern '.*CHECK(_MAGIC)?\(.*' --fail-under-branch 100 "$build/common" "$build/master"
