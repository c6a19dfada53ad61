/** A gauge for what is left of a component's life: an arc of three quarters of a circle. */
import type { TemplateResult } from 'lit-html';
import { html, svg } from 'lit-html';
import type { LatestValue } from '../domain/view.ts';
import type { GaugeRule } from './api.ts';
import { formatUnit, formatValue } from './format.ts';

export interface GaugeReading {
  readonly label: string;
  /** 0 to 100, or undefined while the channel has no number. */
  readonly percent: number | undefined;
  readonly detail: string;
  readonly part: string | undefined;
}

/** Below this a part should be ordered. */
export const lowPercent = 20;
const halfPercent = 50;

/** @returns one reading for each rule, or for each `*.life` channel of a device type without rules */
export function readGauges(rules: readonly GaugeRule[], latest: readonly LatestValue[]): GaugeReading[] {
  const own = rules.filter((rule) => latest.some(({ channel }) => channel === rule.channel));
  const shown = own.length > 0 ? own : lifeChannels(latest);
  return shown.map((rule) => {
    const reading = latest.find(({ channel }) => channel === rule.channel);
    const value = typeof reading?.value === 'number' ? reading.value : undefined;
    const unit = formatUnit(reading?.unit ?? null);
    return {
      label: rule.label,
      percent: value === undefined ? undefined : lifePercent(rule, value),
      detail: value === undefined ? 'no value' : `${rule.channel} ${formatValue(value)} ${unit}`.trim(),
      part: rule.part,
    };
  });
}

function lifeChannels(latest: readonly LatestValue[]): GaugeRule[] {
  return latest
    .filter(({ channel, value }) => channel.endsWith('.life') && typeof value === 'number')
    .map(({ channel, group }) => ({ label: group, channel, full: 100, empty: 0 }));
}

/** @returns 0 to 100, whichever way the channel runs as the part wears */
export function lifePercent({ full, empty }: Pick<GaugeRule, 'full' | 'empty'>, value: number): number {
  return Math.min(100, Math.max(0, ((value - empty) / (full - empty)) * 100));
}

const radius = 42;
const circumference = 2 * Math.PI * radius;
const arc = circumference * 0.75;

export function gauge({ label, percent, detail }: GaugeReading): TemplateResult {
  const rounded = percent === undefined ? undefined : Math.round(percent);
  return html`<figure class="gauge ${levelOf(percent)}">
    <svg
      viewBox="0 0 100 92"
      role="meter"
      aria-label="${label}: life left"
      aria-valuemin="0"
      aria-valuemax="100"
      aria-valuenow=${rounded ?? 0}
      aria-valuetext=${rounded === undefined ? 'no value' : `${rounded} percent`}
    >
      ${svg`<g transform="rotate(135 50 50)" fill="none" stroke-linecap="round">
        <circle class="track" cx="50" cy="50" r=${radius} stroke-dasharray="${arc} ${circumference}" />
        <circle class="fill" cx="50" cy="50" r=${radius}
          stroke-dasharray="${(arc * (percent ?? 0)) / 100} ${circumference}"
          stroke-opacity=${percent === undefined || percent === 0 ? 0 : 1} />
      </g>
      <text x="50" y="54" text-anchor="middle" class="value">${rounded ?? '–'}<tspan class="sign">${rounded === undefined ? '' : ' %'}</tspan></text>`}
    </svg>
    <figcaption>
      <strong>${label}</strong>
      <span>${detail}</span>
    </figcaption>
  </figure>`;
}

function levelOf(percent: number | undefined): string {
  if (percent === undefined) return 'none';
  if (percent < lowPercent) return 'low';
  return percent < halfPercent ? 'half' : 'high';
}
