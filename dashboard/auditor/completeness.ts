/** Which numbers of devices are missing, and which speak of two histories: in a word, in a tile, and one by one. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type { Completeness, ForkItem, GapItem } from '../../domain/audit-view.ts';
import { formatAgo, formatCount, formatDateTime } from '../format.ts';
import { deviceLink, stateMark } from '../marks.ts';
import { table } from '../table.ts';

export interface Incomplete {
  readonly gaps: number;
  readonly forks: number;
}

/** Of all devices, or of one. */
export function incompleteOf({ devices }: Completeness, device?: string): Incomplete {
  return devices
    .filter((item) => device === undefined || item.device === device)
    .reduce((sum, { gaps, forks }) => ({ gaps: sum.gaps + gaps, forks: sum.forks + forks }), {
      gaps: 0,
      forks: 0,
    });
}

/** @returns for example `complete`, or `2 gaps` and `1 fork` */
export function completenessMarks({ gaps, forks }: Incomplete): TemplateResult {
  if (gaps === 0 && forks === 0) return stateMark('complete', 'good');
  return html`${gaps === 0 ? nothing : html`<span class="mark overdue">${countText(gaps, 'gap')}</span>`}
  ${forks === 0 ? nothing : html`<span class="mark abnormal">${countText(forks, 'fork')}</span>`}`;
}

export function completenessTile({ gaps, forks }: Incomplete): TemplateResult {
  const isComplete = gaps === 0 && forks === 0;
  const tone = forks > 0 ? 'abnormal' : gaps > 0 ? 'overdue' : 'normal';
  return html`<div class="tile ${tone}">
    <span>Completeness</span>
    <strong>${isComplete ? 'complete' : gaps > 0 ? countText(gaps, 'gap') : countText(forks, 'fork')}</strong>
    <small>${isComplete ? 'no number missing, none used twice' : detailText(gaps, forks)}</small>
  </div>`;
}

function detailText(gaps: number, forks: number): string {
  if (gaps === 0) return 'no number missing';
  return forks === 0 ? 'no number used twice' : `and ${countText(forks, 'fork')}`;
}

/** Each gap and each fork, the newest first; nothing if all is complete. */
export function completenessCard(completeness: Completeness): TemplateResult | typeof nothing {
  const { gaps, forks } = completeness;
  const all = incompleteOf(completeness);
  if (all.gaps === 0 && all.forks === 0) return nothing;
  const more = all.gaps + all.forks - gaps.length - forks.length;
  return html`<section class="card flush">
    <h2 class="inset">Not complete</h2>
    <p class="quiet inset">
      A device numbers its envelopes. A gap closes by itself when the missing ones come; a fork means that two
      envelopes tell different histories, and stays.
    </p>
    ${table(['Device', 'Numbers', 'What', 'Since'], [...forks.map(forkRow), ...gaps.map(gapRow)])}
    ${more > 0 ? html`<p class="quiet inset">and ${formatCount(more)} more</p>` : nothing}
  </section>`;
}

function forkRow({ stream, sequence, detail, timeMs, number }: ForkItem): TemplateResult {
  return html`<tr>
    <td>${streamName(stream)}</td>
    <td>#${formatCount(sequence)}</td>
    <td class="wrap"><span class="mark abnormal">fork</span> ${detail} (entry ${formatCount(number)})</td>
    <td title=${formatDateTime(timeMs)}>${formatAgo(timeMs)}</td>
  </tr>`;
}

function gapRow({ stream, from, to, sinceMs }: GapItem): TemplateResult {
  const count = to - from + 1;
  return html`<tr>
    <td>${streamName(stream)}</td>
    <td>${from === to ? `#${formatCount(from)}` : `#${formatCount(from)} to #${formatCount(to)}`}</td>
    <td class="wrap"><span class="mark overdue">gap</span> ${countText(count, 'envelope')} missing</td>
    <td title=${sinceMs === undefined ? '' : formatDateTime(sinceMs)}>
      ${sinceMs === undefined ? 'not known' : formatAgo(sinceMs)}
    </td>
  </tr>`;
}

/** The device, and which of its groups of readers. */
function streamName(stream: string): TemplateResult {
  const [device = stream, group] = stream.split('/shared/');
  return html`${deviceLink(device)}${group === undefined ? nothing : html` <span class="quiet">for ${group}</span>`}`;
}

function countText(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}
