/** Whether a node takes a lease that is free, by what it knows of those who may have more than it has. */
import type { Mark } from '../store/journal.ts';
import type { Claim, Comparison } from './shared-log.ts';

/** How long a copy with more than the log waits for one that was active, or that has all that was answered. */
const leasesAhead = 3;
/** How long one that was active lets another try first. */
const leasesAfterLeading = 2;

export class Candidacy {
  readonly #leaseMs: number;
  #mayLeadFromMs = 0;
  /** Since when this copy has had more than the log. */
  #aheadSinceMs: number | undefined;
  #isFounder = false;
  /** The last entry that Redis ever said it has, and the one that it says it has now. */
  #heard: Mark = { position: 0, epoch: 0 };
  #last: Mark = { position: 0, epoch: 0 };

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs;
  }

  /** The cluster begins with this node: nobody was active before. */
  founded(): void {
    this.#isFounder = true;
  }

  /** Another node is active. */
  follow(): void {
    this.#isFounder = false;
  }

  learn({ isAhead, position, tailEpoch }: Comparison, nowMs: number): void {
    this.#last = { position, epoch: tailEpoch };
    if (isBefore(this.#heard, this.#last)) this.#heard = this.#last;
    if (!isAhead) this.#aheadSinceMs = undefined;
    else this.#aheadSinceMs ??= nowMs;
  }

  lead(): void {
    this.#isFounder = false;
    this.#aheadSinceMs = undefined;
  }

  led(nowMs: number): void {
    this.#mayLeadFromMs = nowMs + leasesAfterLeading * this.#leaseMs;
  }

  /** Redis has lost what it had confirmed, and this copy never had it. */
  isRobbed(place: Mark): boolean {
    return isBefore(this.#last, this.#heard) && isBefore(place, this.#heard);
  }

  /**
   * @param place - of this copy
   * @param connectedMs - for how long Redis has been there for this node
   */
  claim(place: Mark, nowMs: number, connectedMs: number): Claim {
    // Whoever was active when Redis went away, also before this node began, is the first to have the lease again.
    if (connectedMs < this.#leaseMs && !this.#isFounder) return 'none';
    if (nowMs < this.#mayLeadFromMs || isBefore(place, this.#heard)) return 'none';
    // Entries that nobody else has were never answered, or Redis was set back and lacks what was: others go first.
    return nowMs - (this.#aheadSinceMs ?? nowMs) < leasesAhead * this.#leaseMs ? 'even' : 'any';
  }
}

function isBefore(one: Mark, other: Mark): boolean {
  return one.epoch < other.epoch || (one.epoch === other.epoch && one.position < other.position);
}
