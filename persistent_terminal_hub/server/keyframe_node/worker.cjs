'use strict';
/*
 * The emulator behind keyframes: xterm.js itself, in a process of its own that is started when one is
 * needed and ends when its standard input does. argv: path of xterm-headless.js.
 *
 * Frames both ways: one byte of kind, four of length (big endian), payload.
 *   O {cols, rows, scrollback}   a fresh terminal
 *   F bytes                      feed
 *   R {cols, rows}               resize
 *   K                            answer K + keyframe
 * What it cannot do it answers, when asked for the keyframe, with E + a sentence.
 */
const fs = require('fs');
const { Terminal } = require(process.argv[2]);
const { keyframe } = require('./serialize.cjs');

let term;
let extra;
let scrollback = 1000;
let failure; // xterm.js throws on a few odd streams: said when the keyframe is asked for

function open(options) {
  if (term) term.dispose();
  scrollback = options.scrollback;
  term = new Terminal({ cols: options.cols, rows: options.rows, scrollback, allowProposedApi: true, logLevel: 'off' });
  failure = undefined;
  extra = { title: undefined, icon: undefined, colours: new Map() };
  term.onTitleChange((title) => { extra.title = title; });
  const icon = (text) => { extra.icon = text; return false; };
  term.parser.registerOscHandler(0, icon);
  term.parser.registerOscHandler(1, icon);
  term._core._inputHandler.onColor((events) => {
    for (const { type, index, color } of events) {
      if (type === 1) extra.colours.set(index, color);
      else if (type === 2 && index !== undefined) extra.colours.delete(index);
      else if (type === 2) for (const key of [...extra.colours.keys()]) if (key < 256) extra.colours.delete(key);
    }
  });
}

function answer(kind, text) {
  const body = Buffer.from(text);
  const frame = Buffer.alloc(5 + body.length);
  frame.write(kind, 0, 'latin1');
  frame.writeUInt32BE(body.length, 1);
  body.copy(frame, 5);
  for (let at = 0; at < frame.length;) at += fs.writeSync(1, frame, at);
}

function read(length) {
  const buffer = Buffer.allocUnsafe(length);
  for (let at = 0; at < length;) {
    const n = fs.readSync(0, buffer, at, length - at, null);
    if (n === 0) process.exit(0);
    at += n;
  }
  return buffer;
}

for (;;) {
  const head = read(5);
  const body = read(head.readUInt32BE(1));
  const kind = String.fromCharCode(head[0]);
  try {
    if (kind === 'O') open(JSON.parse(body));
    else if (kind === 'F') term._core.writeSync(body);
    else if (kind === 'R') { const { cols, rows } = JSON.parse(body); term.resize(cols, rows); }
    else if (kind === 'K' && failure) answer('E', failure);
    else if (kind === 'K') answer('K', keyframe(term, scrollback, extra));
    else failure = `unknown request ${kind}`;
  } catch (error) {
    failure = String(error && error.message);
    if (kind === 'K') answer('E', failure);
  }
}
