/** The newest policies of everybody above some devices, as programs that obey them keep them: over restarts, never older ones. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { decode, encode } from 'cborg';
import { CmsError } from '../cms/errors.ts';
import type { Clock } from '../domain/clock.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { isWithin, ownersOf } from '../domain/namespace.ts';
import type { Policy } from '../domain/policy.ts';
import { PolicyError } from '../domain/policy.ts';
import type { EffectivePolicy } from '../domain/policy-effect.ts';
import { effectivePolicy } from '../domain/policy-effect.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import { describeSystemError } from '../runtime/config.ts';
import { writeFileAtomically } from '../runtime/files.ts';
import type { Log } from '../runtime/log.ts';
import type { Counter, Metrics } from '../runtime/observe.ts';
import { PolicyRefusal } from './errors.ts';
import type { SignedPolicy } from './signed-policy.ts';
import { readSignedPolicy } from './signed-policy.ts';

export interface PoliciesOptions {
  /** The program's data; the policies are files in a folder of it. */
  readonly directory: string;
  /** Of the E2E PKI, pinned. */
  readonly roots: readonly Certificate[];
  readonly lists: RevocationLists;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** Why a policy was not taken. */
export interface Refusal {
  readonly reason: string;
  readonly atMs: number;
}

interface Held extends SignedPolicy {
  readonly message: Buffer;
}

const folderName = 'policies';
const fileEnd = '.policy';
/** Why a policy is not taken now and may be later; it is tried again. */
const passing: ReadonlySet<string> = new Set(['pki.stale_crl', 'policy.not_kept', 'policy.not_yet_valid']);
const retryMs = 5000;
/** Clocks of owners and of devices differ. */
const clockSkewMs = 5 * 60_000;
/** Of devices that ask; beyond it what was worked out is forgotten. */
const rememberedMax = 10_000;
const detailLengthMax = 400;

export class Policies {
  readonly #options: PoliciesOptions;
  readonly #folder: string;
  readonly #held = new Map<NamespacePath, Held>();
  /** The newest that could not be taken yet; one for each path. */
  readonly #waiting = new Map<NamespacePath, { readonly number: number; readonly message: Buffer }>();
  readonly #faults = new Map<NamespacePath, Refusal>();
  readonly #effects = new Map<
    NamespacePath,
    { readonly configured: string; readonly sinceMs: number; readonly effect: EffectivePolicy }
  >();
  readonly #taken: Counter;
  readonly #refused: Counter<'reason'>;
  readonly #listeners = new Set<(path: NamespacePath) => void>();
  #retriedAtMs = -Infinity;
  #generation = 0;

