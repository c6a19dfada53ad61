/** When the device is due for service, and the services that people noted. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import { ref } from 'lit-html/directives/ref.js';
import type { Service, ServiceDue } from '../../domain/service.ts';
import { numberIn, operatingHoursChannel, serviceDue } from '../../domain/service.ts';
import type { Device, DeviceRecord } from '../api.ts';
import { api } from '../api.ts';
import { formatAgo, formatDate, formatDateTime, formatHours, fromLocalTime, toLocalTime } from '../format.ts';
import { stateMark, verbatim } from '../marks.ts';
import type { App } from '../page.ts';
import { fieldText, focusOnce } from '../page.ts';
import { table } from '../table.ts';

export interface ServicePanel {
  view(device: Device, record: DeviceRecord): TemplateResult;
}

const remarkLengthMax = 500;
const soonHours = 100;
const soonMs = 14 * 86_400_000;

/** @param reload - loads the record anew */
export function createServicePanel(app: App, path: string, reload: () => Promise<void>): ServicePanel {
  let isNoting = false;
  let wasNoting = false;
  let isBusy = false;
  const show = (isOpen: boolean): void => {
    isNoting = isOpen;
    wasNoting = true;
    app.refresh();
  };
  const run = (action: () => Promise<void>): void =>
    app.attempt(async () => {
      isBusy = true;
      app.refresh();
      try {
        await action();
      } finally {
        isBusy = false;
      }
      isNoting = false;
      await reload();
    });
  const note = (form: HTMLFormElement): void =>
    run(() =>
      api.noteService({
        path,
        servicedMs: fromLocalTime(fieldText(form, 'serviced')),
        hours: fieldText(form, 'hours') === '' ? null : Number(fieldText(form, 'hours')),
        remark: fieldText(form, 'remark'),
      }),
    );
  return {
    view: (device, record) => {
      const mayNote = app.user.role !== 'viewer';
      const due = serviceDue(record, record.services, device.latest);
      return html`<section class="card flush">
        <div class="toolbar bare inset">
          <h2>Service</h2>
          ${
            mayNote && !isNoting
              ? html`<button
                  class="plain end"
                  @click=${() => show(true)}
                  ${ref(wasNoting ? focusOnce : undefined)}
                >
                  Note a service
                </button>`
              : nothing
          }
        </div>
        <div class="inset facts">${dueFacts(record, due)}</div>
        ${isNoting ? noteForm(device, isBusy, note, () => show(false)) : nothing}
        ${serviceTable(record.services, mayNote ? (id) => run(() => api.withdrawService(path, id)) : undefined)}
      </section>`;
    },
  };
}

function dueFacts({ serviceHours, serviceDays }: DeviceRecord, due: ServiceDue): TemplateResult {
  if (serviceHours === null && serviceDays === null)
    return html`<p class="quiet">No interval is agreed; an operator sets one in the record.</p>`;
  return html`${
    serviceHours === null
      ? nothing
      : html`<div>
          <span>Due by operation</span>${
            due.hoursLeft === undefined
              ? html`<span class="quiet">nobody counts its hours</span>`
              : dueMark(
                  due.hoursLeft < 0
                    ? `overdue by ${formatHours(-due.hoursLeft)}`
                    : `in ${formatHours(due.hoursLeft)}`,
                  due.hoursLeft,
                  soonHours,
                )
          }
        </div>`
  }
  ${
    serviceDays === null
      ? nothing
      : html`<div>
          <span>Due by date</span>${
            due.dueMs === undefined
              ? html`<span class="quiet">once a service was noted</span>`
              : html`<span title=${formatDateTime(due.dueMs)}
                  >${dueMark(`${formatDate(due.dueMs)}, ${formatAgo(due.dueMs)}`, due.dueMs - Date.now(), soonMs)}</span
                >`
          }
        </div>`
  }`;
}

function dueMark(text: string, left: number, soon: number): TemplateResult {
  if (left < 0) return stateMark(text, 'bad');
  return left < soon ? html`<span class="mark overdue">${text}</span>` : stateMark(text, 'good');
}

function noteForm(
  device: Device,
  isBusy: boolean,
  note: (form: HTMLFormElement) => void,
  cancel: () => void,
): TemplateResult {
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (event.target instanceof HTMLFormElement) note(event.target);
  };
  const counted = numberIn(device.latest, operatingHoursChannel);
  const now = toLocalTime(Date.now());
  return html`<form
    class="sheet inset"
    @submit=${submit}
    @keydown=${(event: KeyboardEvent) => {
      if (event.key === 'Escape') cancel();
    }}
  >
    <label
      >Serviced<input
        name="serviced"
        type="datetime-local"
        required
        max=${now}
        value=${now}
        ${ref(focusOnce)}
    /></label>
    <label
      >Counter of operating hours then<input
        name="hours"
        type="number"
        min="0"
        step="any"
        .defaultValue=${counted === undefined ? '' : String(counted)}
    /></label>
    <label class="wide">Remark<input name="remark" maxlength=${remarkLengthMax} /></label>
    <div class="chips wide">
      <button class="primary" ?disabled=${isBusy}>Note</button>
      <button type="button" class="plain" @click=${cancel}>Cancel</button>
    </div>
  </form>`;
}

/** @param withdraw - undefined for who may not */
function serviceTable(
  services: readonly Service[],
  withdraw: ((id: number) => void) | undefined,
): TemplateResult {
  if (services.length === 0) return html`<p class="inset quiet">No service was noted yet.</p>`;
  return html`<div class="low">
    ${table(
      ['Serviced', 'Remark', 'Noted by'],
      services.map(
        (service) =>
          html`<tr class=${service.withdrawnMs === null ? '' : 'withdrawn'}>
            <td title=${formatDateTime(service.servicedMs)}>
              ${formatDate(service.servicedMs)}
              ${service.hours === null ? nothing : html`<small>at ${formatHours(service.hours)}</small>`}
            </td>
            <td class="wrap">${verbatim(service.remark)}</td>
            <td>
              <span title=${formatDateTime(service.notedMs)}>${service.notedBy}</span>
              ${
                service.withdrawnMs !== null
                  ? html`<small title=${formatDateTime(service.withdrawnMs)}
                      >taken back by ${service.withdrawnBy}</small
                    >`
                  : withdraw === undefined
                    ? nothing
                    : html`<button class="plain" @click=${() => withdraw(service.id)}>Take back</button>`
              }
            </td>
          </tr>`,
      ),
    )}
  </div>`;
}
