/** Looks now and then into the session that waits for all who share the work, takes what is there, and leaves. */
import type { ReceivedMessage } from '../mqtt/inbox.ts';
import { openLink } from '../mqtt/link.ts';
import type { Link, LinkOptions } from '../mqtt/link.ts';
import type { BackendSession } from './subscriptions.ts';

export interface RestWatchOptions {
  readonly session: BackendSession;
  /** Where and as whom. */
  readonly link: Pick<
    LinkOptions,
    'broker' | 'brokerName' | 'identity' | 'requireUnrevoked' | 'log' | 'reconnect' | 'receiveMaximum'
  >;
  readonly receive: (message: ReceivedMessage, acknowledge: () => void) => void;
  readonly everyMs: number;
}

/** So long nothing more has come: it is empty, or another backend has it. */
const quietMs = 2000;

export class RestWatch {
  readonly #options: RestWatchOptions;
  #link: Link | undefined;
  #quiet: NodeJS.Timeout | undefined;
  readonly #timer: NodeJS.Timeout;
  #unacknowledged = 0;

  /** Looks at once, so that the session is there. */
  constructor(options: RestWatchOptions) {
    this.#options = options;
    this.#look();
    this.#timer = setInterval(() => this.#look(), options.everyMs);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#quiet);
    await this.#link?.close();
  }

  #look(): void {
    if (this.#link !== undefined) return;
    const { session, link, receive } = this.#options;
    this.#unacknowledged = 0;
    this.#link = openLink({
      ...link,
      clientId: session.clientId,
      cleanSession: false,
      subscriptions: session.subscriptions,
      onSubscribed: () => this.#leaveWhenQuiet(),
      // Another backend looks now, which needs no two; or the broker went away, and there is a next time.
      onDisconnect: () => this.#leave(),
      onMessage: (message, acknowledge) => {
        this.#unacknowledged += 1;
        receive(message, () => {
          acknowledge();
          this.#unacknowledged -= 1;
        });
        this.#leaveWhenQuiet();
      },
    });
  }

  #leaveWhenQuiet(): void {
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => {
      if (this.#unacknowledged > 0) this.#leaveWhenQuiet();
      else this.#leave();
    }, quietMs);
  }

  #leave(): void {
    clearTimeout(this.#quiet);
    const link = this.#link;
    this.#link = undefined;
    void link?.close();
  }
}
