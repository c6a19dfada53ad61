/** The broker without its doors: clients of any certificate, over pairs of streams instead of TLS. */
import { duplexPair } from 'node:stream';
import type { Duplex } from 'node:stream';
import { certificatesFromPem } from '../../pki/certificate.ts';
import type { BrokerConfig } from '../../broker/config.ts';
import type { Transport } from '../../broker/connection/transport.ts';
import { coreOptions } from '../../broker/main.ts';
import type { BrokerSurroundings } from '../../broker/main.ts';
import { readSettings } from '../../broker/settings.ts';
import { Supervisor } from '../../broker/supervisor.ts';
import { systemClock } from '../../domain/clock.ts';
import type { Site } from './fixture.ts';
import { RawClient } from './fixture.ts';

export class MemoryBroker {
  readonly #site: Site;
  readonly #options: ReturnType<typeof coreOptions>;
  readonly #supervisor: Supervisor;

  constructor(site: Site, config: BrokerConfig, surroundings: BrokerSurroundings) {
    this.#site = site;
    this.#options = coreOptions(config, surroundings);
    this.#supervisor = new Supervisor(this.#options);
  }

  async connect(commonName: string, version: 4 | 5): Promise<RawClient<Duplex>> {
    const chain = certificatesFromPem((await this.#site.tls(commonName)).chainPem);
    const peer = this.#options.verifier.verifyChain(chain, systemClock());
    const [near, far] = duplexPair();
    this.#supervisor.admit(transportOver(far, near), peer);
    return new RawClient(near, version);
  }

  /** Takes other settings over, as a reload does. */
  reload(config: BrokerConfig): void {
    this.#options.settings.replaceWith(readSettings(config, systemClock()));
    this.#supervisor.core?.settingsChanged({ isCascadeChanged: false });
  }

  sweep(): void {
    this.#supervisor.core?.sweep();
  }

  async stop(): Promise<void> {
    await this.#supervisor.stop();
  }
}

/** What the operating system does for sockets: the end of one side is the end of the other. */
function transportOver(stream: Duplex, other: Duplex): Transport {
  const destroy = (): void => {
    stream.destroy();
    other.destroy();
  };
  other.on('close', destroy);
  return {
    get pendingBytes() {
      return stream.writableLength;
    },
    get isDestroyed() {
      return stream.destroyed;
    },
    start: ({ onBytes, onDrain, onError, onClose }) => {
      stream.on('data', onBytes);
      stream.on('drain', onDrain);
      stream.on('error', (error) => onError(error.message));
      stream.once('close', onClose);
    },
    write: (bytes) => stream.write(bytes),
    pause: () => {
      stream.pause();
    },
    resume: () => {
      stream.resume();
    },
    end: () => {
      stream.end(destroy);
    },
    destroyAfter: () => undefined,
    destroy,
  };
}
