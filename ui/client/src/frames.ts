/**
 * Binary frames of `pth.v1`: eight bytes, then payload. Pure.
 *
 * From the server: one byte that says what follows, seven bytes big-endian position. From the client: the
 * big-endian number of this input, then the bytes to type.
 */

import { Code, MAX_INPUT, MAX_OFFSET, MAX_OUTPUT, ProtocolError } from './codes.js';

export const HEADER = 8;
const WORD = 2 ** 32;

/** What the payload of a frame from the server is. */
export const Kind = {
  /** Bytes of the PTY; position: their offset. */
  stream: 0,
  /** Part of the announced keyframe; position: place in the keyframe. */
  keyframe: 1,
  /** Bytes of the PTY that were asked for with `fetch`; position: their offset. */
  fetched: 2
} as const;

export interface OutputFrame {
  readonly kind: number;
  readonly position: number;
  /** A view of the frame, not a copy. */
  readonly data: Uint8Array;
}

function viewOf(frame: Uint8Array): DataView {
  return new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
}

/** A frame from the server; throws `ProtocolError`. */
export function decodeOutput(frame: Uint8Array): OutputFrame {
  const size = frame.byteLength - HEADER;
  if (size <= 0) {
    throw new ProtocolError('A data frame needs a header of 8 bytes and at least one byte of data.');
  }
  if (size > MAX_OUTPUT) {
    throw new ProtocolError(`A data frame may carry at most ${MAX_OUTPUT} bytes.`, Code.tooLarge);
  }
  const view = viewOf(frame);
  const high = view.getUint32(0);
  const kind = high >>> 24;
  if (kind > Kind.fetched) {
    throw new ProtocolError(`A data frame of unknown kind ${kind}.`);
  }
  const upper = high & 0xffffff;
  // Compared before they are put together: beyond 2^53 a sum would be rounded.
  const position = upper * WORD + view.getUint32(4);
  if (upper > 0x1fffff || position > MAX_OFFSET - size) {
    throw new ProtocolError('A data frame lies beyond the largest offset.');
  }
  return { kind, position, data: frame.subarray(HEADER) };
}

/** A frame from the server, as tests make it. */
export function encodeOutput(kind: number, position: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = encodeInput(position, data);
  frame[0] = kind;
  return frame;
}

/** A frame of input. */
export function encodeInput(seq: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(HEADER + data.byteLength);
  const view = viewOf(frame);
  view.setUint32(0, Math.floor(seq / WORD));
  view.setUint32(4, seq % WORD);
  frame.set(data, HEADER);
  return frame;
}

/** Number and bytes of a frame of input; throws `ProtocolError`. */
export function decodeInput(frame: Uint8Array): { readonly seq: number; readonly data: Uint8Array } {
  const size = frame.byteLength - HEADER;
  if (size < 0) {
    throw new ProtocolError('An input frame needs a header of 8 bytes.');
  }
  if (size > MAX_INPUT) {
    throw new ProtocolError(`An input frame may carry at most ${MAX_INPUT} bytes.`, Code.tooLarge);
  }
  const view = viewOf(frame);
  const upper = view.getUint32(0);
  const seq = upper * WORD + view.getUint32(4);
  if (upper > 0x1fffff || seq === 0) {
    throw new ProtocolError('Input is numbered from 1 to 2^53 - 1.');
  }
  return { seq, data: frame.subarray(HEADER) };
}
