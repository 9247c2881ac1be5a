/** The shop: eleven services over HTTP and gRPC, and Redis. */
import * as assert from 'uvu/assert';
import { applicationSuite, FULL } from '../../lib/applications.ts';
import { eventually } from '../../lib/cluster.ts';

const { test, app } = applicationSuite('shop', { files: 'shop', programs: ['redis-server'] });
const SHOP = 'http://172.18.0.11:30080';

async function buy(user: string, product: string): Promise<string> {
  const post = (path: string, form: Record<string, string>) =>
    app.page(`${SHOP}${path}`, '-f', '-d', new URLSearchParams(form).toString());
  await post('/cart', { user, product, quantity: '3' });
  return post('/checkout', {
    user,
    currency: 'EUR',
    address: '1 Street',
    email: 'a@example.com',
    card: '4539148803436467',
  });
}

test('the front page has every product with its price, converted', async () => {
  const page = await app.page(`${SHOP}/?currency=JPY`);
  assert.match(page, '<li><a href="/product?id=atlas">Atlas of rivers</a> JPY 6825.60</li>');
  assert.is(page.match(/<li>/g)?.length, 5);
  const product = await app.page(`${SHOP}/product?id=spade`);
  assert.match(product, 'EUR 19.99');
  assert.match(product, 'A second spade at half the price');
});

test('an order goes through cart, catalogue, currency, payments, shipping and mailer', async () => {
  const order = await buy('ann', 'kettle');
  // Three kettles, and a parcel of three.
  assert.match(order, /order [0-9a-f-]{36}, tracking number SHOP-[0-9a-f]{10}, total EUR 127\.69/);
  const [, id] = /order ([0-9a-f-]{36})/.exec(order) ?? [];
  await eventually(async () =>
    (await app.logs('app=mailer')).includes(`order ${id} over EUR 127.69`) ? true : undefined,
  );
  assert.match(await app.page(`${SHOP}/cart?user=ann`), '<h1>Your cart</h1>\n\n', 'the cart is empty afterwards');
});

test('no visitor notices an update', async () => {
  const names = ['storefront', 'checkout', 'catalogue'];
  const others = ['cart', 'currency', 'payments', 'shipping', 'mailer', 'recommendations', 'advertising'];
  const requests = [
    { url: `${SHOP}/`, expect: 'Bread knife' },
    { url: `${SHOP.replace('11', '12')}/product?id=lamp`, expect: 'Desk lamp' },
  ];
  await app.underLoad(requests, async () => {
    for (const name of FULL ? [...names, ...others] : names) await app.rollOut('Deployment', name);
  });
  assert.match(await buy('ben', 'knife'), 'total EUR');
  const [pod] = (await app.api.list('Pod', { namespace: 'default', labelSelector: 'app=visitors' })).items;
  const report = await app.cluster.cli(
    'run',
    '--from',
    `pod/${pod!.metadata.name}`,
    '--',
    'curl',
    '-s',
    'http://127.0.0.1:8089/report',
  );
  const { orders, failures, last } = JSON.parse(report) as { orders: number; failures: number; last: string };
  assert.ok(orders > 0);
  assert.is(failures, 0, last);
});

test.run();
