// What was used over time, and by whom most.

import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState, type ReactNode } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { ask, query, refusalIn, type Refusal } from './api';
import { Name, Problem } from './bits';
import { consumers, series, type Consumer, type Measure, type Reply, type Series } from './use';
import { bytes, span } from './words';

const HOUR = 3600;
const RANGES = [
  { title: 'Hour', seconds: HOUR, resolution: 'minute' },
  { title: 'Day', seconds: 24 * HOUR, resolution: '10min' },
  { title: 'Week', seconds: 7 * 24 * HOUR, resolution: 'hour' },
  { title: '30 days', seconds: 30 * 24 * HOUR, resolution: 'hour' },
  { title: 'Year', seconds: 365 * 24 * HOUR, resolution: 'day' }
] as const;
const WIDTHS = { minute: 60, '10min': 600, hour: HOUR, day: 24 * HOUR };
type Shown = { id: Measure; title: string; text: (value: number) => string };
const CPU: Shown = { id: 'cpuSeconds', title: 'CPU', text: span };
const MEASURES: readonly Shown[] = [
  CPU,
  { id: 'memoryBytes', title: 'Memory', text: bytes },
  { id: 'diskBytes', title: 'Disk', text: bytes },
  { id: 'sentBytes', title: 'Network', text: bytes }
];

export default function Usage({ theme }: { theme: string }): ReactNode {
  const [range, setRange] = useState<(typeof RANGES)[number]>(RANGES[1]);
  const [measure, setMeasure] = useState(CPU);
  const [reply, setReply] = useState<Reply | null>(null);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const load = useCallback(() => {
    let over = false;
    setRefusal(null);
    const from = Math.floor(Date.now() / 1000) - range.seconds;
    ask<Reply>('GET', `usage${query({ all: true, together: true, resolution: range.resolution, from })}`)
      .then(found => over || setReply(found))
      .catch(error => over || setRefusal(refusalIn(error)));
    return () => {
      over = true;
    };
  }, [range]);
  useEffect(load, [load]);
  const charts = useMemo(
    () => reply && series(reply.samples, reply.from, reply.to, WIDTHS[reply.resolution]),
    [reply]
  );
  const top = reply ? consumers(reply.workspaces, measure.id) : [];
  return (
    <section className="page" aria-label="Usage">
      <div className="tools">
        <div className="choices" role="group" aria-label="Time">
          {RANGES.map(each => (
            <button
              key={each.title}
              type="button"
              className="button"
              aria-pressed={each === range}
              onClick={() => setRange(each)}
            >
              {each.title}
            </button>
          ))}
        </div>
      </div>
      {refusal && <Problem refusal={refusal} again={load} />}
      {(reply || !refusal) && (
        <>
          <div className="charts">
            <Chart title="CPUs in use" theme={theme} data={charts?.cpu ?? null} from={reply?.from ?? 0} to={reply?.to ?? 1} text={cpus} />
            <Chart title="Memory in use" theme={theme} data={charts?.memory ?? null} from={reply?.from ?? 0} to={reply?.to ?? 1} text={bytes} steps={BINARY} />
          </div>
          <div className="tools">
            <h2>Largest consumers</h2>
            <div className="choices" role="group" aria-label="Measure">
              {MEASURES.map(each => (
                <button
                  key={each.id}
                  type="button"
                  className="button"
                  aria-pressed={each === measure}
                  onClick={() => setMeasure(each)}
                >
                  {each.title}
                </button>
              ))}
            </div>
          </div>
          {reply && !top.length && <p className="soft">Nothing was used in this time.</p>}
          <ol className="bars">{top.map(each => bar(each, top[0]?.value ?? 1, measure.text))}</ol>
        </>
      )}
    </section>
  );
}

const cpus = (value: number): string => value.toFixed(value < 10 ? 1 : 0);
/** Steps of an axis of bytes. */
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

const bar = (each: Consumer, most: number, text: (value: number) => string): ReactNode => (
  <li key={each.title}>
    <Name text={each.title} />
    <span className="bar" aria-hidden="true">
      <span style={{ width: `${Math.max(1, (100 * each.value) / most)}%` }} />
    </span>
    <span className="value">{text(each.value)}</span>
  </li>
);

function Chart(props: {
  title: string;
  data: Series | null;
  from: number;
  to: number;
  theme: string;
  text: (value: number) => string;
  steps?: number[];
}): ReactNode {
  const { title, data, from, to, theme, text, steps } = props;
  const box = useRef<HTMLDivElement>(null);
  const most = data ? Math.max(0, ...data[1].map(value => value ?? 0)) : 0;
  useLayoutEffect(() => {
    const element = box.current;
    if (!element || !data?.[0].length) {
      return;
    }
    const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = {
      stroke: colour('--soft'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { stroke: colour('--line'), width: 1 },
      font: '12px system-ui, sans-serif'
    };
    const plot = new uPlot(
      {
        width: element.clientWidth,
        height: 200,
        legend: { show: false },
        cursor: { y: false },
        scales: { x: { range: [from, to] }, y: { range: (_plot, _low, high) => [0, Math.max(high * 1.1, 0.1)] } },
        axes: [axis, { ...axis, size: 74, values: (_plot, values) => values.map(text), ...(steps ? { incrs: steps } : {}) }],
        series: [
          {},
          { label: title, stroke: colour('--primary-strong'), fill: `${colour('--primary-strong')}33`, width: 1.5, spanGaps: false }
        ]
      },
      data as uPlot.AlignedData,
      element
    );
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: 200 }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [title, data, from, to, theme, text, steps]);
  return (
    <figure className="chart">
      <figcaption>
        {title} {!!data?.[0].length && <span className="soft">· at most {text(most)}</span>}
      </figcaption>
      {data ? (
        data[0].length ? (
          <div ref={box} role="img" aria-label={`${title}, at most ${text(most)}`} />
        ) : (
          <p className="soft">No part of this time has been measured to its end yet.</p>
        )
      ) : (
        <span className="skeleton block" />
      )}
    </figure>
  );
}
