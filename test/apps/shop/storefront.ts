/** The shop's pages. */
import { hostname } from 'node:os';
import { grpcClient } from '../lib/grpc.ts';
import { type Answer, escapeHtml, serveHttp, setting } from '../lib/http.ts';
import { type Item, type Money, type Order, type Product, printMoney, shop } from './protocol.ts';

const catalogue = grpcClient(shop, 'shop.Catalogue', setting('CATALOGUE_ADDR'));
const cart = grpcClient(shop, 'shop.Cart', setting('CART_ADDR'));
const currency = grpcClient(shop, 'shop.Currency', setting('CURRENCY_ADDR'));
const recommendations = grpcClient(shop, 'shop.Recommendations', setting('RECOMMENDATIONS_ADDR'));
const advertising = grpcClient(shop, 'shop.Advertising', setting('ADVERTISING_ADDR'));
const checkout = grpcClient(shop, 'shop.Checkout', setting('CHECKOUT_ADDR'));

const page = (title: string, lines: readonly string[]): Answer => ({
  type: 'text/html',
  body: `<!DOCTYPE html>\n<title>${escapeHtml(title)}</title>\n<h1>${escapeHtml(title)}</h1>\n${lines.join('\n')}\n<footer>${escapeHtml(hostname())} ${process.env.RELEASE ?? ''}</footer>\n`,
});

const convert = (from: Money, to: string) => currency<Money>('Convert', { from, to });

async function productLine(product: Product, to: string): Promise<string> {
  return `<li><a href="/product?id=${product.id}">${escapeHtml(product.name)}</a> ${printMoney(await convert(product.price, to))}</li>`;
}

serveHttp(Number(setting('PORT')), {
  'GET /healthz': () => ({ body: 'ok' }),
  'GET /': async ({ url }) => {
    const to = url.searchParams.get('currency') ?? 'EUR';
    const [{ products }, { texts }] = await Promise.all([
      catalogue<{ products: Product[] }>('List'),
      advertising<{ texts: string[] }>('For', { words: ['books'] }),
    ]);
    const lines = await Promise.all(products.map((product) => productLine(product, to)));
    return page('The shop', [...lines, `<p>${escapeHtml(texts.join(' '))}</p>`]);
  },
  'GET /product': async ({ url }) => {
    const product = await catalogue<Product>('Get', { id: url.searchParams.get('id') ?? '' });
    const [{ products }, { texts }] = await Promise.all([
      recommendations<{ products: Product[] }>('List', { products: [product.id] }),
      advertising<{ texts: string[] }>('For', { words: product.categories }),
    ]);
    const also = products.map(({ name }) => `<li>${escapeHtml(name)}</li>`);
    return page(product.name, [
      `<p>${printMoney(product.price)}</p>`,
      ...also,
      `<p>${escapeHtml(texts.join(' '))}</p>`,
    ]);
  },
  'POST /cart': async ({ body }) => {
    const form = new URLSearchParams(body);
    const item = { product: form.get('product') ?? '', quantity: Number(form.get('quantity') ?? 1) };
    await catalogue('Get', { id: item.product });
    await cart('Add', { user: form.get('user') ?? '', item });
    return { body: 'added\n' };
  },
  'GET /cart': async ({ url }) => {
    const { items } = await cart<{ items: Item[] }>('Get', { user: url.searchParams.get('user') ?? '' });
    return page(
      'Your cart',
      items.map(({ product, quantity }) => `<li>${quantity} × ${escapeHtml(product)}</li>`),
    );
  },
  'POST /checkout': async ({ body }) => {
    const order = await checkout<Order>('Place', Object.fromEntries(new URLSearchParams(body)));
    return page('Your order', [
      `<p>order ${order.id}, tracking number ${order.tracking}, total ${printMoney(order.total)}</p>`,
    ]);
  },
});
