/** A real Chromium, and pages in it that are watched; for tests. */
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import type { Browser, Page } from 'playwright-core';

export interface WatchedPage {
  readonly page: Page;
  /** What the page complained about. */
  readonly complaints: string[];
}

/** How long a test waits for what never comes. */
const patienceMs = 120_000;

/** A page in a browser profile of its own. */
export async function openPageAt(
  browser: Browser,
  url: string,
  { dark = false }: { readonly dark?: boolean } = {},
): Promise<WatchedPage> {
  const profile = await browser.newContext({ colorScheme: dark ? 'dark' : 'light' });
  profile.setDefaultTimeout(patienceMs);
  profile.setDefaultNavigationTimeout(patienceMs);
  const page = await profile.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('console', (message) => {
    // A 401 before the login is how a page learns that nobody is logged in.
    if (message.type() === 'error' && !message.text().includes('401')) complaints.push(message.text());
  });
  await page.goto(url);
  return { page, complaints };
}

export async function logIn(page: Page, user: string, secret: string): Promise<void> {
  await page.getByLabel('User name').fill(user);
  await page.getByLabel('Password').fill(secret);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

export async function launch(): Promise<Browser> {
  const executablePath = process.env['PLOMBE_TEST_CHROMIUM'] ?? '/usr/bin/chromium';
  if (!existsSync(executablePath)) {
    throw new Error(
      `there is no Chromium at ${executablePath}. Install one (Debian: apt-get install chromium), ` +
        'or name its file in PLOMBE_TEST_CHROMIUM',
    );
  }
  return chromium.launch({
    executablePath,
    timeout: patienceMs,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
