'use strict';
/*
 * The state of an xterm.js terminal -> bytes that recreate it in a fresh one.
 *
 * Reads xterm.js 6 internals (`_core`): the public API shows neither saved cursors, charsets,
 * margins nor pending wrap. The exactness test feeds the bytes to a fresh terminal and compares all of it,
 * so a new version of xterm.js that moves one of these names fails there and not with a user.
 *
 * Rules that make it exact:
 *  - rows are printed in order, so that scrollback is made by scrolling, as it was; the soft-wrap flag of a
 *    row is made by wrapping into it;
 *  - an empty cell is skipped or erased, never printed as a space (copying and reflow tell them apart);
 *  - attributes are reset before anything that scrolls, because new rows take the background colour;
 *  - nothing written here asks the terminal for an answer.
 */

const FLAGS_FG = [[0x8000000, 1], [0x20000000, 5], [0x4000000, 7], [0x40000000, 8], [-0x80000000, 9]];
const FLAGS_BG = [[0x8000000, 2], [0x4000000, 3], [0x40000000, 53]];
const UNDERLINE = 0x10000000;
const HAS_EXTENDED = 0x10000000;
const PROTECTED = 0x20000000;
const COLOUR = 0x3ffffff;
const CHARSET_NAMES = ['0', 'A', '4', 'C', '5', 'R', 'Q', 'K', 'Y', 'E', '6', 'Z', 'H', '7', '='];
const DESIGNATE = ['(', ')', '*', '+'];

function colour(params, value, base) {
  const n = value & 0xffffff;
  switch (value & 0x3000000) {
    case 0x1000000: {
      const c = n & 0xff;
      if (base === 58) params.push(58, 5, c);
      else params.push(c < 8 ? base - 8 + c : base + 52 + c - 8);
      break;
    }
    case 0x2000000: params.push(base, 5, n & 0xff); break;
    case 0x3000000: params.push(base, 2, n >>> 16, (n >>> 8) & 0xff, n & 0xff); break;
  }
}

/** SGR (and DECSCA) that sets exactly these attributes. `ext` is the raw extended word, or 0. */
function sgr(fg, bg, ext) {
  const p = [0];
  for (const [bit, code] of FLAGS_FG) if (fg & bit) p.push(code);
  for (const [bit, code] of FLAGS_BG) if (bg & bit) p.push(code);
  const style = (ext & 0x1c000000) >>> 26;
  // Flagged as underlined, but with an extension that says "no underline": shows none.
  if (fg & UNDERLINE && (style || !(bg & HAS_EXTENDED))) p.push(style > 1 ? `4:${style}` : 4);
  colour(p, fg, 38);
  colour(p, bg, 48);
  if (ext & COLOUR) colour(p, ext, 58);
  return `\x1b[${p.length === 1 ? '' : p.join(';')}m${bg & PROTECTED ? '\x1b[1"q' : ''}`;
}

class Writer {
  constructor(core) {
    this.core = core;
    this.out = [];
    this.attrs = '';
    this.link = 0;
  }

  raw(s) { this.out.push(s); }

  plain() { this.attr(0, 0, 0, 0); }

  attr(fg, bg, ext, urlId) {
    const s = sgr(fg, bg, ext);
    if (s !== this.attrs) {
      this.out.push(s);
      this.attrs = s;
    }
    const data = urlId ? this.core._oscLinkService.getLinkData(urlId) : undefined;
    const link = data ? urlId : 0;
    if (link !== this.link) {
      this.out.push(data ? `\x1b]8;${data.id ? `id=${data.id}` : ''};${data.uri}\x1b\\` : '\x1b]8;;\x1b\\');
      this.link = link;
    }
  }

  cellAttr(line, x) {
    const bg = line.getBg(x);
    const extended = bg & HAS_EXTENDED ? line._extendedAttrs[x] : undefined;
    this.attr(line.getFg(x), bg, extended ? extended._ext : 0, extended ? extended.urlId : 0);
  }

