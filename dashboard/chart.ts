/** A line chart of one channel: the mean as a line, the least and the greatest value as a band around it. */
import Plot from 'uplot/dist/uPlot.esm.js';
import type { PlotOptions } from 'uplot/dist/uPlot.esm.js';
import type { Series } from '../domain/view.ts';
import { colourOf } from './colours.ts';
import { channelTail, formatUnit, formatValue } from './format.ts';

export interface Chart {
  show(series: Series): void;
  destroy(): void;
}

const heightPx = 300;

/** As ISO 8601 writes them, in the viewer's time zone: read alike everywhere. */
const date = '{YYYY}-{MM}-{DD}';
const timeLabelPx = 84;
const daySeconds = 24 * 3600;
const timeLabels = [
  [365 * daySeconds, '{YYYY}', null, null, null, null, null, null, 1],
  [28 * daySeconds, '{YYYY}-{MM}', null, null, null, null, null, null, 1],
  [daySeconds, date, null, null, null, null, null, null, 1],
  [60, '{HH}:{mm}', `\n${date}`, null, `\n${date}`, null, null, null, 1],
  [1, '{HH}:{mm}:{ss}', `\n${date}`, null, `\n${date}`, null, null, null, 1],
  [0.001, '{HH}:{mm}:{ss}.{fff}', `\n${date}`, null, `\n${date}`, null, null, null, 1],
];

/**
 * @param zoom - called with the range that was dragged over
 */
export function createChart(host: HTMLElement, zoom: (fromMs: number, toMs: number) => void): Chart {
  let plot: Plot | undefined;
  let shown: Series | undefined;
  const draw = (): void => {
    if (shown === undefined) return;
    plot?.destroy();
    plot = new Plot(plotOptions(shown, host, zoom), plotData(shown), host);
  };
  const resized = new ResizeObserver(() => plot?.setSize({ width: widthOf(host), height: heightPx }));
  resized.observe(host);
  // The canvas has its colours painted in, so another scheme means another painting.
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  scheme.addEventListener('change', draw);
  return {
    show: (series) => {
      const sameChannel = shown?.channel === series.channel && shown.unit === series.unit;
      shown = series;
      if (plot !== undefined && sameChannel) plot.setData(plotData(series));
      else draw();
    },
    destroy: () => {
      resized.disconnect();
      scheme.removeEventListener('change', draw);
      plot?.destroy();
    },
  };
}

function widthOf(host: HTMLElement): number {
  return Math.max(200, host.clientWidth);
}

function plotData({ timesMs, min, max, mean }: Series): (readonly (number | null)[])[] {
  return [timesMs.map((ms) => ms / 1000), max, min, mean];
}

function plotOptions(
  series: Series,
  host: HTMLElement,
  zoom: (fromMs: number, toMs: number) => void,
): PlotOptions {
  const colour = (name: string): string => colourOf(host, name);
  const unit = formatUnit(series.unit);
  const value = (_: unknown, number: number | null): string =>
    number === null ? '–' : `${formatValue(number)} ${unit}`.trim();
  const axis = {
    stroke: colour('--muted'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { stroke: colour('--line'), width: 1 },
    font: `12px ${getComputedStyle(host).fontFamily}`,
  };
  const edge = { stroke: 'transparent', width: 0, points: { show: false }, value };
  return {
    width: widthOf(host),
    height: heightPx,
    // The last label hangs over by half of it.
    padding: [8, timeLabelPx / 2, 0, 0],
    axes: [
      { ...axis, space: timeLabelPx, values: timeLabels },
      { ...axis, size: 68, ...(unit !== '' && { label: unit, labelFont: axis.font, labelSize: 22 }) },
    ],
    series: [
      { label: 'Time', value: '{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}' },
      { ...edge, label: 'Max' },
      { ...edge, label: 'Min' },
      {
        label: `${channelTail(series.channel)}, mean`,
        stroke: colour('--accent'),
        width: 2,
        points: { show: series.timesMs.length < 60, size: 4 },
        value,
      },
    ],
    bands: [{ series: [1, 2], fill: colour('--band') }],
    cursor: { drag: { x: true, y: false, setScale: false } },
    hooks: {
      setSelect: [
        (plot) => {
          const { left, width } = plot.select;
          if (width < 4) return;
          const fromMs = Math.floor(plot.posToVal(left, 'x') * 1000);
          const toMs = Math.ceil(plot.posToVal(left + width, 'x') * 1000);
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          zoom(fromMs, toMs);
        },
      ],
    },
  };
}
