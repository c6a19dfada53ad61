/** A real SMTP server that keeps what it takes; for tests. */
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { SMTPServer } from 'smtp-server';

export interface MailServer {
  readonly url: string;
  readonly mails: string[];
  /** The reply code to the next recipients; 250 takes them. */
  reply: number;
}

export async function startMailServer(context: TestContext): Promise<MailServer> {
  const mailbox = { url: '', mails: [] as string[], reply: 250 };
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS', 'AUTH'],
    onRcptTo: (_address, _session, callback) =>
      mailbox.reply === 250
        ? callback()
        : callback(Object.assign(new Error('not now'), { responseCode: mailbox.reply })),
    onData: (stream, _session, callback) => {
      const parts: Buffer[] = [];
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.on('end', () => {
        mailbox.mails.push(Buffer.concat(parts).toString('utf8'));
        callback();
      });
    },
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  context.after(() => new Promise<void>((resolve) => server.close(() => resolve())));
  mailbox.url = `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}`;
  return mailbox;
}