  /** One row, the cursor being in its first column. Returns whether the last column was printed. */
  row(line, cols) {
    let x = 0;
    let at = 0; // where the cursor is
    while (x < cols) {
      if (isErased(line, x)) {
        const bg = line.getBg(x) & COLOUR;
        let end = x + 1;
        while (end < cols && isErased(line, end) && (line.getBg(end) & COLOUR) === bg) end++;
        if (bg) {
          this.goto(at, x);
          at = x;
          this.attr(0, bg, 0, 0);
          this.raw(`\x1b[${end - x}X`);
        }
        x = end;
        continue;
      }
      this.goto(at, x);
      this.cellAttr(line, x);
      const torn = isTorn(line, x, cols);
      const width = torn ? 1 : line.getWidth(x);
      const chars = torn ? ' ' : line.getString(x);
      // A cell of no width that holds something began as a combining character with nothing to join:
      // any control sequence before it keeps it from joining now.
      if (width === 0 && chars) this.raw('\x1b[0X');
      this.raw(chars || ' ');
      x += Math.max(1, width);
      at = x;
    }
    return at >= cols;
  }

  goto(at, x) { if (at !== x) this.raw(`\x1b[${x - at === 1 ? '' : x - at}C`); }

  rows(lines, from, to, cols) {
    let full = false;
    for (let i = from; i < to; i++) {
      const line = lines.get(i);
      if (i > from) {
        if (!line.isWrapped) {
          this.plain();
          this.raw('\r\n');
        } else if (!full || isErased(line, 0) || line.getBg(0) & COLOUR || line.getWidth(0) === 0) {
          this.wrapInto(lines.get(i - 1), full, cols);
        }
      }
      full = this.row(line, cols);
    }
  }

  /** Move to the next row by wrapping, whatever the two rows hold at the seam. */
  wrapInto(previous, full, cols) {
    this.plain();
    if (!full) this.raw(`\x1b[${cols}G `);
    this.raw(' \r\x1b[X');
    if (!full) {
      this.raw(`\x1b[A\x1b[${cols}G`);
      this.attr(0, previous.getBg(cols - 1) & COLOUR, 0, 0);
      this.raw('\x1b[X');
      this.plain();
      this.raw('\x1b[B\r');
    }
  }
}

/** Empty, and with nothing but a background: what an erase leaves. */
function isErased(line, x) {
  const bg = line.getBg(x);
  if (line.hasContent(x) || bg & ~(COLOUR | HAS_EXTENDED) || line.getFg(x) & ~0xffffff) return false;
  if (bg & HAS_EXTENDED && line._extendedAttrs[x] && line._extendedAttrs[x].urlId) return false;
  // xterm.js sometimes leaves the second half of a wide character behind; it shows as nothing.
  return line.getWidth(x) === 1 || !(x > 0 && line.getWidth(x - 1) === 2);
}

/** Half a wide character, as a smaller window or overwriting without wraparound leave it in xterm.js. */
function isTorn(line, x, cols) {
  return line.getWidth(x) === 2 && (x + 1 >= cols || line.getWidth(x + 1) !== 0 || line.hasContent(x + 1) !== 0);
}

let charsetNames;
/** xterm.js keeps charsets as objects; find out which name gives which by asking it. */
function charsetName(core, charset) {
  if (!charset) return 'B';
  if (!charsetNames) {
    charsetNames = new Map();
    const service = core._charsetService;
    const kept = [service.glevel, service.charset, service._charsets.slice()];
    for (const name of CHARSET_NAMES) {
      core._inputHandler.selectCharset(`(${name}`);
      charsetNames.set(service._charsets[0], name);
    }
    [service.glevel, service.charset, service._charsets] = kept;
  }
  return charsetNames.get(charset) || 'B';
}

function tabs(w, buffer, cols) {
  const stops = [];
  let standard = true;
  for (let x = 0; x < cols; x++) {
    if (buffer.tabs[x]) stops.push(x);
    if (Boolean(buffer.tabs[x]) !== (x % 8 === 0)) standard = false;
  }
  if (standard) return;
  w.raw('\x1b[3g');
  for (const x of stops) w.raw(`\x1b[${x + 1}G\x1bH`);
}

