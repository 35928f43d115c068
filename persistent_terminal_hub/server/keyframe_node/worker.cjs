'use strict';
/*
 * The emulator behind keyframes: xterm.js itself, in a process of its own that is started when one is
 * needed and ends when its standard input does. argv: path of xterm-headless.js.
 *
 * Frames both ways: one byte of kind, four of length (big endian), payload.
 *   O {cols, rows, scrollback}   a fresh terminal
 *   F bytes                      feed
 *   R {cols, rows}               resize
 *   K                            answer K + how many of the bytes fed are gone (8 bytes) + keyframe
 * What it cannot do it answers, when asked for the keyframe, with E + a sentence.
 */
const fs = require('fs');
const { Terminal } = require(process.argv[2]);
const { keyframe } = require('./serialize.cjs');

const PIECE = 16384; // how exactly `above` is known, in bytes

let term;
let extra;
let scrollback = 1000;
let fed; // bytes
let above; // of these so many are on no line any more, not even in the scrollback
let marks; // the lowest lines reached, by how much had been fed then
let marked; // the buffer they are in
let failure; // xterm.js throws on a few odd streams: said when the keyframe is asked for

function open(options) {
  if (term) term.dispose();
  scrollback = options.scrollback;
  term = new Terminal({ cols: options.cols, rows: options.rows, scrollback, allowProposedApi: true, logLevel: 'off' });
  failure = undefined;
  fed = above = 0;
  marks = [];
  marked = undefined;
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

/** A piece of the output is parsed: remember the lowest line it reached, and see which of those are gone. */
function mark() {
  const { normal } = term._core.buffers;
  if (normal !== marked) { // a full reset makes a new one
    above = marks.length ? marks[marks.length - 1].fed : above;
    marks = [];
    marked = normal;
  }
  while (marks.length && marks[0].marker.isDisposed) above = marks.shift().fed;
  const last = marks[marks.length - 1];
  const line = normal.ybase + normal.y;
  if (last && line <= last.marker.line) last.fed = fed;
  else marks.push({ fed, marker: normal.addMarker(line) });
}

function feed(body) {
  for (let at = 0; at < body.length; at += PIECE) {
    const piece = body.subarray(at, at + PIECE);
    term._core.writeSync(piece);
    fed += piece.length;
    mark();
  }
}

function place(count) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(count));
  return bytes;
}

function answer(kind, ...parts) {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
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
    else if (kind === 'F') feed(body);
    else if (kind === 'R') { const { cols, rows } = JSON.parse(body); term.resize(cols, rows); }
    else if (kind === 'K' && failure) answer('E', failure);
    else if (kind === 'K') answer('K', place(above), keyframe(term, scrollback, extra));
    else failure = `unknown request ${kind}`;
  } catch (error) {
    failure = String(error && error.message);
    if (kind === 'K') answer('E', failure);
  }
}
