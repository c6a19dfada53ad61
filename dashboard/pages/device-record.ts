/** What people say of the device: whose it is, who looks after it, when it is serviced; seen by all, changed by operators. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import { keyed } from 'lit-html/directives/keyed.js';
import { ref } from 'lit-html/directives/ref.js';
import type { DeviceRecord } from '../api.ts';
import { api } from '../api.ts';
import { formatCount, formatDate, formatHours } from '../format.ts';
import { ApiError } from '../http.ts';
import { deviceLink, labelMarks, verbatim } from '../marks.ts';
import type { App } from '../page.ts';
import { fieldText, focusOnce } from '../page.ts';

export interface RecordPanel {
  view(record: DeviceRecord): TemplateResult;
}

interface State {
  /** What the form began with; undefined while nobody edits. */
  edited: DeviceRecord | undefined;
  isBusy: boolean;
  /** Why it was not saved. */
  fault: string;
  /** Whether somebody else was faster. */
  isStale: boolean;
  /** Then its button has the focus again. */
  wasEdited: boolean;
}

const wordsLengthMax = 200;

/** @param reload - loads the record anew */
export function createRecordPanel(app: App, path: string, reload: () => Promise<void>): RecordPanel {
  const state: State = { edited: undefined, isBusy: false, fault: '', isStale: false, wasEdited: false };
  const set = (change: Partial<State>): void => {
    Object.assign(state, change);
    app.refresh();
  };
  const save = async (form: HTMLFormElement, revision: number): Promise<void> => {
    set({ isBusy: true, fault: '' });
    try {
      await api.changeMetadata({ path, revision, ...recordIn(form) });
      set({ edited: undefined });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status === 401) throw error;
      set({ fault: error.message, isStale: error.status === 409 });
    } finally {
      set({ isBusy: false });
    }
    await reload();
  };
  const claim = (former: string | null): void =>
    app.attempt(async () => {
      await api.setFormer(path, former);
      await reload();
    });
  return {
    view: (record) =>
      state.edited === undefined
        ? recordCard(
            app,
            state,
            record,
            () => set({ edited: record, fault: '', isStale: false, wasEdited: true }),
            claim,
          )
        : recordForm(state, state.edited, record, {
            save: (form, revision) => app.attempt(() => save(form, revision)),
            cancel: () => set({ edited: undefined }),
            takeOver: () => set({ edited: record, fault: '', isStale: false }),
          }),
  };
}

type Edited = Pick<DeviceRecord, 'owner' | 'labels' | 'technician' | 'serviceHours' | 'serviceDays'>;

function recordIn(form: HTMLFormElement): Edited {
  const lines = fieldText(form, 'labels').split(/\r?\n/);
  return {
    owner: fieldText(form, 'owner'),
    labels: lines.filter((line) => line.trim() !== ''),
    technician: fieldText(form, 'technician'),
    serviceHours: intervalIn(form, 'serviceHours'),
    serviceDays: intervalIn(form, 'serviceDays'),
  };
}

function intervalIn(form: HTMLFormElement, name: string): number | null {
  const text = fieldText(form, name);
  return text === '' ? null : Number(text);
}

function recordCard(
  app: App,
  { wasEdited }: State,
  record: DeviceRecord,
  edit: () => void,
  claim: (former: string | null) => void,
): TemplateResult {
  const mayEdit = app.user.role === 'operator';
  return html`<section class="card">
    <div class="toolbar bare">
      <h2>Record</h2>
      ${mayEdit ? html`<button class="plain end" @click=${edit} ${ref(wasEdited ? focusOnce : undefined)}>Edit</button>` : nothing}
    </div>
    <div class="facts">
      <div><span>Owner</span>${verbatim(record.owner)}</div>
      <div><span>Technician in charge</span>${verbatim(record.technician)}</div>
      <div><span>Service every</span>${intervals(record)}</div>
      <div class="wide">
        <span>Labels</span>${record.labels.length === 0 ? '–' : labelMarks(record.labels)}
      </div>
    </div>
    ${kinship(record, mayEdit, claim)}
  </section>`;
}

