#!/usr/bin/env bash
# The outside project builds with an installed tfcc, trains, and rebuilds only when the model changes.
#   run.sh BUILD_DIR SOURCE_DIR
set -euo pipefail
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/prefix" >/dev/null
cp -r "$source/tests/outside" "$work/outside"
cp "$source/models/digits_cnn.json" "$work/outside/model.json"
cmake -S "$work/outside" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/build" | grep -q 'Compiling model digits'
"$work/build/digits" fit --data "$source/models/digits_train.npz" --epochs 1 --verbose 0
cmake --build "$work/build" | grep -q 'no work to do' || { echo "rebuilt although nothing changed"; exit 1; }
sleep 1
sed 's/"units": 128/"units": 64/' "$source/models/digits_cnn.json" >"$work/outside/model.json"
cmake --build "$work/build" | grep -q 'Compiling model digits' || { echo "not rebuilt although the model changed"; exit 1; }
