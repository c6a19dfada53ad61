/** The policies: what is in force, who signed it, what was before, and the commands that change it. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type {
  DeviceItem,
  PolicyItem,
  PolicyList,
  ReaderGroupItem,
  ReaderItem,
} from '../../domain/audit-device-view.ts';
import type { ChannelRules, SharingLimits } from '../../domain/policy.ts';
import { formatBytes, formatCount, formatDateTime } from '../format.ts';
import { emptyList, heading } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery } from '../page.ts';
import { auditor } from './api.ts';

const reloadMs = 1000;

export function createPolicyPage(app: App): Page {
  let list: PolicyList | undefined;
  const load = async (): Promise<void> => {
    list = await auditor.policies();
    app.refresh();
  };
  const reload = atMostEvery(reloadMs, () => app.attempt(load));
  return {
    title: 'Policy',
    load,
    changed: (what) => what === 'policies' && reload(),
    stop: () => reload.cancel(),
    view: () =>
      html`${heading('Policy', 'Who may read what: signed by the owner, applied by the devices before they seal.')}
      ${list === undefined ? html`<p class="quiet" role="status">Loading…</p>` : contentOf(list)}`,
  };
}

/** @returns for example `number 4 for ms-acc-1` */
export function levelText({ path, number, standing }: DeviceItem['levels'][number]): string {
  const state = { in_force: '', not_yet: ' (not yet in force)', expired: ' (expired: grants nothing)' }[
    standing
  ];
  return `number ${number} for ${path}${state}`;
}

function contentOf({ policies, refusals, publishing, scope }: PolicyList): TemplateResult {
  const newest = policies.filter(({ isNewest }) => isNewest);
  const past = policies.filter(({ isNewest }) => !isNewest);
  const next = 1 + Math.max(0, ...policies.filter(({ path }) => path === scope).map(({ number }) => number));
  return html`${refusals.map(
    ({ path, reason, atMs }) =>
      html`<section class="card alarm" role="alert">
        A policy that came for <span class="path">${path}</span> was not taken (${reason}),
        ${formatDateTime(atMs)}.
      </section>`,
  )}
  ${
    newest.length === 0
      ? emptyList('No policy yet', 'What leaves is as the configuration of the devices says.')
      : newest.map(policyCard)
  }
  ${past.length === 0 ? nothing : historyTable(past)} ${commandsCard(publishing, next)}`;
}

function policyCard(policy: PolicyItem): TemplateResult {
  const { path, number, signer, signedMs, takenMs, validFromMs, validUntilMs, readers, commands } = policy;
  return html`<section class="card">
    <h2>Number ${number} for <span class="path">${path}</span> and all below</h2>
    <div class="facts">
      ${fact('Signed by', signer)} ${fact('Signed', formatDateTime(signedMs))}
      ${fact('Here since', formatDateTime(takenMs))}
      ${validFromMs === undefined ? nothing : fact('In force from', formatDateTime(validFromMs))}
      ${fact('Until', validUntilMs === undefined ? 'the next one' : formatDateTime(validUntilMs))}
      ${fact('Commands that devices obey', commandsText(commands))}
      ${fact('Of every group at most', limitsText(policy.limits))}
    </div>
    ${readers === undefined ? html`<p class="quiet">It says nothing about readers.</p>` : readerGroups(readers)}
  </section>`;
}

/** @param readers - the groups of one policy, or of what holds for a device */
export function readerGroups(readers: readonly ReaderGroupItem[]): TemplateResult {
  if (readers.length === 0) return html`<p>Nobody but the owner reads anything.</p>`;
  return html`<ul class="readers">
    ${readers.map(
      ({ name, recipients, channels, limits }) =>
        html`<li>
          <h3>${name}</h3>
          <div class="facts">
            ${fact('Who', recipients === undefined ? asAbove : recipients.map(readerText).join(', '))}
            ${channels === undefined ? fact('Channels', asAbove) : channelFacts(channels)}
            ${fact('At most', limitsText(limits))}
          </div>
        </li>`,
    )}
  </ul>`;
}

