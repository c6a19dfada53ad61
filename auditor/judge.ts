/** Judges an envelope: by what it is, by the newest policies, and by those under which it may have been sealed. */
import type { OriginatorDirectory } from '../cms/originator-directory.ts';
import type { Opener } from '../cms/open.ts';
import type { Originator } from '../cms/originator.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { isWithin } from '../domain/namespace.ts';
import { mainGroup } from '../domain/policy.ts';
import { parseSharedTopic } from '../domain/topic.ts';
import type { PassageLeaf } from '../ledger/leaf.ts';
import { isOpened, streamOf } from '../ledger/stream.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import { mayCommand } from '../policy/command-issuers.ts';
import type { Passing } from './examine.ts';
import { examine } from './examine.ts';
import type { Obedience, Standing } from './obedience.ts';
import type { Grant, KnownRecipient, PolicyCheck, Verdict } from './policy-check.ts';
import type { PolicyChange } from './policy-timeline.ts';
import type { Portion, StreamUse } from './rates.ts';
import { rateFault, useWith } from './rates.ts';
import type { EgressRecord, Entry } from './record.ts';

export interface JudgeOptions {
  readonly record: EgressRecord;
  readonly directory: OriginatorDirectory;
  /** Who may command devices, and reads what they answer. */
  readonly issuers: readonly Originator[];
  readonly opener: Opener;
  readonly check: PolicyCheck;
  readonly obedience: Obedience;
  readonly lists: RevocationLists;
  /** How long after a change what was sealed before it leaves as it was granted then; later a person is asked. */
  readonly graceMs: number;
}

export interface Judged {
  readonly entry: Entry;
  readonly verdict: Verdict;
  /** It may be judged in another way soon, by something that is on its way. */
  readonly mayChange: boolean;
}

/** What is in the same commit counts as recorded before it. */
export type Ready = readonly { readonly entry: Entry }[];

/** What may pass by itself: certificates that have not come yet, lists that are not there or too old. */
const transient: ReadonlySet<string> = new Set(['cms.untrusted_originator', 'pki.stale_crl']);
const foreignRecipient = 'audit.foreign_recipient';

export class Judge {
  readonly #options: JudgeOptions;

  constructor(options: JudgeOptions) {
    this.#options = options;
  }

  judge(passing: Passing, ready: Ready): Judged {
    const { check } = this.#options;
    const grant = check.grantFor(passing.device, passing.topic);
    const judged = this.#by(grant, passing, ready);
    const { passage } = judged.entry;
    const decided = this.#decided(passage, ready);
    if (decided !== undefined) return { ...judged, ...decided };
    const reason = passage.alarm?.reason;
    if (reason !== undefined && transient.has(reason)) return { ...judged, mayChange: true };
    const standing = this.#standingOf(passing, passage, grant);
    const bounded = this.#withinRates(judged, passing, grant, standing, ready);
    if (!dependsOnPolicy(bounded.verdict, grant)) return bounded;
    if (standing === 'ahead') return { ...bounded, mayChange: true };
    if (bounded.verdict.decision === 'hold') return bounded;
    return this.#byFormer(passing, bounded, standing, ready) ?? bounded;
  }

