'use strict';
/*
 * Feeds streams to @xterm/headless and prints what a person or a program could tell about the terminal.
 * argv: path of xterm-headless.js. Each line of standard input is one terminal:
 *   {"cols", "rows", "parts": [base64 | {"cols", "rows"}, ...]}
 * and each line of standard output its state. With "hash" the bulky parts are hashed.
 */
const crypto = require('crypto');
const readline = require('readline');
const { Terminal } = require(process.argv[2]);
const SCROLLBACK = 1000;

const colour = (v) => ((v & 0x3000000) === 0 ? 0 : (v & 0x3000000) === 0x3000000 ? v & 0x3ffffff : v & 0x30000ff);

/** Attributes as they show; bits that have no effect differ between equal terminals. */
function attributes(core, fg, bg, ext, urlId) {
  const link = urlId ? core._oscLinkService.getLinkData(urlId) : undefined;
  const style = fg & 0x10000000 ? (ext !== undefined ? (ext & 0x1c000000) >>> 26 : 1) : 0;
  return [
    (fg & 0xec000000) >>> 0, colour(fg), (bg & 0x6c000000) >>> 0, colour(bg), style,
    style && ext !== undefined ? colour(ext) : 0, link ? `${link.id || ''};${link.uri}` : '',
  ].join(',');
}

function row(core, line, first, cols, pending) {
  const out = [];
  for (let x = 0; x < cols; x++) {
    const extended = line.getBg(x) & 0x10000000 ? line._extendedAttrs[x] : undefined;
    const attrs = attributes(core, line.getFg(x), line.getBg(x), extended && extended._ext, extended && extended.urlId);
    let chars = line.getString(x);
    let width = line.getWidth(x);
    // Halves of wide characters that xterm.js itself leaves behind, after insertions or a smaller window:
    // no byte sequence makes them, and nothing is to be seen of them.
    if (width === 0 && !chars && !(x > 0 && line.getWidth(x - 1) === 2)) width = 1;
    if (width === 2 && (x === cols - 1 || line.getWidth(x + 1) !== 0 || line.hasContent(x + 1))) {
      [chars, width] = [' ', 1];
    }
    // Nor can the last cell be left empty with the cursor beyond it; a space shows the same.
    if (x === cols - 1 && pending && !chars && width === 1) chars = ' ';
    // An empty cell with more than a background shows as a space with these attributes.
    if (!chars && width === 1 && !/^0,0,0,\d+,0,0,$/.test(attrs)) chars = ' ';
    out.push(`${chars}|${width}|${attrs}`);
  }
  return { wrapped: first ? false : line.isWrapped, cells: out };
}

function buffer(core, b, cols, rows, active) {
  const from = b === core.buffers.alt ? b.ybase : Math.max(0, b.ybase - SCROLLBACK);
  const lines = [];
  for (let i = from; i < b.ybase + rows; i++) lines.push(row(core, b.lines.get(i), i === from, cols,
    active && i === b.ybase + b.y && b.x >= cols));
  const tabs = [];
  for (let x = 0; x < cols; x++) if (b.tabs[x]) tabs.push(x);
  return {
    lines,
    above: b.ybase - from,
    saved: [Math.min(b.savedX, cols - 1), Math.min(Math.max(b.savedY - b.ybase, 0), rows - 1),
      attributes(core, b.savedCurAttrData.fg, b.savedCurAttrData.bg & ~0x10000000), JSON.stringify(b.savedCharset)],
    // Of a screen that is not shown, the cursor is overwritten before it can be seen.
    cursor: active ? [b.x, b.y] : null,
    margins: [b.scrollTop, b.scrollBottom],
    tabs,
  };
}

/** Whether REP would repeat something: not in insert mode, where that cannot be recreated. */
function joins(core) {
  const b = core.buffers.active;
  const line = b.lines.get(b.ybase + b.y);
  let last = b.x - 1;
  if (last > 0 && line.getWidth(last) === 0 && !line.hasContent(last)) last--;
  return core._inputHandler._parser.precedingJoinState !== 0 && !core.coreService.modes.insertMode
    && last >= 0 && Boolean(line.getString(last)) && last + line.getWidth(last) === b.x;
}

function state(term, told) {
  const core = term._core;
  const current = core._inputHandler._curAttrData;
  const charset = core._charsetService;
  const inAlt = core.buffers.active === core.buffers.alt;
  return {
    size: [term.cols, term.rows],
    alternate: inAlt,
    normal: buffer(core, core.buffers.normal, term.cols, term.rows, !inAlt),
    alt: inAlt ? buffer(core, core.buffers.alt, term.cols, term.rows, true)
      : { saved: [core.buffers.alt.savedX, core.buffers.alt.savedY] },
    modes: { ...core.coreService.decPrivateModes, ...core.coreService.modes,
      hidden: core.coreService.isCursorHidden, mouse: core.coreMouseService.activeProtocol,
      encoding: core.coreMouseService.activeEncoding, blink: core.optionsService.rawOptions.cursorBlink,
      newline: core.optionsService.rawOptions.convertEol },
    attributes: attributes(core, current.fg, current.bg, current.extended._ext,
      current.bg & 0x10000000 ? current.extended.urlId : 0)
      + `,${colour(current.extended._ext)}`,
    charsets: JSON.stringify([charset.glevel, charset.charset,
      [0, 1, 2, 3].map((g) => charset._charsets[g])]),
    joins: joins(core),
    parser: core._inputHandler._parser.currentState,
    title: told.title, icon: core._inputHandler._iconName, colours: told.colours, answers: told.answers, threw: told.threw,
  };
}

function run({ cols, rows, parts, hash }) {
  const term = new Terminal({ cols, rows, scrollback: SCROLLBACK, allowProposedApi: true, logLevel: 'off' });
  const told = { title: '', colours: {}, answers: [] };
  term.onTitleChange((title) => { told.title = title; });
  term.onData((data) => told.answers.push(data));
  term._core._inputHandler.onColor((events) => {
    for (const { type, index, color } of events) {
      if (type === 0) told.answers.push(`colour ${index}`);
      else if (type === 1) told.colours[index] = color;
      else if (index !== undefined) delete told.colours[index];
      else for (const key of Object.keys(told.colours)) if (key < 256) delete told.colours[key];
    }
  });
  for (const part of parts) {
    try {
      if (typeof part === 'string') term._core.writeSync(Buffer.from(part, 'base64'));
      else term.resize(part.cols, part.rows);
    } catch (error) {
      told.threw = String(error.message); // xterm.js itself fails on a few odd streams
    }
  }
  const result = state(term, told);
  term.dispose();
  if (hash) {
    for (const b of [result.normal, result.alt]) {
      if (b && b.lines) b.lines = b.lines.map((l) => crypto.createHash('sha1').update(JSON.stringify(l)).digest('hex').slice(0, 10)).join(' ');
    }
  }
  return result;
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  process.stdout.write(`${JSON.stringify(run(JSON.parse(line)))}\n`);
});
