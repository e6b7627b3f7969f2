#!/bin/sh
# Clang's static analyser, path by path, over every file of production code. One finding is a failure.
set -eu
cd "$(dirname "$0")/../.."

CC=clang cmake -B build-clang -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug >/dev/null
cmake --build build-clang --target mc-proxy-version proto >/dev/null
# Exempt, as in .clang-tidy: security.insecureAPI.DeprecatedOrUnsafeBufferHandling, which wants C11's Annex K, that glibc has not.
python3 - build-clang/compile_commands.json <<'PYTHON' | xargs -P 2 -d '\n' -n 1 sh -c
import json, re, shlex, sys
for entry in json.load(open(sys.argv[1])):
    file = entry["file"]
    if not re.search(r"/(common|worker|master)/[^/]*\.c$", file):
        continue
    words = shlex.split(entry["command"])
    words = [w for i, w in enumerate(words) if w not in ("-c", "-o", "-Werror") and (i == 0 or words[i - 1] != "-o")]
    words = words[next(i for i, w in enumerate(words) if "clang" in w):]
    options = ["--analyze", "--analyzer-output", "text", "-Xclang", "-analyzer-disable-checker=security.insecureAPI.DeprecatedOrUnsafeBufferHandling",
               "-Xclang", "-analyzer-config", "-Xclang", "mode=deep", "-Xclang", "-analyzer-werror", "-Wno-unused-command-line-argument"]
    print("cd " + shlex.quote(entry["directory"]) + " && " + shlex.join([words[0], *options, *words[1:]]))
PYTHON
echo "clang's static analyser: no finding"
