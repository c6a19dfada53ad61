/** The chart of the device page: any channel, any range, and it follows what arrives. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import { live } from 'lit-html/directives/live.js';
import { ref } from 'lit-html/directives/ref.js';
import type { Series } from '../../domain/view.ts';
import type { Device } from '../api.ts';
import { api, exportUrl } from '../api.ts';
import { ApiError } from '../http.ts';
import type { Chart } from '../chart.ts';
import { createChart } from '../chart.ts';
import { formatDateTime, fromLocalTime, toLocalTime } from '../format.ts';
import type { App } from '../page.ts';

interface Range {
  readonly fromMs: number;
  /** Inclusive. */
  readonly toMs: number;
}

export interface ChartPanel {
  view(device: Device): TemplateResult;
  /** Loads what a newer device has; the first time with `channel`. */
  follow(device: Device, channel: string | undefined): void;
  choose(channel: string): void;
  channel(): string | undefined;
  stop(): void;
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const ranges = [
  { name: '1 h', ms: hourMs },
  { name: '24 h', ms: 24 * hourMs },
  { name: '7 d', ms: 168 * hourMs },
  { name: '30 d', ms: 720 * hourMs },
  { name: 'All', ms: Infinity },
] as const;
const points = 500;

interface State {
  channel: string | undefined;
  /** Back from the last snapshot, by the device's clock; or a range that was dragged over. */
  range: { readonly ms: number } | Range;
  lastSnapshotMs: number;
  isEmpty: boolean;
  /** Of the values that are shown. */
  firstMs: number | undefined;
  /** What is typed into the fields of the range, as they have it, while it differs from what is shown. */
  draft: { readonly from: string; readonly to: string } | undefined;
}

/** What a chart begins with. */
export interface ChartStart {
  readonly channel: string | undefined;
  /** Everything unless given. */
  readonly range: Range | undefined;
}

export function createChartPanel(app: App, path: string, start: ChartStart): ChartPanel {
  const state: State = {
    channel: start.channel,
    range: start.range ?? { ms: Infinity },
    lastSnapshotMs: 0,
    isEmpty: false,
    firstMs: undefined,
    draft: undefined,
  };
  let chart: Chart | undefined;
  let latestRequest = 0;
  const load = (): void =>
    app.attempt(async () => {
      if (state.channel === undefined || chart === undefined) return;
      const request = ++latestRequest;
      const series = await readSeries(path, state.channel, state);
      // Answers can overtake each other; only that to the last question counts.
      if (request !== latestRequest) return;
      state.isEmpty = series.timesMs.length === 0;
      state.firstMs = series.timesMs[0];
      chart?.show(series);
      app.refresh();
    });
  const set = (change: Partial<State>): void => {
    Object.assign(state, { draft: undefined }, change);
    app.refresh();
    load();
  };
  // One and the same function, or lit-html would take the element away and give it anew at every drawing.
  const attach = (element: Element | undefined): void => {
    chart?.destroy();
    chart = undefined;
    if (!(element instanceof HTMLElement)) return;
    chart = createChart(element, (fromMs, toMs) => set({ range: { fromMs, toMs } }));
    load();
  };
  return {
    channel: () => state.channel,
    choose: (channel) => set({ channel }),
    follow: (device, channel) => {
      state.channel ??= channel;
      const isNewer = (device.lastSnapshotMs ?? 0) !== state.lastSnapshotMs;
      state.lastSnapshotMs = device.lastSnapshotMs ?? 0;
      if (isNewer && 'ms' in state.range) load();
    },
    stop: () => chart?.destroy(),
    view: (device) =>
      view(state, device, set, attach, (draft) => {
        state.draft = draft;
        app.refresh();
      }),
  };
}

function rangeOf({ range, lastSnapshotMs }: State): Range | undefined {
  if (!('ms' in range)) return range;
  return Number.isFinite(range.ms) ? { fromMs: lastSnapshotMs - range.ms, toMs: lastSnapshotMs } : undefined;
}

async function readSeries(path: string, channel: string, { range, lastSnapshotMs }: State): Promise<Series> {
  if (!('ms' in range)) return api.series({ path, channel, ...range, points });
  const toMs = lastSnapshotMs;
  try {
    if (Number.isFinite(range.ms))
      return await api.series({ path, channel, fromMs: toMs - range.ms, toMs, points });
    // One point over all time says when the first value was measured; from there on the points are spread.
    const first = await api.series({ path, channel, fromMs: 0, toMs, points: 1 });
    return await api.series({ path, channel, fromMs: first.timesMs[0] ?? 0, toMs, points });
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    return { channel, unit: null, timesMs: [], min: [], max: [], mean: [] };
  }
}

function view(
  state: State,
  device: Device,
  set: (change: Partial<State>) => void,
  attach: (element: Element | undefined) => void,
  type: (draft: NonNullable<State['draft']>) => void,
): TemplateResult {
  const channels = device.latest
    .filter(({ value }) => typeof value !== 'string')
    .map(({ channel }) => channel);
  const { range } = state;
  return html`<section class="card chart-card">
    <div class="toolbar bare">
      <h2>Chart</h2>
      <label class="select">
        <span class="hidden">Channel</span>
        <select @change=${(event: Event) => set({ channel: (event.target as HTMLSelectElement).value })}>
          ${channels.map(
            (channel) =>
              html`<option value=${channel} ?selected=${channel === state.channel}>${channel}</option>`,
          )}
        </select>
      </label>
      <div class="chips" role="group" aria-label="Range">
        ${ranges.map(
          ({ name, ms }) =>
            html`<button
              class="chip"
              aria-pressed=${'ms' in range && range.ms === ms}
              @click=${() => set({ range: { ms } })}
            >
              ${name}
            </button>`,
        )}
      </div>
    </div>
    <div class="chart" ${ref(attach)}></div>
    ${state.isEmpty ? html`<p class="quiet">No value in this range.</p>` : nothing}
    <p class="quiet hint">
      ${
        'ms' in range
          ? 'Drag over the chart to look closer.'
          : `${formatDateTime(range.fromMs)} to ${formatDateTime(range.toMs)}. Choose a range to go back.`
      }
    </p>
    ${rangeFields(state, device, set, type)}
  </section>`;
}

/** The same by the keyboard, and what the chart shows as a file. */
function rangeFields(
  state: State,
  { path, lastSnapshotMs }: Device,
  set: (change: Partial<State>) => void,
  type: (draft: NonNullable<State['draft']>) => void,
): TemplateResult {
  const shown = rangeOf(state);
  const { from, to } = state.draft ?? {
    from: toLocalTime(shown?.fromMs ?? state.firstMs ?? 0),
    to: toLocalTime(shown?.toMs ?? lastSnapshotMs ?? 0),
  };
  // The fields show no seconds: to the end of that minute.
  const typed = { fromMs: fromLocalTime(from), toMs: fromLocalTime(to) + minuteMs - 1 };
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (typed.fromMs <= typed.toMs) set({ range: typed });
  };
  const valueOf = (event: Event): string => (event.target as HTMLInputElement).value;
  return html`<form class="row range" @submit=${submit}>
    <label
      >From<input
        type="datetime-local"
        required
        .value=${live(from)}
        @input=${(event: Event) => type({ from: valueOf(event), to })}
    /></label>
    <label
      >To<input
        type="datetime-local"
        required
        min=${from}
        .value=${live(to)}
        @input=${(event: Event) => type({ from, to: valueOf(event) })}
    /></label>
    <button class="plain">Show</button>
    <a class="plain" href=${exportUrl(path, shown)} download
      >${shown === undefined ? 'Everything' : 'This range'} as CSV</a
    >
  </form>`;
}
