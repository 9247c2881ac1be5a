/** Visitors of the shop, one after the other: they look, choose and buy. Reports on its own page. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { serveHttp, setting } from '../lib/http.ts';

const storefront = `http://${setting('STOREFRONT_ADDR')}`;
const count = { orders: 0, failures: 0, last: '' };

async function ask(path: string, form?: Record<string, string>): Promise<string> {
  const response = await fetch(
    `${storefront}${path}`,
    form && { method: 'POST', body: new URLSearchParams(form), signal: AbortSignal.timeout(5000) },
  );
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status}: ${text.trim()}`);
  return text;
}

async function visit(): Promise<void> {
  const user = randomUUID();
  const [, product = ''] = /product\?id=([\w-]+)/.exec(await ask('/?currency=USD')) ?? [];
  await ask(`/product?id=${product}`);
  await ask('/cart', { user, product, quantity: '2' });
  if (!(await ask(`/cart?user=${user}`)).includes(`2 × ${product}`)) throw new Error('the cart has lost its content');
  const [address, email, card] = ['1 Long Street', 'someone@example.com', '4539 1488 0343 6467'];
  const done = await ask('/checkout', { user, currency: 'GBP', address, email, card });
  if (!/total GBP \d+\.\d\d/.test(done)) throw new Error(`no order: ${done}`);
}

serveHttp(Number(setting('PORT')), {
  'GET /healthz': () => ({ body: 'ok' }),
  'GET /report': () => ({ type: 'application/json', body: JSON.stringify(count) }),
});

for (;;) {
  try {
    await visit();
    count.orders++;
  } catch (error) {
    count.failures++;
    count.last = (error as Error).message;
    console.error(count.last);
  }
  await sleep(Number(process.env.PAUSE_MS ?? 1000));
}
