/** What the policies of a device's owners say of one envelope: whether its readers and its channels are granted. */
import type { Clock } from '../domain/clock.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { isWithin, ownersOf } from '../domain/namespace.ts';
import type { Policy } from '../domain/policy.ts';
import { mainGroup } from '../domain/policy.ts';
import type { EffectiveGroup, EffectivePolicy } from '../domain/policy-effect.ts';
import { classOf, commandClassOf, effectivePolicy } from '../domain/policy-effect.ts';
import { parseSharedTopic } from '../domain/topic.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import type { VerifiedIdentity, VerifiedPath } from '../pki/path.ts';
import { PolicyRefusal } from '../policy/errors.ts';
import type { Policies } from '../policy/policies.ts';
import { readersOf } from '../policy/recipients.ts';
import type { PolicyHistory } from './policy-history.ts';
import type { PolicyChange } from './policy-timeline.ts';
import { changesOf } from './policy-timeline.ts';
import type { Entry } from './record.ts';

/** Somebody who may read what leaves. */
export interface KnownRecipient {
  readonly name: string;
  readonly certificate: Certificate;
  /** What revocation lists are asked about; undefined: the owner's policy alone vouches for it. */
  readonly verified: VerifiedPath | undefined;
}

export interface Grant {
  /** Who may read what comes by a topic: the owner's own, and those of the topic's group. */
  readonly recipients: readonly KnownRecipient[];
  /** Undefined: nobody but the owner's own. */
  readonly group: EffectiveGroup | undefined;
  readonly effect: EffectivePolicy;
  /** Of the policy that is nearest to the device; undefined if there is none. */
  readonly number: number | undefined;
}

export type Decision = 'release' | 'hold' | 'deny';

export interface Verdict {
  readonly decision: Decision;
  readonly alarm: { readonly reason: string; readonly detail: string } | undefined;
}

export interface PolicyCheckOptions {
  readonly policies: Policies;
  readonly history: Pick<PolicyHistory, 'of'>;
  /** Of the configuration. */
  readonly recipients: readonly VerifiedIdentity[];
  readonly roots: readonly Certificate[];
  /** What becomes of the envelopes of a device that no policy speaks of. */
  readonly withoutPolicy: 'release' | 'hold';
  readonly clock: Clock;
}

export class PolicyCheck {
  readonly #options: PolicyCheckOptions;
  /** By topic. */
  #grants = new Map<string, Grant>();
  /** By device. */
  #changes = new Map<NamespacePath, readonly PolicyChange[]>();
  #generation = -1;

  constructor(options: PolicyCheckOptions) {
    this.#options = options;
  }

  /** What the policies of a device's owners come to, now. */
  effectOf(device: NamespacePath): EffectivePolicy {
    const others = this.#configured(device).others.map(({ commonName }) => commonName);
    return this.#options.policies.effectiveFor(device, others);
  }

  /** Whoever owns the device and reads whatever anybody reads. */
  ownReaders(device: NamespacePath): readonly string[] {
    return this.#configured(device).own.map(({ commonName }) => commonName);
  }

  grantFor(device: NamespacePath, topic: string): Grant {
    const effect = this.effectOf(device);
    const known = this.#known(topic);
    if (known?.effect === effect) return known;
    const grant = this.#grantOf(device, topic, effect);
    this.#grants.set(topic, grant);
    return grant;
  }

  /** What was granted until then. @param atMs - when it was used */
  grantBefore(
    device: NamespacePath,
    topic: string,
    { atMs: endMs, before }: PolicyChange,
    atMs: number,
  ): Grant {
    const configured = this.#configured(device).others.map(({ commonName }) => commonName);
    const effect = effectivePolicy({ policies: before, configured, atMs: Math.min(atMs, endMs - 1) });
    return this.#grantOf(device, topic, effect);
  }

