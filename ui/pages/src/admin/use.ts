// Figures of `api/usage` as charts and bars. Pure.

export interface Amount {
  readonly cpuSeconds: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}
export type Measure = 'cpuSeconds' | 'memoryBytes' | 'diskBytes' | 'sentBytes';

export interface Reply {
  readonly from: number;
  readonly to: number;
  readonly resolution: 'minute' | '10min' | 'hour' | 'day';
  readonly workspaces: readonly (Amount & { readonly user: string; readonly name: string })[];
  readonly samples: readonly (Amount & { readonly at: number })[];
}

/** Moments and values; null: nothing was measured then. */
export type Series = [number[], (number | null)[]];

/** CPUs and bytes of memory in use in each part of the time. The last part is not over yet and is left out. */
export function series(
  samples: Reply['samples'],
  from: number,
  to: number,
  width: number
): { cpu: Series; memory: Series } {
  const known = new Map(samples.map(sample => [sample.at, sample]));
  const times: number[] = [];
  const [earliest] = samples;
  if (earliest) {
    for (let at = Math.max(Math.ceil(from / width) * width, earliest.at); at + width <= to; at += width) {
      times.push(at);
    }
  }
  const of = (value: (sample: Amount) => number) =>
    times.map(at => {
      const sample = known.get(at);
      return sample ? value(sample) : null;
    });
  return {
    cpu: [times, of(sample => sample.cpuSeconds / width)],
    memory: [times, of(sample => sample.memoryBytes)]
  };
}

export interface Consumer {
  readonly title: string;
  readonly value: number;
}

/** Who used most of it, the first `most`. The network is both directions. */
export function consumers(workspaces: Reply['workspaces'], measure: Measure, most = 15): readonly Consumer[] {
  return workspaces
    .map(each => ({
      title: each.name ? `${each.user}/${each.name}` : each.user,
      value: each[measure] + (measure === 'sentBytes' ? each.receivedBytes : 0)
    }))
    .filter(each => each.value > 0)
    .sort((a, b) => b.value - a.value)
    .slice(0, most);
}
