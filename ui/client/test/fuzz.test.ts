/** Whatever comes from outside: nothing is thrown, nothing is shown that does not continue what is shown. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { Code, LIMITS, ProtocolError } from '../src/codes.js';
import type { Event } from '../src/events.js';
import { decodeInput, decodeOutput, encodeOutput } from '../src/frames.js';
import { decodeServer, type Attach, type ServerMessage } from '../src/messages.js';
import { ClientStream } from '../src/stream.js';

const CLIENT = '0123456789abcdef'.repeat(2);
const small = fc.integer({ min: 0, max: 40 });
const size = { rows: fc.constantFrom(0, 1, 24, 1001), cols: fc.constantFrom(1, 80) };
const data = fc.uint8Array({ maxLength: 20 });

const message: fc.Arbitrary<object> = fc.oneof(
  fc.record({
    type: fc.constant('attached'), epoch: fc.constantFrom('', 'e1', 'e2'), end: small, input_ack: small,
    answer_from: small, responder: fc.boolean(), resumed: fc.boolean(), mode: fc.constantFrom('rw', 'watch'),
    start: fc.option(small), ...size
  }),
  fc.record({ type: fc.constant('reset'), reason: fc.constantFrom('fresh', 'lag') }),
  fc.record({ type: fc.constant('keyframe'), offset: small, size: small, ...size }),
  fc.record({ type: fc.constant('size'), offset: small, ...size }),
  fc.record({ type: fc.constant('responder'), responder: fc.boolean(), from: small }),
  fc.record({ type: fc.constant('input_ack'), seq: small }),
  fc.record({ type: fc.constantFrom('skipped', 'fetched'), from: small, to: small }),
  fc.record({ type: fc.constantFrom('exit', 'locked', 'unlocked', 'error', 'title', 'future') }),
  fc.object()
);
const frame = fc.oneof(
  message.map(one => JSON.stringify(one)),
  fc.string(),
  fc.json(),
  fc.tuple(fc.constantFrom(0, 0, 0, 1, 2, 3), small, data).map(([kind, at, bytes]) => encodeOutput(kind, at, bytes)),
  fc.uint8Array({ maxLength: 12 })
);
const action = fc.oneof(
  { weight: 6, arbitrary: frame.map(one => ({ do: 'receive' as const, frame: one })) },
  { weight: 1, arbitrary: fc.constant({ do: 'open' as const }) },
  { weight: 1, arbitrary: fc.constantFrom(1006, 1012, 4401, 4423).map(code => ({ do: 'close' as const, code })) },
  { weight: 1, arbitrary: data.map(typed => ({ do: 'type' as const, typed })) },
  { weight: 1, arbitrary: fc.double({ min: 0, max: 30, noNaN: true }).map(seconds => ({ do: 'wait' as const, seconds })) }
);

test('decoders refuse with a ProtocolError or not at all', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), message.map(one => JSON.stringify(one))), text => {
      try {
        decodeServer(text);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }),
    { numRuns: 2000 }
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 24 }), bytes => {
      try {
        const decoded = decodeOutput(bytes);
        expect(decoded.position + decoded.data.length).toBeLessThanOrEqual(Number.MAX_SAFE_INTEGER);
        expect(encodeOutput(decoded.kind, decoded.position, decoded.data)).toEqual(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }),
    { numRuns: 2000 }
  );
});

test('a server that says anything in any order', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), actions => {
      const client = new ClientStream(CLIENT, { rows: 24, cols: 80, random: () => 0.5 });
      let now = 0;
      let place: number | null = null;
      let generation = 0;
      let open = false;
      const apply = (events: readonly Event[]): void => {
        for (const event of events) {
          if (event.event === 'clear_screen') {
            expect(event.generation).toBe(generation + 1);
            generation = event.generation;
            place = null;
          } else if (event.event === 'output') {
            expect(event.generation).toBe(generation);
            expect(place === null || place === event.offset).toBe(true);
            expect(event.data.length).toBeGreaterThan(0);
            place = event.offset + event.data.length;
            apply(client.parsed(place, generation, now));
          } else if (event.event === 'keyframe_part' && event.last) {
            place = event.offset;
            apply(client.parsed(place, generation, now));
          } else if (event.event === 'send_text' && event.message.type === 'ack') {
            expect(event.message.offset).toBeLessThanOrEqual(client.offset ?? 0);
          } else if (event.event === 'close_socket') {
            expect([1000, 4400, 4408, 4413]).toContain(event.code);
            open = false;
          } else if (event.event === 'connect') {
            expect(open).toBe(false);
            open = true;
          }
        }
      };
      apply(client.start(now));
      for (const one of actions) {
        if (one.do === 'receive') {
          apply(client.receive(one.frame, now));
        } else if (one.do === 'open') {
          apply(client.opened(now));
        } else if (one.do === 'close' && open) {
          open = false;
          apply(client.closed(one.code, now));
        } else if (one.do === 'type') {
          apply(client.type(one.typed));
        } else if (one.do === 'wait') {
          now += one.seconds;
          apply(client.tick(now));
        }
        const { wakeAt, state } = client;
        expect(wakeAt === null).toBe(!open && ['idle', 'ended', 'refused'].includes(state.name));
      }
    }),
    { numRuns: 1500 }
  );
});

/** A keeper and a server in 60 lines, as the protocol describes them. */
class House {
  printed = 0;
  typed = '';
  private seqs = 0;
  private sent = 0;
  private unanswered: Array<() => readonly Event[]> = [];
  attached = false;

