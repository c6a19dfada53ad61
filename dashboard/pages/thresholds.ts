/** Which devices of a type are beyond a threshold: now, ever, or within a window of time. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type { DeviceTypeItem, Exceeding } from '../../domain/view.ts';
import type { ChannelItem, ExceedingQuestion } from '../api.ts';
import { api } from '../api.ts';
import { formatCount, formatUnit, formatValue, fromLocalTime, toLocalTime } from '../format.ts';
import { deviceLink, emptyList, heading } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery, fieldText } from '../page.ts';
import { table } from '../table.ts';

const reloadMs = 5000;
const dayMs = 86_400_000;
const shownMax = 500;

interface State {
  types: readonly DeviceTypeItem[] | undefined;
  /** Of the type that is chosen in the form. */
  deviceType: string;
  channels: readonly ChannelItem[];
  channel: string;
  when: ExceedingQuestion['when'];
  /** What was asked last, which the address says. */
  readonly asked: ExceedingQuestion | undefined;
  found: readonly Exceeding[] | undefined;
}

/** @param argument - the question, as `hashOf` wrote it into the address; empty at first */
export function createThresholdsPage(app: App, argument: string): Page {
  const asked = questionIn(argument);
  const state: State = {
    types: undefined,
    deviceType: asked?.deviceType ?? '',
    channels: [],
    channel: asked?.channel ?? '',
    when: asked?.when ?? 'now',
    asked,
    found: undefined,
  };
  const ask = async (): Promise<void> => {
    if (asked === undefined) return;
    const found = await api.exceeding(asked);
    const sign = asked.direction === 'above' ? -1 : 1;
    state.found = found.toSorted((a, b) => sign * (a.extreme - b.extreme) || (a.path < b.path ? -1 : 1));
  };
  const chooseType = async (deviceType: string): Promise<void> => {
    const channels = deviceType === '' ? [] : await api.channels(deviceType);
    const numbers = channels.filter(({ kind }) => kind !== 'string');
    const isThere = numbers.some(({ name }) => name === state.channel);
    Object.assign(state, {
      deviceType,
      channels: numbers,
      channel: isThere ? state.channel : (numbers[0]?.name ?? ''),
    });
    app.refresh();
  };
  const load = async (): Promise<void> => {
    state.types ??= await api.deviceTypes();
    const isThere = state.types.some(({ name }) => name === state.deviceType);
    await Promise.all([chooseType(isThere ? state.deviceType : (state.types[0]?.name ?? '')), ask()]);
    app.refresh();
  };
  const again = atMostEvery(reloadMs, () =>
    app.attempt(async () => {
      await ask();
      app.refresh();
    }),
  );
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (!(event.target instanceof HTMLFormElement)) return;
    const hash = hashOf(questionOf(event.target));
    if (location.hash === hash) again();
    else location.hash = hash;
  };
  return {
    title: 'Thresholds',
    load,
    snapshots: () => {
      if (asked?.when === 'now') again();
    },
    stop: () => again.cancel(),
    view: () =>
      html`${heading('Thresholds', 'Which devices of a type are, or were, beyond a value.')}
      ${form(app, state, chooseType, submit)} ${answer(state)}`,
  };
}

/** @returns the address of a question */
function hashOf(question: ExceedingQuestion): string {
  const entries = Object.entries(question).map(([name, value]) => [name, String(value)]);
  return `#/thresholds/${encodeURIComponent(new URLSearchParams(entries).toString())}`;
}

function questionIn(argument: string): ExceedingQuestion | undefined {
  const given = new URLSearchParams(argument);
  const [deviceType, channel, value] = [given.get('deviceType'), given.get('channel'), given.get('value')];
  if (deviceType === null || channel === null || value === null || value === '') return undefined;
  const when = given.get('when');
  const [fromMs, toMs] = [Number(given.get('fromMs')), Number(given.get('toMs'))];
  return {
    deviceType,
    channel,
    direction: given.get('direction') === 'below' ? 'below' : 'above',
    value: Number(value),
    when: when === 'ever' || when === 'within' ? when : 'now',
    ...(when === 'within' ? { fromMs, toMs } : {}),
  };
}

function questionOf(form: HTMLFormElement): ExceedingQuestion {
  const when = fieldText(form, 'when');
  return {
    deviceType: fieldText(form, 'deviceType'),
    channel: fieldText(form, 'channel'),
    direction: fieldText(form, 'direction') === 'below' ? 'below' : 'above',
    value: Number(fieldText(form, 'value')),
    when: when === 'ever' || when === 'within' ? when : 'now',
    ...(when === 'within'
      ? { fromMs: fromLocalTime(fieldText(form, 'from')), toMs: fromLocalTime(fieldText(form, 'to')) }
      : {}),
  };
}

