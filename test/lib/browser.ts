/**
 * A browser for the tests of pages: Chromium of this machine, driven by playwright-core, checked by axe-core. Both packages
 * are installed outside of the repository; PLAYWRIGHT_CORE and AXE_CORE are their directories.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from './cluster.ts';

const { PLAYWRIGHT_CORE, AXE_CORE } = process.env;
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

/** Why no page can be tested here; undefined if one can. */
export function whyNoBrowser(): string | undefined {
  if (CHROMIUM === undefined) return 'there is no Chromium (apt install chromium)';
  if (PLAYWRIGHT_CORE === undefined) return 'PLAYWRIGHT_CORE is not set (npm install playwright-core)';
  if (AXE_CORE === undefined) return 'AXE_CORE is not set (npm install axe-core)';
  return existsSync(join(ROOT, 'dist/bundle/ui/page.html')) ? undefined : 'the pages are not built';
}

/** The part of playwright's pages that tests use. */
export interface Page {
  goto(url: string): Promise<unknown>;
  on(event: 'console', handler: (message: { type(): string; text(): string }) => void): void;
  on(event: 'pageerror', handler: (error: Error) => void): void;
  waitForFunction(script: string, argument?: unknown, options?: { timeout: number }): Promise<unknown>;
  evaluate<T>(script: string): Promise<T>;
  locator(selector: string): Locator;
  getByRole(role: string, options: { name: string; exact?: boolean }): Locator;
  readonly keyboard: { press(key: string): Promise<void> };
  readonly mouse: { wheel(x: number, y: number): Promise<void>; move(x: number, y: number): Promise<void> };
  screenshot(options: { path: string }): Promise<unknown>;
  waitForTimeout(ms: number): Promise<void>;
  context(): { newCDPSession(page: Page): Promise<DevTools> };
  close(): Promise<void>;
}

/** Chrome's DevTools protocol. */
export interface DevTools {
  send(method: string, parameters?: object): Promise<unknown>;
}

interface Locator {
  click(): Promise<void>;
  focus(): Promise<void>;
  fill(text: string): Promise<void>;
  selectOption(value: string): Promise<unknown>;
  textContent(): Promise<string>;
  inputValue(): Promise<string>;
  count(): Promise<number>;
  first(): Locator;
  last(): Locator;
  nth(index: number): Locator;
  waitFor(): Promise<void>;
}

export interface Browser {
  newPage(options: object): Promise<Page>;
  close(): Promise<void>;
}

export async function startBrowser(): Promise<Browser> {
  const module = pathToFileURL(join(PLAYWRIGHT_CORE!, 'index.mjs')).href;
  const { chromium } = (await import(module)) as { chromium: { launch(options: object): Promise<Browser> } };
  return chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
}

/** What axe-core finds serious or worse: rule and the element. */
export async function seriousFindings(page: Page): Promise<string[]> {
  await page.evaluate(readFileSync(join(AXE_CORE!, 'axe.min.js'), 'utf8'));
  return page.evaluate<string[]>(`axe.run().then(({ violations }) => violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => id + ' ' + target + ': ' + failureSummary)))`);
}
