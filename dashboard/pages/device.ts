/** One device: how it is, what is left of its parts, and what it measured. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type { ConditionItem, LatestValue, Workflow } from '../../domain/view.ts';
import type { Alarm, ChannelItem, CommandItem, Device, DeviceRecord, DeviceTypeRules } from '../api.ts';
import { api } from '../api.ts';
import { ApiError } from '../http.ts';
import { formatAgo, formatCount, formatDateTime, formatReason, formatUnit, formatValue } from '../format.ts';
import { gauge, lowPercent, readGauges } from '../gauge.ts';
import { conditionMark, connectionMark, emptyList, heading } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery } from '../page.ts';
import type { ChartStart } from './device-chart.ts';
import { createChartPanel } from './device-chart.ts';
import { certificatesCard, commandsCard, gapsCard, valuesCard } from './device-cards.ts';
import { createChannelsPanel, historyCard } from './device-history.ts';
import { createRecordPanel } from './device-record.ts';
import { createServicePanel } from './device-service.ts';
import { createWorkPanel } from './device-work.ts';
import { alarmNames } from './refused.ts';
import { workflowTable } from './workflows.ts';

/** What arrives is there within a second, also right after something else. */
const reloadMs = 400;

interface State {
  device: Device | undefined;
  rules: DeviceTypeRules | undefined;
  condition: ConditionItem | undefined;
  commands: readonly CommandItem[];
  workflows: readonly Workflow[];
  record: DeviceRecord | undefined;
  /** Of the device's type. */
  channels: readonly ChannelItem[];
  isHistoryWhole: boolean;
  absent: boolean;
  pinging: boolean;
}

type Panels = ReturnType<typeof createPanels>;

/** @param argument - the device's path, and perhaps what to chart: `M/A/E/channel` or `M/A/E/channel@from-to` in milliseconds */
export function createDevicePage(app: App, argument: string): Page {
  const { path, start } = placeIn(argument);
  const state: State = {
    device: undefined,
    rules: undefined,
    condition: undefined,
    commands: [],
    workflows: [],
    record: undefined,
    channels: [],
    isHistoryWhole: false,
    absent: false,
    pinging: false,
  };
  const loadRecord = async (): Promise<void> => {
    const deviceType = state.device?.deviceType ?? '';
    const [record, channels] = await Promise.all([
      api.metadata(path),
      deviceType === '' ? [] : api.channels(deviceType),
    ]);
    Object.assign(state, { record, channels });
    app.refresh();
  };
  const panels = createPanels(app, path, start, loadRecord);
  const load = async (): Promise<void> => {
    try {
      const device = await api.device(path);
      const [commands, workflows, condition, rules] = await Promise.all([
        api.commands(path),
        api.workflows({ path }),
        api.condition(path),
        state.rules ?? api.deviceTypeRules(device.deviceType),
      ]);
      Object.assign(state, { device, commands, workflows, condition, rules, absent: false });
      panels.chart.follow(device, preferredChannel(device, rules));
      panels.work.follow(device);
      if (state.record === undefined) await loadRecord();
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      state.absent = true;
    }
    app.refresh();
  };
  const reload = atMostEvery(reloadMs, () => app.attempt(load));
  const reloadRecord = atMostEvery(reloadMs, () => app.attempt(loadRecord));
  const ping = (): void =>
    app.attempt(async () => {
      state.pinging = true;
      app.refresh();
      try {
        await api.sendCommand(path, 'ping');
      } finally {
        state.pinging = false;
      }
      await load();
    });
  return {
    title: path,
    load,
    view: () =>
      state.device === undefined ? absentView(state) : view(app, state, state.device, panels, ping),
    snapshots: (events) => {
      if (events.some((event) => event.path === path)) reload();
    },
    changed: (what) => {
      if (what === 'metadata') reloadRecord();
      else reload();
    },
    stop: () => {
      reload.cancel();
      reloadRecord.cancel();
      panels.chart.stop();
    },
  };
}

function createPanels(app: App, path: string, start: ChartStart, loadRecord: () => Promise<void>) {
  return {
    chart: createChartPanel(app, path, start),
    record: createRecordPanel(app, path, loadRecord),
    service: createServicePanel(app, path, loadRecord),
    work: createWorkPanel(app, path),
    channels: createChannelsPanel(app, loadRecord),
  };
}

function placeIn(argument: string): { readonly path: string; readonly start: ChartStart } {
  const parts = /^([^/]+\/[^/]+\/[^/]+)(?:\/([^@]+)(?:@(-?\d+)-(-?\d+))?)?$/.exec(argument);
  const [, path = argument, channel, fromMs, toMs] = parts ?? [];
  const range = fromMs === undefined ? undefined : { fromMs: Number(fromMs), toMs: Number(toMs) };
  return { path, start: { channel, range } };
}

/** What a person most likely wants to see first: what a gauge shows, else the first number. */
function preferredChannel(device: Device, rules: DeviceTypeRules | undefined): string | undefined {
  const numbers = device.latest
    .filter(({ value }) => typeof value === 'number')
    .map(({ channel }) => channel);
  const gauged = rules?.gauges.map(({ channel }) => channel).find((channel) => numbers.includes(channel));
  return gauged ?? numbers[0];
}

function absentView({ absent }: State): TemplateResult {
  return absent
    ? emptyList('There is no such device', 'Or it belongs to somebody else.')
    : html`<p class="quiet" role="status">Loading…</p>`;
}

