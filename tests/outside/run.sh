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
builds() { # prints what a build does
    cmake --build "$work/build" >"$work/log" && cat "$work/log"
}
[[ $(builds) == *'Compiling model digits'* ]] || { echo "the model was not compiled"; exit 1; }
"$work/build/digits" fit --data "$source/models/digits_train.npz" --epochs 1 --verbose 0
"$work/build/app" || { echo "the library does not predict"; exit 1; }
if command -v pkg-config >/dev/null; then
    libs=$(PKG_CONFIG_PATH="$work/prefix/lib/pkgconfig" pkg-config --cflags --libs tfcc)
    "$work/prefix/bin/tfcc" compile "$work/outside/model.json" -o "$work/model.o" --emit obj
    cc "$work/model.o" -o "$work/packaged" $libs && "$work/packaged" summary >/dev/null || { echo "tfcc.pc does not work"; exit 1; }
fi
[[ $(builds) == *'no work to do'* ]] || { echo "rebuilt although nothing changed"; exit 1; }
sleep 1
sed 's/"units": 128/"units": 64/' "$source/models/digits_cnn.json" >"$work/outside/model.json"
[[ $(builds) == *'Compiling model digits'* ]] || { echo "not rebuilt although the model changed"; exit 1; }