const asAbove = 'as the level above says';

function channelFacts({ auto, ask, deny }: ChannelRules): TemplateResult {
  return html`${fact('Gets by itself (auto)', namesOf(auto))}
  ${fact('After a person released it (ask)', namesOf(ask))} ${fact('Never (deny)', namesOf(deny))}`;
}

const trustNames = {
  configured: '',
  chain: ' (its certificate is in the policy)',
  pinned: ' (outside of the tree)',
};

function readerText({ name, trust }: ReaderItem): string {
  return `${name}${trustNames[trust]}`;
}

const channelsShown = 6;

/** @param given - channels, or patterns of them */
function namesOf(given: readonly string[]): TemplateResult {
  const names = given.map((name) => (name === '*' ? 'any channel (*)' : name));
  if (names.length <= channelsShown) return html`${names.length === 0 ? '–' : names.join(', ')}`;
  return html`<details>
    <summary>${formatCount(names.length)} channels</summary>
    ${names.join(', ')}
  </details>`;
}

/** @returns for example `one snapshot in 60 s, 10 KiB each` */
export function limitsText({ secondsBetweenSnapshots, envelopeBytes, bytesPerHour }: SharingLimits): string {
  const texts = [
    ...(secondsBetweenSnapshots === undefined ? [] : [`one snapshot in ${secondsBetweenSnapshots} s`]),
    ...(envelopeBytes === undefined ? [] : [`${formatBytes(envelopeBytes)} each`]),
    ...(bytesPerHour === undefined ? [] : [`${formatBytes(bytesPerHour)} an hour`]),
  ];
  return texts.length === 0 ? 'no limit' : texts.join(', ');
}

export function commandsText(commands: readonly string[] | undefined): string {
  if (commands === undefined) return 'not restricted here';
  return commands.length === 0 ? 'none' : commands.join(', ');
}

function historyTable(policies: readonly PolicyItem[]): TemplateResult {
  return html`<section class="card flush">
    <h2 class="inset">Before</h2>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">For</th>
            <th scope="col" class="number">Number</th>
            <th scope="col">Signed by</th>
            <th scope="col">Signed</th>
            <th scope="col">Here since</th>
            <th scope="col">Readers</th>
          </tr>
        </thead>
        <tbody>
          ${policies.map(
            ({ path, number, signer, signedMs, takenMs, readers }) =>
              html`<tr>
                <td class="path">${path}</td>
                <td class="number">${number}</td>
                <td>${signer}</td>
                <td>${formatDateTime(signedMs)}</td>
                <td>${formatDateTime(takenMs)}</td>
                <td class="wrap">
                  <details>
                    <summary>Who got what</summary>
                    ${readers === undefined ? 'It says nothing about readers.' : readerGroups(readers)}
                  </details>
                </td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}

function commandsCard(
  { identity, broker, brokerName }: PolicyList['publishing'],
  next: number,
): TemplateResult {
  const lines = [
    'plombe policy check policy.yaml',
    `plombe policy sign policy.yaml --identity ${quoted(identity)} --out policy.signed`,
    `plombe policy publish policy.signed --identity ${quoted(identity)} \\`,
    `    --broker ${broker} --broker-name ${quoted(brokerName)}`,
  ];
  return html`<section class="card">
    <h2>To change it</h2>
    <p>
      Write the whole policy with <code>number: ${next}</code>, and type where the keys of the owner are
      (here: on the machine of this auditor). The page itself signs nothing.
    </p>
    <pre class="octets typed">${lines.join('\n')}</pre>
  </section>`;
}

/** For a shell. */
function quoted(text: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function fact(name: string, text: string | TemplateResult): TemplateResult {
  return html`<div><span>${name}</span><span>${text}</span></div>`;
}