  constructor(private readonly client: ClientStream) {}

  /** What the client sends; the answers come by `deliver`. */
  hear(event: Event): void {
    if (event.event === 'send_binary') {
      const { seq, data: bytes } = decodeInput(event.frame);
      if (seq === this.seqs + 1) {
        this.typed += new TextDecoder().decode(bytes);
        this.seqs = seq;
      } else {
        expect(seq, 'a gap').toBeLessThanOrEqual(this.seqs);
      }
      this.say({ type: 'input_ack', seq: this.seqs });
    } else if (event.event === 'send_text' && event.message.type === 'attach') {
      this.attach(event.message);
    }
  }
  print(count: number): void {
    this.printed += count;
    this.push();
  }
  /** The oldest of what is under way arrives. */
  deliver(): readonly Event[] {
    return this.unanswered.shift()?.() ?? [];
  }
  get underWay(): number {
    return this.unanswered.length;
  }
  cut(): void {
    this.unanswered = [];
    this.attached = false;
  }

  private attach(attach: Attach): void {
    this.attached = true;
    const resumed = attach.epoch !== '';
    this.sent = resumed ? attach.offset : 0;
    this.say({
      type: 'attached', epoch: 'e1', start: this.sent, end: this.printed, input_ack: this.seqs, answer_from: 0,
      responder: true, rows: 24, cols: 80, resumed, mode: 'rw'
    });
    if (!resumed) {
      this.say({ type: 'reset', reason: 'fresh' });
    }
    this.push();
  }
  private say(message: ServerMessage): void {
    this.unanswered.push(() => this.client.receive(JSON.stringify(message), 0));
  }
  private push(): void {
    while (this.attached && this.sent < this.printed) {
      const count = Math.min(7, this.printed - this.sent);
      const bytes = Uint8Array.from({ length: count }, (_, at) => (this.sent + at) % 251);
      const frame = encodeOutput(0, this.sent, bytes);
      this.unanswered.push(() => this.client.receive(frame, 0));
      this.sent += count;
    }
  }
}

describe('through any cuts', () => {
  test('every byte is shown once and in order, every key is typed once', () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.constant('deliver' as const) },
      { weight: 2, arbitrary: fc.integer({ min: 1, max: 30 }) },
      { weight: 2, arbitrary: fc.string({ minLength: 1, maxLength: 12 }) },
      { weight: 1, arbitrary: fc.constant('\0cut' as const) }
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), steps => {
        const limits = { ...LIMITS, inputFrame: 5, inputWindow: 12 };
        const client = new ClientStream(CLIENT, { rows: 24, cols: 80, random: () => 0, limits });
        const house = new House(client);
        let shown = 0;
        let meant = '';
        const apply = (events: readonly Event[]): void => {
          for (const event of events) {
            if (event.event === 'connect') {
              apply(client.opened(0));
            } else if (event.event === 'output') {
              expect(event.offset).toBe(shown);
              event.data.forEach((byte, at) => expect(byte).toBe((shown + at) % 251));
              shown += event.data.length;
              apply(client.parsed(shown, event.generation, 0));
            } else if (event.event === 'input_dropped' || event.event === 'close_socket') {
              throw new Error(`${event.event}`);
            } else if (event.event === 'clear_screen') {
              expect(shown).toBe(0);
            }
            house.hear(event);
          }
        };
        const cut = (): void => {
          house.cut();
          apply(client.closed(Code.broken, 0));
          apply(client.nudge(0));
        };
        apply(client.start(0));
        for (const one of steps) {
          if (one === 'deliver') {
            apply(house.deliver());
          } else if (one === '\0cut') {
            cut();
          } else if (typeof one === 'number') {
            house.print(one);
          } else {
            meant += one;
            apply(client.type(new TextEncoder().encode(one)));
          }
        }
        while (house.underWay > 0) {
          apply(house.deliver());
        }
        expect(house.typed).toBe(meant);
        expect(shown).toBe(house.printed);
        expect(client.input.kept).toBe(0);
      }),
      { numRuns: 500 }
    );
  });
});
