/** Notices that the other side is gone although the connection still looks open (MQTT 3.1.1 §3.1.2.10). */

export interface KeepAliveActions {
  readonly ping: () => void;
  readonly dead: () => void;
}

export class KeepAlive {
  readonly #timer: NodeJS.Timeout;
  #heardSinceTick = true;
  #pinged = false;

  /** Pings at half the keep-alive interval, and gives up when a whole half interval brought no byte in answer. */
  constructor(keepAliveSeconds: number, actions: KeepAliveActions) {
    this.#timer = setInterval(() => {
      if (this.#pinged && !this.#heardSinceTick) return actions.dead();
      this.#heardSinceTick = false;
      this.#pinged = true;
      return actions.ping();
    }, keepAliveSeconds * 500);
    this.#timer.unref();
  }

  heard(): void {
    this.#heardSinceTick = true;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