/** DECSC, with what it is to remember. */
function savedCursor(w, core, buffer, cols, rows) {
  const y = Math.min(Math.max(buffer.savedY - buffer.ybase, 0), rows - 1);
  const x = Math.min(buffer.savedX, cols - 1);
  const { fg } = buffer.savedCurAttrData;
  const bg = buffer.savedCurAttrData.bg & ~HAS_EXTENDED; // the extension itself is not saved
  const name = charsetName(core, buffer.savedCharset);
  // A fresh terminal remembers its top left corner.
  if (!x && !y && !fg && !bg && name === 'B' && buffer.savedY === 0 && buffer.ybase === 0) return;
  w.attr(fg, bg, 0, 0);
  w.raw(`\x1b[${y + 1};${x + 1}H`);
  if (name !== 'B') w.raw(`\x1b(${name}`);
  w.raw('\x1b7');
  if (name !== 'B') w.raw('\x1b(B');
}

function margins(w, buffer, rows) {
  if (buffer.scrollTop !== 0 || buffer.scrollBottom !== rows - 1) {
    w.raw(`\x1b[${buffer.scrollTop + 1};${buffer.scrollBottom + 1}r`);
  }
}

function modes(w, core) {
  const m = core.coreService.decPrivateModes;
  const set = [];
  if (m.applicationCursorKeys) set.push(1);
  if (m.reverseWraparound) set.push(45);
  if (m.bracketedPasteMode) set.push(2004);
  if (m.sendFocus) set.push(1004);
  const protocol = { X10: 9, VT200: 1000, DRAG: 1002, ANY: 1003 }[core.coreMouseService.activeProtocol];
  if (protocol) set.push(protocol);
  const encoding = { SGR: 1006, SGR_PIXELS: 1016 }[core.coreMouseService.activeEncoding];
  if (encoding) set.push(encoding);
  if (set.length) w.raw(`\x1b[?${set.join(';')}h`);
  if (core.coreService.isCursorHidden) w.raw('\x1b[?25l');
  if (m.applicationKeypad) w.raw('\x1b=');
  if (m.cursorStyle) {
    const shape = { block: 1, underline: 3, bar: 5 }[m.cursorStyle];
    w.raw(`\x1b[${m.cursorBlink ? shape : shape + 1} q`);
  }
  // These two are options in xterm.js, which a reset leaves alone.
  if (core.optionsService.rawOptions.cursorBlink) w.raw('\x1b[?12h');
  if (core.optionsService.rawOptions.convertEol) w.raw('\x1b[20h');
  if (m.origin) w.raw('\x1b[?6h');
  if (!m.wraparound) w.raw('\x1b[?7l');
}

function charsets(w, core, buffer) {
  const s = core._charsetService;
  for (let g = 0; g < 4; g++) {
    if (s._charsets[g]) w.raw(`\x1b${DESIGNATE[g]}${charsetName(core, s._charsets[g])}`);
  }
  if (s.glevel) w.raw(['\x0f', '\x0e', '\x1bn', '\x1bo'][s.glevel]);
  // After a DECRC the active charset is the saved one, whatever is designated.
  if ((s.charset || undefined) !== (s._charsets[s.glevel] || undefined)) {
    if ((s.charset || undefined) === (buffer.savedCharset || undefined)) w.raw('\x1b8');
  }
}

