/** Bars, one for each day: how many of its hours a machine worked, before how many of them are known. */
import type { TemplateResult } from 'lit-html';
import { html, svg } from 'lit-html';
import type { DayOfWork } from '../domain/view.ts';
import { formatDate, formatHours } from './format.ts';

const dayHours = 24;
const barWidth = 10;
const gapWidth = 2;

export function dayBars(days: readonly DayOfWork[]): TemplateResult {
  // A counter may run faster than the clock.
  const top = Math.max(dayHours, ...days.map(({ hours }) => Math.ceil(hours)));
  const bar = (hours: number, index: number, tone: string) =>
    svg`<rect class=${tone} x=${index * barWidth + gapWidth / 2} y=${top - hours}
      width=${barWidth - gapWidth} height=${hours} />`;
  return html`<div class="bars">
    <div class="scale" aria-hidden="true">
      <span>${formatHours(top)}</span><span>${formatHours(top / 2)}</span><span>${formatHours(0)}</span>
    </div>
    <svg
      viewBox="0 0 ${days.length * barWidth} ${top}"
      preserveAspectRatio="none"
      role="img"
      aria-label="Hours of work, by day; the numbers are in the table below"
    >
      ${days.map(
        (day, index) =>
          svg`<g><title>${dayTitle(day)}</title>
            ${bar(Math.max(day.knownHours, day.hours), index, 'known')}${bar(day.hours, index, 'worked')}</g>`,
      )}
    </svg>
    <div class="dates" aria-hidden="true">
      <span>${formatDate(noonOf(days[0]))}</span><span>${formatDate(noonOf(days.at(-1)))}</span>
    </div>
  </div>`;
}

export function dayTitle(day: DayOfWork): string {
  const date = formatDate(noonOf(day));
  return day.knownHours === 0 ? `${date}: nothing is known` : `${date}: ${formatHours(day.hours)}`;
}

/** A day of 24 hours from midnight may begin an hour off where clocks change; its noon is always within it. */
function noonOf(day: DayOfWork | undefined): number | null {
  return day === undefined ? null : day.dayMs + (dayHours / 2) * 3_600_000;
}