  #by(grant: Grant, passing: Passing, ready: Ready): Judged {
    const { opener, check, lists, record } = this.#options;
    const entry = examine(passing, {
      opener,
      recipients: this.#readersOf(passing, grant),
      lists,
      digestsOf: (stream, sequence) => [
        ...record.index.digestsOf(stream, sequence),
        ...ready.flatMap(({ entry: { passage } }) =>
          passage.sequence === sequence && streamOf(passage) === stream && isOpened(passage)
            ? [passage.digest]
            : [],
        ),
      ],
    });
    const verdict = check.judge(entry, grant);
    const passage = { ...entry.passage, policy: grant.number };
    const isUnspokenOf = grant.effect.levels.length === 0;
    return { entry: { ...entry, passage, isUnspokenOf }, verdict, mayChange: false };
  }

  /** What was decided stays decided, also if the same envelope comes again after another policy. */
  #decided(passage: PassageLeaf, ready: Ready): Pick<Judged, 'verdict' | 'mayChange'> | undefined {
    const ofPolicy = (reason: string | undefined): boolean => reason === undefined || isOfPolicy(reason);
    if (!ofPolicy(passage.alarm?.reason)) return undefined;
    const stream = streamOf(passage);
    const here = ready.findLast(
      ({ entry: { passage: other } }) => streamOf(other) === stream && other.digest.equals(passage.digest),
    )?.entry.passage;
    const known = [
      ...(here === undefined ? [] : [{ outcome: here.outcome, reason: here.alarm?.reason }]),
      ...this.#options.record.index.known(stream, passage.digest),
    ].find(({ reason }) => ofPolicy(reason));
    if (known === undefined) return undefined;
    const alarm = known.reason === undefined ? undefined : { reason: known.reason, detail: 'as before' };
    const decision = { passed: 'release', released: 'release', held: 'hold', denied: 'deny' } as const;
    return { verdict: { decision: decision[known.outcome], alarm }, mayChange: false };
  }

  #standingOf({ device, content, topic }: Passing, { sequence }: PassageLeaf, { effect }: Grant): Standing {
    if (content === 'command') return 'under'; // whoever sends it is told nothing about policies
    const group = parseSharedTopic(topic)?.group ?? mainGroup;
    return this.#options.obedience.standingOf(device, effect, group, sequence);
  }

  /** What the device counts since it has the newest policies; one that never says so, since it should have them. */
  #withinRates(judged: Judged, passing: Passing, grant: Grant, standing: Standing, ready: Ready): Judged {
    const { entry, verdict } = judged;
    const limits = grant.group?.limits;
    const { snapshotMs, passage } = entry;
    const { signingTimeMs, bytes } = passage;
    const { secondsBetweenSnapshots, bytesPerHour } = limits ?? {};
    if (limits === undefined || (secondsBetweenSnapshots ?? bytesPerHour) === undefined) return judged;
    if (verdict.decision === 'deny' || snapshotMs === undefined || signingTimeMs === undefined) return judged;
    if (standing !== 'under' && !this.#isLate(passing, this.#newestChange(passing.device))) return judged;
    const portion: Portion = { snapshotMs, signingTimeMs, receivedMs: passing.receivedMs, bytes };
    const used = this.#usedBy(streamOf(passage), ready);
    const alarm = rateFault(limits, used, portion);
    if (alarm !== undefined) return { ...judged, verdict: { decision: 'deny', alarm } };
    return { ...judged, entry: { ...entry, use: useWith(used, portion) } };
  }

  #usedBy(stream: string, ready: Ready): StreamUse | undefined {
    const here = ready.findLast(
      ({ entry: { passage, use } }) => use !== undefined && streamOf(passage) === stream,
    );
    return here?.entry.use ?? this.#options.record.index.useOf(stream);
  }

  /**
   * A change of the policies condemns nothing that was sealed before its device had them. Nor is it a way around them: only for
   * some time, and only by numbers that the device has named, does such a thing leave as it was granted; otherwise a person
   * is asked. What nobody knows anything of is refused when that time is over.
   */
  #byFormer(passing: Passing, newest: Judged, standing: Standing, ready: Ready): Judged | undefined {
    const { check } = this.#options;
    const { signingTimeMs = Infinity } = newest.entry.passage;
    for (const change of check.changesFor(passing.device)) {
      const isKnown = change.kind === 'ended' ? signingTimeMs < change.atMs : standing === 'before';
      const mayChange = change.kind === 'taken' && standing === 'unknown';
      if (!isKnown && !mayChange) continue;
      const grant = check.grantBefore(passing.device, passing.topic, change, signingTimeMs);
      const judged = this.#by(grant, passing, ready);
      if (judged.verdict.decision === 'deny') continue;
      const isLate = this.#isLate(passing, change);
      if (isKnown && !isLate) return judged;
      if (mayChange && isLate) return { ...newest, mayChange };
      return { ...judged, verdict: { decision: 'hold', alarm: undefined }, mayChange };
    }
    return undefined;
  }

  #newestChange(device: NamespacePath): PolicyChange | undefined {
    return this.#options.check.changesFor(device).find(({ kind }) => kind === 'taken');
  }

  #isLate({ receivedMs }: Passing, change: PolicyChange | undefined): boolean {
    return change === undefined || receivedMs > change.atMs + this.#options.graceMs;
  }

  /**
   * Of a command, the device, by the certificate that it published last, and its owner's own; of an answer, whoever may have
   * asked too, for the device seals it for the one who has.
   */
  #readersOf({ content, device }: Passing, { recipients }: Grant): readonly KnownRecipient[] {
    const { directory, issuers } = this.#options;
    if (content === 'snapshot') return recipients;
    if (content === 'result') {
      return [
        ...recipients,
        ...issuers.filter(({ commonName }) => mayCommand(commonName, device)).map(readerOf),
      ];
    }
    const own = recipients.filter(({ name }) => isWithin(device, name));
    const originator = directory.newestOf(device);
    return originator === undefined ? own : [...own, readerOf(originator)];
  }
}

function readerOf({ commonName, keyAgreement, paths }: Originator): KnownRecipient {
  const verified = paths?.find(({ chain: [leaf] }) => leaf.der.equals(keyAgreement.der));
  return { name: commonName, certificate: keyAgreement, verified };
}

function isOfPolicy(reason: string): boolean {
  return reason.startsWith('policy.') || reason === foreignRecipient;
}

/** Whether other policies could say something else. */
function dependsOnPolicy({ decision, alarm }: Verdict, { effect }: Grant): boolean {
  if (decision === 'hold') return effect.levels.length === 0;
  return alarm !== undefined && isOfPolicy(alarm.reason);
}
