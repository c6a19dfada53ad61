/** Small marks that several pages use: conditions, connections, states, empty lists. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type { Condition } from '../domain/view.ts';

export const conditionNames: Readonly<Record<Condition, string>> = {
  normal: 'Normal',
  abnormal: 'Abnormal',
  overdue: 'Overdue',
  unknown: 'Unknown',
};

export function conditionMark(condition: Condition): TemplateResult {
  return html`<span class="mark ${condition}">${conditionNames[condition] ?? condition}</span>`;
}

export function connectionMark(connection: string): TemplateResult {
  return html`<span class="dot ${connection}">${connection}</span>`;
}

/** @param tone - `good`, `bad`, `busy` or `quiet` */
export function stateMark(state: string, tone: 'good' | 'bad' | 'busy' | 'quiet'): TemplateResult {
  return html`<span class="state ${tone}">${state}</span>`;
}

export function emptyList(title: string, text: string): TemplateResult {
  return html`<div class="empty"><strong>${title}</strong><span>${text}</span></div>`;
}

export function heading(
  title: string,
  detail: string,
  actions: TemplateResult | typeof nothing = nothing,
): TemplateResult {
  return html`<header class="page-head">
    <div>
      <h1>${title}</h1>
      <p>${detail}</p>
    </div>
    <div class="actions">${actions}</div>
  </header>`;
}

/** What a person wrote, as it was written: its blanks stay, and its direction ends where it ends. */
export function verbatim(text: string): TemplateResult {
  return text === '' ? html`<span>–</span>` : html`<bdi class="verbatim">${text}</bdi>`;
}

export function labelMarks(labels: readonly string[]): TemplateResult {
  return html`<span class="labels">${labels.map((label) => html`<bdi class="label">${label}</bdi>`)}</span>`;
}

export function deviceLink(path: string): TemplateResult {
  return html`<a class="path" href="#/device/${encodeURI(path)}">${path}</a>`;
}
