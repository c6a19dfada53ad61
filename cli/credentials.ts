/** Names and passwords of people, as commands take them. */
import { randomBytes } from 'node:crypto';
import { InvalidArgumentError } from 'commander';
import { passwordLengthMax, passwordLengthMin } from '../web/password.ts';

const namePattern = /^[A-Za-z0-9._@-]{1,64}$/;
const generatedBytes = 15;

export function parseUserName(text: string): string {
  if (namePattern.test(text)) return text;
  throw new InvalidArgumentError('wanted 1 to 64 letters, digits and . _ @ -');
}

/** The first line of a pipe or a file; a terminal is not read, because it would show what is typed. */
export async function choosePassword(): Promise<{ password: string; isGenerated: boolean }> {
  const given = process.stdin.isTTY ? '' : await firstLineOfStdin();
  if (given === '') return { password: randomBytes(generatedBytes).toString('base64url'), isGenerated: true };
  if (given.length < passwordLengthMin || given.length > passwordLengthMax) {
    throw new Error(`a password has ${passwordLengthMin} to ${passwordLengthMax} characters`);
  }
  return { password: given, isGenerated: false };
}

async function firstLineOfStdin(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (text.includes('\n') || text.length > passwordLengthMax) break;
  }
  return text.split(/\r?\n/, 1)[0] ?? '';
}
