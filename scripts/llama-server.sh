#!/usr/bin/env bash
# llama.cpp's server for a GGUF file: scripts/llama-server.sh MODEL.gguf [PORT [further options]]
# Built once from the sources that llama-cpp-python's sdist carries (8 minutes on 2 cores; cmake and a C++ compiler are needed),
# to $PALAESTRA_LLAMA or ~/.cache/palaestra/llama.cpp; without a model it only builds.
set -euo pipefail
version=0.3.36
folder=${PALAESTRA_LLAMA:-$HOME/.cache/palaestra/llama.cpp}/$version
server=$folder/llama-server
if [ ! -x "$server" ]; then
    for tool in cmake c++; do
        command -v "$tool" >/dev/null || { echo "llama-server.sh: got no $tool, which the build needs. Fix: install cmake and a C++ compiler" >&2; exit 2; }
    done
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    python3 -m pip --disable-pip-version-check download -q --no-deps --no-binary :all: -d "$work" "llama-cpp-python==$version"
    tar xzf "$work"/llama_cpp_python-*.tar.gz -C "$work"
    cmake -S "$work"/llama_cpp_python-*/vendor/llama.cpp -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF \
        -DLLAMA_CURL=OFF >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log" >&2; exit 1; }
    cmake --build "$work/build" --target llama-server -j "$(nproc)" >"$work/make.log" 2>&1 || { tail -50 "$work/make.log" >&2; exit 1; }
    mkdir -p "$folder"
    install "$work/build/bin/llama-server" "$server.new"
    mv "$server.new" "$server"
    rm -rf "$work"
    trap - EXIT
    echo "llama-server.sh: built $server" >&2
fi
[ $# -gt 0 ] || exit 0
model=$1 port=${2:-8080}
shift; [ $# -gt 0 ] && shift
[ -f "$model" ] || { echo "llama-server.sh: $model: got no such file, expected a GGUF model. Fix: python scripts/train_chat_model.py makes one" >&2; exit 2; }
exec "$server" --model "$model" --host 127.0.0.1 --port "$port" --jinja "$@"