function intervals({ serviceHours, serviceDays }: DeviceRecord): string {
  const parts = [
    ...(serviceHours === null ? [] : [formatHours(serviceHours)]),
    ...(serviceDays === null ? [] : [`${formatCount(serviceDays)} days`]),
  ];
  return parts.length === 0 ? '–' : parts.join(' or ');
}

/** A device that changed hands is two paths; each owner sees the part under its own. */
function kinship(
  { former, later }: DeviceRecord,
  mayEdit: boolean,
  claim: (former: string | null) => void,
): TemplateResult {
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (event.target instanceof HTMLFormElement) claim(fieldText(event.target, 'former').trim());
  };
  return html`<div class="kin">
    ${
      later === null
        ? nothing
        : html`<p>
            Is ${deviceLink(later.path)} now. What it sends there is seen by whoever may see that path.
          </p>`
    }
    ${
      former === null
        ? nothing
        : html`<p>
            Was ${deviceLink(former.path)} until ${formatDate(former.lastSnapshotMs)}:
            ${formatCount(former.stored)} snapshots, which its present owner does not see.
            ${mayEdit ? html`<button class="plain" @click=${() => claim(null)}>It was not</button>` : nothing}
          </p>`
    }
    ${
      former === null && mayEdit
        ? html`<details>
            <summary>It had another owner</summary>
            <form class="row" @submit=${submit}>
              <label
                >Its path then<input
                  name="former"
                  required
                  maxlength="62"
                  placeholder="master/account/device"
                  autocomplete="off"
              /></label>
              <button class="plain">Link</button>
              <p class="quiet hint">
                What it sent under that path stays with who may see that path; the link is shown to whoever
                sees both.
              </p>
            </form>
          </details>`
        : nothing
    }
  </div>`;
}

interface Actions {
  readonly save: (form: HTMLFormElement, revision: number) => void;
  readonly cancel: () => void;
  /** Begins again with what somebody else wrote. */
  readonly takeOver: () => void;
}

function recordForm(
  { isBusy, fault, isStale }: State,
  edited: DeviceRecord,
  record: DeviceRecord,
  { save, cancel, takeOver }: Actions,
): TemplateResult {
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (event.target instanceof HTMLFormElement) save(event.target, edited.revision);
  };
  const form = html`<form
    class="sheet"
    @submit=${submit}
    @keydown=${(event: KeyboardEvent) => {
      if (event.key === 'Escape') cancel();
    }}
  >
    <label
      >Owner<input name="owner" maxlength=${wordsLengthMax} .defaultValue=${edited.owner} ${ref(focusOnce)}
    /></label>
    <label
      >Technician in charge<input
        name="technician"
        maxlength=${wordsLengthMax}
        .defaultValue=${edited.technician}
    /></label>
    <label
      >Service every … hours<input
        name="serviceHours"
        type="number"
        min="1"
        max="1000000"
        .defaultValue=${edited.serviceHours === null ? '' : String(edited.serviceHours)}
    /></label>
    <label
      >Service every … days<input
        name="serviceDays"
        type="number"
        min="1"
        max="1000000"
        .defaultValue=${edited.serviceDays === null ? '' : String(edited.serviceDays)}
    /></label>
    <label class="wide"
      >Labels, one in a line<textarea
        name="labels"
        rows="4"
        .defaultValue=${edited.labels.join('\n')}
      ></textarea>
    </label>
    ${
      fault === ''
        ? nothing
        : html`<p class="fault wide" role="alert">
            ${fault}.
            ${
              isStale && record.revision !== edited.revision
                ? html`<button type="button" class="plain" @click=${takeOver}>Begin again with that</button>`
                : nothing
            }
          </p>`
    }
    <div class="chips wide">
      <button class="primary" ?disabled=${isBusy}>Save</button>
      <button type="button" class="plain" @click=${cancel}>Cancel</button>
    </div>
  </form>`;
  return html`<section class="card">
    <h2>Record</h2>
    ${keyed(edited.revision, form)}
  </section>`;
}
