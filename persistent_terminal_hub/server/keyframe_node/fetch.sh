#!/bin/sh
# Puts xterm-headless.js (pinned in package-lock.json) beside worker.cjs, for the wheel. Idempotent.
# usage: fetch.sh [FILE]   FILE: where to put it, default beside this script
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=${1:-$here/xterm-headless.js}
[ "$target" -nt "$here/package-lock.json" ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/package-lock.json" "$work"
(cd "$work" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
mkdir -p "$(dirname "$target")"
# Written under another name first: two runs at once do not disturb each other.
sed '/^\/\/# sourceMappingURL=/d' "$work/node_modules/@xterm/headless/lib-headless/xterm-headless.js" > "$target.$$"
mv "$target.$$" "$target"
