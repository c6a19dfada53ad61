/** What was changed of the device and of its type's channels, by whom and when; and other names for channels. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import { ref } from 'lit-html/directives/ref.js';
import type { ChannelItem, DeviceRecord } from '../api.ts';
import { api } from '../api.ts';
import { formatAgo, formatCount, formatDateTime, formatUnit } from '../format.ts';
import { verbatim } from '../marks.ts';
import type { App } from '../page.ts';
import { fieldText, focusOnce } from '../page.ts';
import { table } from '../table.ts';

export interface ChannelsPanel {
  view(channels: readonly ChannelItem[], deviceType: string): TemplateResult | typeof nothing;
}

interface Line {
  readonly ms: number;
  /** Empty where a device did it. */
  readonly by: string;
  readonly what: string;
  readonly before: string;
  readonly after: string;
}

const linesShown = 20;
const nameLengthMax = 64;

const fieldNames: Readonly<Record<string, string>> = {
  owner: 'Owner',
  labels: 'Labels',
  technician: 'Technician in charge',
  serviceHours: 'Service every … hours',
  serviceDays: 'Service every … days',
};
const changeNames: Readonly<Record<string, string>> = { name: 'Name', unit: 'Unit', kind: 'Kind' };

/** @param isWhole - all of it, or only the newest lines */
export function historyCard(
  record: DeviceRecord,
  channels: readonly ChannelItem[],
  isWhole: boolean,
  showAll: () => void,
): TemplateResult {
  const lines = [...recordLines(record), ...channels.flatMap(channelLines)].toSorted((a, b) => b.ms - a.ms);
  const shown = isWhole ? lines : lines.slice(0, linesShown);
  return html`<section class="card flush">
    <h2 class="inset">History</h2>
    ${
      lines.length === 0
        ? html`<p class="inset quiet">Nothing was changed yet.</p>`
        : table(
            ['When', 'Who', 'What', 'Before', 'After'],
            shown.map(
              ({ ms, by, what, before, after }) =>
                html`<tr>
                  <td title=${formatDateTime(ms)}>${formatAgo(ms)}</td>
                  <td>${by === '' ? html`<span class="quiet">a device</span>` : by}</td>
                  <td>${what}</td>
                  <td class="wrap">${verbatim(before)}</td>
                  <td class="wrap">${verbatim(after)}</td>
                </tr>`,
            ),
          )
    }
    ${
      shown.length < lines.length
        ? html`<button class="more" @click=${showAll}>
            Show all (${formatCount(lines.length - shown.length)} more)
          </button>`
        : nothing
    }
  </section>`;
}

function recordLines({ changes }: DeviceRecord): Line[] {
  return changes.map(({ changedMs, changedBy, field, oldValue, newValue }) => ({
    ms: changedMs,
    by: changedBy,
    what: fieldNames[field] ?? field,
    before: textOf(oldValue),
    after: textOf(newValue),
  }));
}

/** @param json - a text, a number, null, or a list of texts */
function textOf(json: string): string {
  const value = JSON.parse(json) as readonly string[] | string | number | null;
  if (value === null) return '';
  return typeof value === 'object' ? value.join(' · ') : String(value);
}

function channelLines({ name, changes }: ChannelItem): Line[] {
  return changes.map(({ changedMs, changedBy, field, oldValue, newValue }) => ({
    ms: changedMs,
    by: changedBy,
    what: `${changeNames[field] ?? field} of ${name}`,
    before: field === 'unit' ? formatUnit(oldValue) : oldValue,
    after: field === 'unit' ? formatUnit(newValue) : newValue,
  }));
}

/** @param reload - loads the channels anew */
export function createChannelsPanel(app: App, reload: () => Promise<void>): ChannelsPanel {
  // A type is everybody's who has such a device.
  const mayRename = app.user.role === 'operator' && app.user.scope === '';
  let renamed: string | undefined;
  // A type may have two thousand, which are drawn for who looks.
  let isOpen = false;
  const toggled = (event: Event): void => {
    isOpen = event.target instanceof HTMLDetailsElement && event.target.open;
    app.refresh();
  };
  const set = (channel: string | undefined): void => {
    renamed = channel;
    app.refresh();
  };
  const rename = (event: SubmitEvent, deviceType: string, from: string): void => {
    event.preventDefault();
    if (!(event.target instanceof HTMLFormElement)) return;
    const to = fieldText(event.target, 'to');
    app.attempt(async () => {
      await api.renameChannel(deviceType, from, to);
      set(undefined);
      await reload();
    });
  };
  const tableOf = (channels: readonly ChannelItem[], deviceType: string): TemplateResult =>
    html`<div class="low">
      ${table(
        [
          'Channel',
          'Unit',
          'Kind',
          'Known since',
          'Former names',
          ...(mayRename ? [html`<span class="hidden">Rename</span>`] : []),
        ],
        channels.map(
          (channel) =>
            html`<tr>
              <td>${channel.name}</td>
              <td>${formatUnit(channel.unit)}</td>
              <td>${channel.kind}</td>
              <td title=${formatDateTime(channel.createdMs)}>${formatAgo(channel.createdMs)}</td>
              <td class="wrap">${channel.formerNames.join(', ')}</td>
              ${
                mayRename
                  ? html`<td>
                      ${
                        renamed === channel.name
                          ? renameForm(
                              channel.name,
                              () => set(undefined),
                              (event) => rename(event, deviceType, channel.name),
                            )
                          : html`<button
                              class="plain"
                              aria-label="Rename ${channel.name}"
                              @click=${() => set(channel.name)}
                            >
                              Rename
                            </button>`
                      }
                    </td>`
                  : nothing
              }
            </tr>`,
        ),
      )}
    </div>`;
  return {
    view: (channels, deviceType) =>
      channels.length === 0
        ? nothing
        : html`<details class="card" @toggle=${toggled}>
            <summary>
              Channels of ${deviceType} <span class="quiet">${formatCount(channels.length)}</span>
            </summary>
            ${isOpen ? tableOf(channels, deviceType) : nothing}
          </details>`,
  };
}

function renameForm(name: string, cancel: () => void, submit: (event: SubmitEvent) => void): TemplateResult {
  return html`<form class="row" @submit=${submit}>
    <label
      ><span class="hidden">New name of ${name}</span
      ><input name="to" required maxlength=${nameLengthMax} value=${name} ${ref(focusOnce)}
    /></label>
    <button class="plain">Rename</button>
    <button type="button" class="plain" @click=${cancel}>Cancel</button>
  </form>`;
}
