'use strict';
// The same oracle protocol as truth.cjs, answering with what @xterm/addon-serialize makes of the stream.
const readline = require('readline');
const { Terminal } = require(process.argv[2]);
const { SerializeAddon } = require(process.argv[3]);

readline.createInterface({ input: process.stdin }).on('line', (text) => {
  const { cols, rows, parts } = JSON.parse(text);
  const term = new Terminal({ cols, rows, scrollback: 1000, allowProposedApi: true, logLevel: 'off' });
  const addon = new SerializeAddon();
  term.loadAddon(addon);
  for (const part of parts) {
    if (typeof part === 'string') term._core.writeSync(Buffer.from(part, 'base64'));
    else term.resize(part.cols, part.rows);
  }
  process.stdout.write(`${JSON.stringify({ data: addon.serialize() })}\n`);
});
