/** The customers' brokers: whether they are connected, and what waits there for the vendor. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import { repeat } from 'lit-html/directives/repeat.js';
import type { BrokerRow } from '../../domain/view.ts';
import { api } from '../api.ts';
import { formatAgo, formatBytes, formatCount, formatDateTime, formatDuration } from '../format.ts';
import { connectionMark, emptyList, heading, stateMark } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery } from '../page.ts';
import { table } from '../table.ts';

const reloadMs = 2000;
/** A message that waits no longer than this is on its way. */
const lateMs = 60_000;

export function createBrokersPage(app: App): Page {
  let brokers: readonly BrokerRow[] | undefined;
  const load = async (): Promise<void> => {
    brokers = await api.brokers();
    app.refresh();
  };
  const reload = atMostEvery(reloadMs, () => app.attempt(load));
  return {
    title: 'Brokers',
    load,
    changed: (what) => {
      if (what === 'brokers') reload();
    },
    stop: () => reload.cancel(),
    view: () =>
      html`${heading('Brokers', 'The brokers on the customers’ premises, and how many messages wait there to be sent.')}
      ${
        brokers?.length === 0
          ? emptyList('No broker has reported', 'A broker appears here when it cascades into the vendor’s.')
          : nothing
      }
      ${brokers === undefined || brokers.length === 0 ? nothing : brokerTable(brokers)}`,
  };
}

function brokerTable(brokers: readonly BrokerRow[]): TemplateResult {
  return html`<section class="card flush">
    ${table(
      [
        'Broker',
        'Connection',
        'State',
        { figure: 'Waiting' },
        { figure: 'Oldest' },
        { figure: 'Sent up' },
        { figure: 'Received' },
        { figure: 'Set aside' },
        'Reported',
      ],
      repeat(brokers, ({ path }) => path, brokerRow),
    )}
  </section>`;
}

function brokerRow(broker: BrokerRow): TemplateResult {
  const { path, name, version, connection, connectedSinceMs, queued, queuedBytes, oldestWaitingMs } = broker;
  return html`<tr>
    <td>
      <span class="path">${path}</span>
      <small class="quiet">${name}${version === '' ? nothing : ` · ${version}`}</small>
    </td>
    <td title=${connectedSinceMs === null ? '' : `since ${formatDateTime(connectedSinceMs)}`}>
      ${connectionMark(connection)}
    </td>
    <td>${brokerMark(broker)}</td>
    <td class="number" title=${formatBytes(queuedBytes)}>${formatCount(queued)}</td>
    <td class="number">${queued === 0 ? '–' : formatDuration(oldestWaitingMs)}</td>
    <td class="number">${formatCount(broker.forwardedUp)}</td>
    <td class="number">${formatCount(broker.forwardedDown)}</td>
    <td class="number">${formatCount(broker.refused)}</td>
    <td title=${formatDateTime(broker.receivedMs)}>${formatAgo(broker.receivedMs)}</td>
  </tr>`;
}

function brokerMark({ connection, queued, oldestWaitingMs, refused }: BrokerRow): TemplateResult {
  if (connection === 'offline') return stateMark('unreachable', 'bad');
  if (refused > 0) return stateMark('messages refused', 'bad');
  if (queued > 0 && oldestWaitingMs > lateMs) return stateMark('catching up', 'busy');
  return stateMark('up to date', 'good');
}