function view(app: App, state: State, device: Device, panels: Panels, ping: () => void): TemplateResult {
  const { rules, condition, commands, workflows, record, channels } = state;
  const { chart } = panels;
  const readings = readGauges(rules?.gauges ?? [], device.latest);
  const mayCommand = app.user.role !== 'viewer';
  const actions = mayCommand
    ? html`<button class="primary" ?disabled=${state.pinging} @click=${ping}>Ping</button>`
    : nothing;
  return html`${crumbs(device.path)}
    ${heading(device.path.split('/').at(-1) ?? device.path, rules?.title ?? device.deviceType, actions)}
    ${facts(device, condition)} ${alarmsCard(device.alarms.filter((alarm) => alarm.closedMs === null))}
    <div class="columns">
      ${
        readings.length === 0
          ? nothing
          : html`<section class="card">
              <h2>Component life</h2>
              <div class="gauges">${readings.map(gauge)}</div>
            </section>`
      }
      ${figuresCard(device.latest, rules)} ${partsCard(readings)}
    </div>
    ${
      record === undefined
        ? nothing
        : html`<div class="columns even">
            ${panels.record.view(record)} ${panels.service.view(device, record)}
          </div>`
    }
    ${chart.view(device)} ${valuesCard(device.latest, chart.channel(), (channel) => chart.choose(channel))}
    ${panels.work.view(device)}
    <div class="columns even">${gapsCard(device)} ${certificatesCard(device)}</div>
    ${
      record === undefined
        ? nothing
        : historyCard(record, channels, state.isHistoryWhole, () => {
            state.isHistoryWhole = true;
            app.refresh();
          })
    }
    ${panels.channels.view(channels, device.deviceType)} ${commandsCard(commands)}
    ${
      workflows.length === 0
        ? nothing
        : html`<section class="card flush">
            <h2 class="inset">Workflows</h2>
            ${workflowTable(workflows)}
          </section>`
    }`;
}

function crumbs(path: string): TemplateResult {
  const parents = path.split('/').slice(0, -1);
  return html`<nav class="crumbs" aria-label="Breadcrumb">
    <a href="#/">Fleet</a
    >${parents.map((segment) => html`<span aria-hidden="true">/</span><span>${segment}</span>`)}
  </nav>`;
}

function facts(device: Device, condition: ConditionItem | undefined): TemplateResult {
  return html`<section class="card facts">
    <div><span>Condition</span>${conditionMark(device.condition)}</div>
    <div><span>Connection</span>${connectionMark(device.connection)}</div>
    <div>
      <span>Last snapshot</span
      ><span title=${formatDateTime(device.receivedMs)}>${formatAgo(device.receivedMs)}</span>
    </div>
    <div><span>Measured</span>${formatDateTime(device.lastSnapshotMs)}</div>
    <div><span>Sequence</span><span id="sequence">${formatCount(device.lastSequence)}</span></div>
    <div><span>Snapshots stored</span>${formatCount(device.stored)}</div>
    <div><span>Owner</span>${device.owner === '' ? (device.path.split('/')[0] ?? '') : device.owner}</div>
    <div><span>Type</span>${device.deviceType}</div>
    <div><span>Agent</span>${device.agentVersion === '' ? '–' : device.agentVersion}</div>
    <div class="wide"><span>Path</span><code>${device.path}</code></div>
    ${
      condition === undefined || condition.reason === ''
        ? nothing
        : html`<div class="wide">
            <span>Why ${condition.condition}</span>${formatReason(condition.reason)}
          </div>`
    }
  </section>`;
}

function alarmsCard(alarms: readonly Alarm[]): TemplateResult | typeof nothing {
  if (alarms.length === 0) return nothing;
  return html`<section class="card alarm" role="alert">
    <h2>Alarm</h2>
    <ul>
      ${alarms.map(
        (alarm) =>
          html`<li>
            ${alarmNames[alarm.kind] ?? alarm.kind} at sequence ${formatCount(alarm.sequence)},
            ${formatAgo(alarm.openedMs)}
          </li>`,
      )}
    </ul>
  </section>`;
}

function figuresCard(
  latest: readonly LatestValue[],
  rules: DeviceTypeRules | undefined,
): TemplateResult | typeof nothing {
  const figures = (rules?.figures ?? []).flatMap(({ label, channel }) => {
    const reading = latest.find((candidate) => candidate.channel === channel);
    return reading === undefined ? [] : [{ label, reading }];
  });
  if (figures.length === 0) return nothing;
  return html`<section class="card">
    <h2>Operation</h2>
    <dl class="figures">
      ${figures.map(
        ({ label, reading }) =>
          html`<div>
            <dt>${label}</dt>
            <dd>${formatValue(reading.value)} <small>${formatUnit(reading.unit)}</small></dd>
          </div>`,
      )}
    </dl>
  </section>`;
}

function partsCard(readings: ReturnType<typeof readGauges>): TemplateResult | typeof nothing {
  const worn = readings.filter(
    ({ percent, part }) => percent !== undefined && percent < lowPercent && part !== undefined,
  );
  if (worn.length === 0) return nothing;
  return html`<section class="card">
    <h2>Recommended parts</h2>
    <ul class="parts">
      ${worn.map(
        ({ part, label, percent }) =>
          html`<li>
            <strong>${part}</strong><span class="quiet">${label}, ${Math.round(percent ?? 0)} % left</span>
          </li>`,
      )}
    </ul>
  </section>`;
}