  /** Of what holds for a device, up to now, the newest first. */
  changesFor(device: NamespacePath): readonly PolicyChange[] {
    this.#forgetOld();
    const known = this.#changes.get(device);
    const nowMs = this.#options.clock();
    // Policies that ended meanwhile are a change too.
    if (known !== undefined && nowMs < (this.effectOf(device).changesAtMs ?? Infinity)) return known;
    const levels = [...ownersOf(device), device].map((path) => this.#taken(path));
    const changes = changesOf(levels, nowMs);
    this.#changes.set(device, changes);
    return changes;
  }

  /** The oldest first, up to the one that is the newest here. */
  #taken(path: NamespacePath): readonly { policy: Policy; takenMs: number }[] {
    return this.#options.history.of(path, pastMax).toReversed();
  }

  #grantOf(device: NamespacePath, topic: string, effect: EffectivePolicy): Grant {
    const { roots, clock } = this.#options;
    const { own, others } = this.#configured(device);
    const name = parseSharedTopic(topic)?.group ?? mainGroup;
    const group = effect.groups.find((one) => one.name === name);
    const readers = (group?.recipients ?? []).flatMap((recipient) => {
      try {
        return readersOf(recipient, { configured: others, roots, atMs: clock() });
      } catch (error) {
        if (!(error instanceof PolicyRefusal || error instanceof PkiError)) throw error;
        return []; // whoever is addressed by that name is a stranger then
      }
    });
    return {
      recipients: [...own.map(knownOf), ...readers],
      group,
      effect,
      number: effect.levels.at(-1)?.number,
    };
  }

  /** Of an envelope that is right in itself. */
  judge({ passage, channelNames, command }: Entry, { effect, group }: Grant): Verdict {
    if (passage.alarm !== undefined) return { decision: 'deny', alarm: passage.alarm };
    if (command !== undefined) {
      const found = commandClassOf(effect, command.name);
      if (found === 'deny') return denied('policy.denied_command', command.name);
      if (found === 'ask') return { decision: 'hold', alarm: undefined };
      return {
        decision: effect.levels.length === 0 ? this.#options.withoutPolicy : 'release',
        alarm: undefined,
      };
    }
    const bytesMax = group?.limits.envelopeBytes ?? Infinity;
    if (passage.bytes > bytesMax) {
      return denied('policy.envelope_bytes', `${passage.bytes} bytes; the policy grants ${bytesMax}`);
    }
    if (effect.levels.length === 0) return { decision: this.#options.withoutPolicy, alarm: undefined };
    if (channelNames === undefined) return { decision: 'release', alarm: undefined }; // a result tells no channel
    const found = classOf(effect, group?.name ?? '', channelNames);
    if (found === 'ask') return { decision: 'hold', alarm: undefined };
    if (found === 'auto') return { decision: 'release', alarm: undefined };
    const refused = channelNames.filter((channel) => (group?.classOf(channel) ?? 'deny') === 'deny');
    return denied('policy.denied_channel', refused.join(', '));
  }

  /** The device's owners, and everybody else who may read it as long as no policy says who may. */
  #configured(device: NamespacePath): Record<'own' | 'others', readonly VerifiedIdentity[]> {
    const { recipients } = this.#options;
    const own = recipients.filter(({ commonName }) => isWithin(device, commonName));
    return { own, others: recipients.filter((recipient) => !own.includes(recipient)) };
  }

  #known(topic: string): Grant | undefined {
    this.#forgetOld();
    return this.#grants.get(topic);
  }

  #forgetOld(): void {
    const { generation } = this.#options.policies;
    if (generation === this.#generation && this.#grants.size <= grantsMax && this.#changes.size <= grantsMax)
      return;
    this.#grants = new Map();
    this.#changes = new Map();
    this.#generation = generation;
  }
}

/** Topics, and devices, that are remembered. */
const grantsMax = 20_000;
/** Of one path, that are asked about what was sealed under them. */
const pastMax = 16;
const detailLengthMax = 500;

export function knownOf({ commonName, certificate, chain, root }: VerifiedIdentity): KnownRecipient {
  return { name: commonName, certificate, verified: { chain, root } };
}

function denied(reason: string, detail: string): Verdict {
  return { decision: 'deny', alarm: { reason, detail: detail.slice(0, detailLengthMax) } };
}