  /** @throws PolicyRefusal `policy.damaged`: without what was kept an older policy could pass for a newer one */
  constructor(options: PoliciesOptions) {
    const { directory, metrics } = options;
    this.#options = options;
    this.#folder = path.join(directory, folderName);
    this.#taken = metrics.counter('plombe_policies_taken_total', 'policies that were newer');
    this.#refused = metrics.counter('plombe_policies_refused_total', 'policies that were not taken', [
      'reason',
    ]);
    if (existsSync(this.#folder)) this.#load();
  }

  /** Told whose policy is another, or was refused. */
  onChanged(listener: (path: NamespacePath) => void): void {
    this.#listeners.add(listener);
  }

  /** Counts up with every policy that is taken. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * Takes over a policy, which is on the disk before it counts. Whoever carries it can hold it back, but not make us forget
   * one or take an older one.
   *
   * @param scope - by whose topics it came: it is for that, or for whoever is above
   * @returns whether it is new
   */
  take(scope: NamespacePath, payload: Buffer): boolean {
    if (payload.length === 0) return false; // the retained message was deleted; what was said still holds
    try {
      return this.#take(scope, payload);
    } catch (error) {
      this.#refuse(scope, error);
      return false;
    }
  }

  /** @returns those of the path itself and of whoever is above, the highest first */
  of(scope: NamespacePath): readonly Policy[] {
    return [...ownersOf(scope), scope].flatMap((owner) => this.#held.get(owner)?.policy ?? []);
  }

  /** What is held of everybody, with who signed it. */
  signed(): readonly SignedPolicy[] {
    return [...this.#held.values()];
  }

  /** Whose last policy was not taken, and why. */
  faults(): readonly (readonly [NamespacePath, Refusal])[] {
    return [...this.#faults];
  }

  /** Why the last policy that came by the topics of a path was not taken; undefined if it was. */
  faultOf(scope: NamespacePath): Refusal | undefined {
    return this.#faults.get(scope);
  }

  /** @param configured - as in `PolicyQuestion` */
  effectiveFor(device: NamespacePath, configured: readonly string[]): EffectivePolicy {
    const atMs = this.#options.clock();
    if (this.#waiting.size > 0 && Math.abs(atMs - this.#retriedAtMs) >= retryMs) this.retry();
    const names = configured.join();
    const known = this.#effects.get(device);
    const isCurrent =
      known !== undefined && atMs >= known.sinceMs && atMs < (known.effect.changesAtMs ?? Infinity);
    if (isCurrent && known.configured === names) return known.effect;
    const effect = effectivePolicy({ policies: this.of(device), configured, atMs });
    if (this.#effects.size >= rememberedMax) this.#effects.clear();
    this.#effects.set(device, { configured: names, sinceMs: atMs, effect });
    return effect;
  }

  /** What could not be taken before is tried once more: lists have come, or time has passed. */
  retry(): void {
    this.#retriedAtMs = this.#options.clock(); // by a clock that may be set back
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [owner, { message }] of waiting) this.take(owner, message);
  }

  #take(scope: NamespacePath, message: Buffer): boolean {
    const { roots, lists, clock, log } = this.#options;
    const acceptable = [...ownersOf(scope), scope];
    // Each connection brings what all have: it is not verified again.
    if (acceptable.some((owner) => this.#held.get(owner)?.message.equals(message)))
      return this.#settle(scope);
    const nowMs = clock();
    const signed = readSignedPolicy(message, { roots, atMs: nowMs });
    const { policy, digest, signer } = signed;
    if (!acceptable.includes(policy.path)) {
      throw new PolicyRefusal('policy.foreign', `it is for ${policy.path}, and came to ${scope}`);
    }
    const held = this.#held.get(policy.path);
    if (held !== undefined && digest.equals(held.digest)) return this.#settle(scope);
    requireNewer(policy, held?.policy);
    if (policy.validUntilMs !== undefined && nowMs >= policy.validUntilMs) {
      throw new PolicyRefusal('policy.expired', `number ${policy.number} ended before it came`);
    }
    try {
      lists.requireUnrevoked(signer, nowMs);
      if (policy.validFromMs !== undefined && nowMs + clockSkewMs < policy.validFromMs) {
        throw new PolicyRefusal('policy.not_yet_valid', `number ${policy.number} begins later`);
      }
      this.#keep(policy.path, message, nowMs);
    } catch (error) {
      if (passing.has(codeOf(error) ?? '')) this.#await(message, policy);
      throw error;
    }
    this.#held.set(policy.path, { ...signed, message });
    this.#effects.clear();
    this.#generation += 1;
    this.#taken.inc();
    log.info({ policy: policy.path, number: policy.number, issuer: policy.issuer }, 'policy.applied');
    for (const below of this.#faults.keys()) if (isWithin(below, policy.path)) this.#faults.delete(below);
    this.#tell(policy.path);
    return true;
  }

  /** A second one with a lower number does not push out the one that waits. */
  #await(message: Buffer, { path: owner, number }: Policy): void {
    if (number >= (this.#waiting.get(owner)?.number ?? 0)) this.#waiting.set(owner, { number, message });
  }

  /** It is the one that is held. @returns false */
  #settle(scope: NamespacePath): boolean {
    if (this.#faults.delete(scope)) this.#tell(scope);
    return false;
  }

  #keep(owner: NamespacePath, message: Buffer, takenAtMs: number): void {
    const file = path.join(this.#folder, `${encodeURIComponent(owner)}${fileEnd}`);
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      writeFileAtomically(file, encode({ takenAtMs, message }));
    } catch (cause) {
      throw new PolicyRefusal('policy.not_kept', `${file}: ${describeSystemError(cause)}`, { cause });
    }
  }

  #load(): void {
    for (const name of readdirSync(this.#folder)) {
      if (!name.endsWith(fileEnd) || name.startsWith('.')) continue; // a neighbour that a power cut left behind
      const file = path.join(this.#folder, name);
      try {
        const { takenAtMs, message } = readKept(readFileSync(file));
        const signed = readSignedPolicy(message, { roots: this.#options.roots, atMs: takenAtMs });
        this.#held.set(signed.policy.path, { ...signed, message });
      } catch (cause) {
        if (codeOf(cause) === undefined) throw cause;
        throw new PolicyRefusal('policy.damaged', `${file}: ${String(cause)}`, { cause });
      }
    }
  }

  #refuse(scope: NamespacePath, error: unknown): void {
    const reason = codeOf(error);
    if (reason === undefined) throw error;
    if (passing.has(reason) && this.#faults.get(scope)?.reason === reason) return; // tried again, and said before
    const { clock, log } = this.#options;
    this.#refused.inc({ reason });
    const detail = String(error).slice(0, detailLengthMax);
    log.error({ device: scope, reason, detail }, 'policy.refused');
    const isNews = this.#faults.get(scope)?.reason !== reason;
    this.#faults.set(scope, { reason, atMs: clock() });
    if (isNews) this.#tell(scope);
  }

  #tell(changed: NamespacePath): void {
    for (const listener of this.#listeners) listener(changed);
  }
}

function requireNewer(policy: Policy, held: Policy | undefined): void {
  if (held === undefined || policy.number > held.number) return;
  const numbers = `number ${policy.number} came, and number ${held.number} is held`;
  if (policy.number < held.number) throw new PolicyRefusal('policy.rollback', numbers);
  throw new PolicyRefusal('policy.forked', `${numbers} with another content`);
}

function readKept(bytes: Buffer): { readonly takenAtMs: number; readonly message: Buffer } {
  let kept: unknown;
  try {
    kept = decode(bytes);
  } catch (cause) {
    throw new PolicyRefusal('policy.damaged', 'not a policy that was kept', { cause });
  }
  const { takenAtMs, message } = Object.fromEntries(Object.entries(kept ?? {}));
  if (typeof takenAtMs === 'number' && message instanceof Uint8Array) {
    return { takenAtMs, message: Buffer.from(message) };
  }
  throw new PolicyRefusal('policy.damaged', 'not a policy that was kept');
}

/** @returns undefined for an error of our own */
function codeOf(error: unknown): string | undefined {
  const isTheirs =
    error instanceof PolicyRefusal ||
    error instanceof PolicyError ||
    error instanceof CmsError ||
    error instanceof PkiError;
  return isTheirs ? error.code : undefined;
}
