/** The wire between a link and its broker: a TCP proxy that a test can cut, or let fall silent without a word. */
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { once } from 'node:events';

export class Wire {
  readonly #server;
  readonly #sockets = new Set<Socket>();
  /** Connections that were made through it. */
  connections = 0;

  private constructor(port: number) {
    this.#server = createServer((near) => {
      this.connections++;
      const far = connect({ port, host: '127.0.0.1' });
      this.#join(near, far);
      this.#join(far, near);
    });
  }

  static async to(port: number, listenOn = 0): Promise<Wire> {
    const wire = new Wire(port);
    wire.#server.listen(listenOn, '127.0.0.1');
    await once(wire.#server, 'listening');
    return wire;
  }

  get endpoint(): { host: string; port: number } {
    return { host: '127.0.0.1', port: (this.#server.address() as AddressInfo).port };
  }

  /** From now on bytes of the connections that stand are swallowed; no FIN, no RST. New connections work. */
  fallSilent(): void {
    for (const socket of this.#sockets) socket.removeAllListeners('data').resume();
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('error', () => undefined);
    from.on('data', (bytes) => void to.write(bytes));
    from.once('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}