function form(
  app: App,
  state: State,
  chooseType: (deviceType: string) => Promise<void>,
  submit: (event: SubmitEvent) => void,
): TemplateResult | typeof nothing {
  const { types, asked } = state;
  if (types === undefined) return nothing;
  if (types.length === 0)
    return emptyList('No device has reported yet', 'A type appears here with its first device.');
  const unit = formatUnit(state.channels.find(({ name }) => name === state.channel)?.unit ?? null);
  const nowMs = Date.now();
  return html`<form class="card ask" @submit=${submit}>
    <label
      >Device type<select
        name="deviceType"
        @change=${(event: Event) => app.attempt(() => chooseType((event.target as HTMLSelectElement).value))}
      >
        ${types.map(
          ({ name, devices }) =>
            html`<option value=${name} ?selected=${name === state.deviceType}>
              ${name} (${formatCount(devices)})
            </option>`,
        )}
      </select></label
    >
    <label
      >Channel<select
        name="channel"
        required
        @change=${(event: Event) => {
          state.channel = (event.target as HTMLSelectElement).value;
          app.refresh();
        }}
      >
        ${state.channels.map(
          ({ name }) => html`<option value=${name} ?selected=${name === state.channel}>${name}</option>`,
        )}
      </select></label
    >
    <label
      >Is<select name="direction">
        <option value="above" ?selected=${asked?.direction !== 'below'}>above</option>
        <option value="below" ?selected=${asked?.direction === 'below'}>below</option>
      </select></label
    >
    <label
      >Value ${unit === '' ? nothing : `in ${unit}`}<input
        name="value"
        type="number"
        step="any"
        required
        value=${asked?.value ?? nothing}
    /></label>
    <label
      >When<select
        name="when"
        @change=${(event: Event) => {
          const { value } = event.target as HTMLSelectElement;
          state.when = value === 'ever' || value === 'within' ? value : 'now';
          app.refresh();
        }}
      >
        <option value="now" ?selected=${state.when === 'now'}>now</option>
        <option value="ever" ?selected=${state.when === 'ever'}>ever</option>
        <option value="within" ?selected=${state.when === 'within'}>within</option>
      </select></label
    >
    ${
      state.when === 'within'
        ? html`<label
              >From<input
                name="from"
                type="datetime-local"
                required
                value=${toLocalTime(asked?.fromMs ?? nowMs - dayMs)}
            /></label>
            <label
              >To<input name="to" type="datetime-local" required value=${toLocalTime(asked?.toMs ?? nowMs)}
            /></label>`
        : nothing
    }
    <button class="primary" ?disabled=${state.channel === ''}>Show</button>
  </form>`;
}

function answer({ asked, found, channels }: State): TemplateResult | typeof nothing {
  if (asked === undefined)
    return emptyList(
      'Nothing is asked yet',
      'Choose a channel and a value to see which devices are beyond it.',
    );
  if (found === undefined) return nothing;
  const unit = formatUnit(channels.find(({ name }) => name === asked.channel)?.unit ?? null);
  const question = `${asked.channel} ${asked.direction} ${formatValue(asked.value)} ${unit}`.trim();
  if (found.length === 0)
    return emptyList('No device is beyond it', `${question}, among the devices that you may see.`);
  const range = asked.fromMs === undefined ? '' : `@${asked.fromMs}-${asked.toMs}`;
  return html`<section class="card flush">
    <div role="status">
      <h2 class="inset">${question} <span class="quiet">${formatCount(found.length)}</span></h2>
    </div>
    ${table(
      [
        'Device',
        { figure: asked.when === 'now' ? 'Value' : asked.direction === 'above' ? 'Greatest' : 'Least' },
        'Chart',
      ],
      found.slice(0, shownMax).map(
        ({ path, extreme }) =>
          html`<tr>
            <td>${deviceLink(path)}</td>
            <td class="number">${formatValue(extreme)} ${unit}</td>
            <td>
              <a
                href="#/device/${encodeURI(`${path}/${asked.channel}${range}`)}"
                aria-label="Chart of ${path}"
                >Chart</a
              >
            </td>
          </tr>`,
      ),
    )}
    ${
      found.length > shownMax
        ? html`<p class="inset quiet">The ${formatCount(shownMax)} that are farthest beyond it.</p>`
        : nothing
    }
  </section>`;
}