function cursor(w, core, buffer, cols) {
  const top = core.coreService.decPrivateModes.origin ? buffer.scrollTop : 0;
  const goto = (x) => w.raw(`\x1b[${Math.max(buffer.y - top, 0) + 1};${x + 1}H`);
  const line = buffer.lines.get(buffer.ybase + buffer.y);
  const current = core._inputHandler._curAttrData;
  const setCurrent = () => {
    w.attrs = ''; // always said: the last word on it
    // Without the flag (after a DECRC) the link is not written into cells.
    const link = current.bg & HAS_EXTENDED ? current.extended.urlId : 0;
    w.attr(current.fg, current.bg, current.extended._ext, link);
  };
  const insert = core.coreService.modes.insertMode ? '\x1b[4h' : '';
  const sync = core.coreService.decPrivateModes.synchronizedOutput ? '\x1b[?2026h' : '';
  // A character just printed may be repeated (REP) or combined with: print it again, last of all.
  const joins = core._inputHandler._parser.precedingJoinState !== 0 && !insert;
  const pending = buffer.x >= cols;
  let last = buffer.x - 1;
  if (last > 0 && line.getWidth(last) === 0 && !line.hasContent(last)) last--;
  const chars = last >= 0 && !isTorn(line, last, cols) ? line.getString(last) : '';
  if (joins && chars && last + line.getWidth(last) === buffer.x
      // Exclusive or, because one of the two may be unsigned.
      && !(line.getFg(last) ^ current.fg) && !(line.getBg(last) ^ current.bg)) {
    w.raw(sync);
    goto(last);
    setCurrent();
    w.raw(chars);
    return;
  }
  if (pending && last >= 0) {
    goto(last);
    if (chars) {
      w.cellAttr(line, last);
      w.raw(chars);
    } else {
      const bg = line.getBg(last) & COLOUR;
      w.attr(0, bg, 0, 0);
      w.raw(' ');
      let blank = true;
      for (let x = 0; x < cols && blank; x++) blank = isErased(line, x) && (line.getBg(x) & COLOUR) === bg;
      if (blank) w.raw('\x1b[1K'); // leaves the cursor beyond the last column
    }
  } else {
    goto(buffer.x);
  }
  setCurrent();
  w.raw(insert + sync);
}

/**
 * @param term an @xterm/headless Terminal
 * @param scrollback how many lines above the screen to keep
 * @param extra {title, icon, colours: Map} that xterm.js tells only by events
 */
function keyframe(term, scrollback, extra) {
  const core = term._core;
  const w = new Writer(core);
  const { normal, alt } = core.buffers;
  const { cols, rows } = term;
  const inAlt = core.buffers.active === alt;

  if (extra.icon !== undefined && extra.icon !== extra.title) w.raw(`\x1b]1;${extra.icon}\x07`);
  if (extra.title !== undefined) {
    w.raw(extra.icon === extra.title ? `\x1b]0;${extra.title}\x07` : `\x1b]2;${extra.title}\x07`);
  }
  for (const [index, [r, g, b]] of extra.colours) {
    const spec = `rgb:${[r, g, b].map((v) => v.toString(16).padStart(2, '0')).join('/')}`;
    w.raw(index < 256 ? `\x1b]4;${index};${spec}\x07` : `\x1b]${index - 246};${spec}\x07`);
  }

  const end = normal.ybase + rows;
  w.rows(normal.lines, Math.max(0, normal.ybase - scrollback), end, cols);
  tabs(w, normal, cols);
  savedCursor(w, core, normal, cols, rows);
  if (!inAlt) {
    // What was saved in the alternate screen is remembered until it is entered again.
    if (alt.savedX || alt.savedY || alt.savedCurAttrData.fg || alt.savedCurAttrData.bg || alt.savedCharset) {
      w.plain();
      w.raw('\x1b[?47h');
      savedCursor(w, core, alt, cols, rows);
      w.raw('\x1b[?47l');
    }
    margins(w, normal, rows);
  } else {
    margins(w, normal, rows);
    w.plain();
    w.raw('\x1b[?47h\x1b[H');
    w.rows(alt.lines, alt.ybase, alt.ybase + rows, cols);
    tabs(w, alt, cols);
    savedCursor(w, core, alt, cols, rows);
    margins(w, alt, rows);
  }
  charsets(w, core, core.buffers.active);
  modes(w, core);
  cursor(w, core, core.buffers.active, cols);
  return w.out.join('');
}

module.exports = { keyframe };
