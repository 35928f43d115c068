// Server-sent events by `fetch`: unlike EventSource it says why it was refused, and sends the XSRF header.

import { headers, refusalOf, type Refusal } from './api';

export interface ServerEvent {
  readonly id: string;
  readonly name: string;
  readonly data: string;
}

/** Takes text in pieces of any size; gives the events that are whole. */
export class Parser {
  private rest = '';
  private id = '';
  private name = '';
  private data: string[] = [];

  feed(text: string): ServerEvent[] {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop() ?? '';
    const found: ServerEvent[] = [];
    for (const line of lines) {
      if (line === '') {
        if (this.data.length) {
          found.push({ id: this.id, name: this.name || 'message', data: this.data.join('\n') });
        }
        this.name = this.id = '';
        this.data = [];
        continue;
      }
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (field === 'data') {
        this.data.push(value ?? '');
      } else if (field === 'event') {
        this.name = value ?? '';
      } else if (field === 'id') {
        this.id = value ?? '';
      }
    }
    return found;
  }
}

/** Milliseconds until the next try: more each time, never all panels at once. */
export const pause = (failures: number, random: number = Math.random()): number =>
  Math.min(30_000, 500 * 2 ** Math.min(failures, 6)) * (0.5 + random / 2);

/** Milliseconds without anything after which a connection counts as dead; the service speaks every 15 s. */
const DEAD = 40_000;

export interface Follower {
  event(event: ServerEvent): void;
  /** Connected, or why not. */
  state(live: boolean, refusal: Refusal | null): void;
}

/** Follows until it is told to stop, or may not (401, 403). */
export function follow(url: string, follower: Follower): () => void {
  const stop = new AbortController();
  void (async () => {
    let last = '';
    for (let failures = 0; !stop.signal.aborted; failures += 1) {
      const line = new AbortController();
      const end = () => line.abort();
      stop.signal.addEventListener('abort', end);
      let timer = setTimeout(end, DEAD);
      try {
        const answer = await fetch(url, {
          headers: { ...headers(), ...(last ? { 'Last-Event-ID': last } : {}) },
          signal: line.signal,
          cache: 'no-store'
        });
        if (!answer.ok || !answer.body) {
          const refusal = await refusalOf(answer);
          follower.state(false, refusal);
          if (refusal.status === 401 || refusal.status === 403) {
            return;
          }
        } else {
          const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
          const parser = new Parser();
          for (let next = await reader.read(); !next.done; next = await reader.read()) {
            clearTimeout(timer);
            timer = setTimeout(end, DEAD);
            failures = 0;
            follower.state(true, null);
            for (const event of parser.feed(next.value)) {
              last = event.id || last;
              follower.event(event);
            }
          }
          failures = -1; // it ended as agreed: come back at once
        }
      } catch {
        if (!stop.signal.aborted) {
          follower.state(false, null);
        }
      } finally {
        clearTimeout(timer);
        stop.signal.removeEventListener('abort', end);
      }
      await new Promise(done => setTimeout(done, pause(failures)));
    }
  })();
  return () => stop.abort();
}
