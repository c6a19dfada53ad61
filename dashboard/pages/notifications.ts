/** Mails, text messages and service calls, and what became of them. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type { Notification } from '../../domain/view.ts';
import { api } from '../api.ts';
import { formatAgo, formatDateTime, formatReason } from '../format.ts';
import { emptyList, heading, stateMark } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery } from '../page.ts';
import { table } from '../table.ts';

const reloadMs = 2000;
const tones = { sent: 'good', failed: 'bad', pending: 'busy', sending: 'busy', listed: 'quiet' } as const;
const channelNames: Readonly<Record<string, string>> = {
  mail: 'Mail',
  sms: 'Text message',
  webhook: 'Service call',
};

export function createNotificationsPage(app: App): Page {
  let notifications: readonly Notification[] | undefined;
  const load = async (): Promise<void> => {
    notifications = await api.notifications();
    app.refresh();
  };
  const reload = atMostEvery(reloadMs, () => app.attempt(load));
  return {
    title: 'Notifications',
    load,
    changed: reload,
    stop: () => reload.cancel(),
    view: () =>
      html`${heading(
        'Notifications',
        'What the workflows tell people. “Listed” means that no way out is configured, so this page is where it is told.',
      )}
      ${
        notifications?.length === 0
          ? emptyList(
              'Nothing was told yet',
              'A notification appears here when the condition of a device changes.',
            )
          : html`<section class="card flush">${notificationTable(notifications ?? [])}</section>`
      }`,
  };
}

function notificationTable(notifications: readonly Notification[]): TemplateResult {
  return table(
    ['State', 'Kind', 'Message', 'To', 'When'],
    notifications.map(
      (item) =>
        html`<tr>
          <td>
            ${stateMark(item.state, tones[item.state] ?? 'quiet')}
            ${item.detail === '' ? nothing : html`<small class="quiet">${item.detail}</small>`}
          </td>
          <td>${channelNames[item.channel] ?? item.channel}</td>
          <td class="wrap">
            <a href="#/workflow/${item.instanceId}"><strong>${item.subject}</strong></a>
            <small class="quiet pre">${formatReason(item.body)}</small>
          </td>
          <td class="wrap">${item.recipients === '' ? '–' : item.recipients.split(',').join(', ')}</td>
          <td title=${formatDateTime(item.createdMs)}>${formatAgo(item.sentMs ?? item.createdMs)}</td>
        </tr>`,
    ),
  );
}
