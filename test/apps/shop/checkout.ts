/** Turns a cart into an order: six other services take part. */
import { randomUUID } from 'node:crypto';
import { grpcClient, serveGrpc } from '../lib/grpc.ts';
import { setting } from '../lib/http.ts';
import { type Item, type Money, type Product, shop } from './protocol.ts';

const cart = grpcClient(shop, 'shop.Cart', setting('CART_ADDR'));
const catalogue = grpcClient(shop, 'shop.Catalogue', setting('CATALOGUE_ADDR'));
const currency = grpcClient(shop, 'shop.Currency', setting('CURRENCY_ADDR'));
const shipping = grpcClient(shop, 'shop.Shipping', setting('SHIPPING_ADDR'));
const payments = grpcClient(shop, 'shop.Payments', setting('PAYMENTS_ADDR'));
const mailer = grpcClient(shop, 'shop.Mailer', setting('MAILER_ADDR'));

interface Wanted {
  user: string;
  currency: string;
  address: string;
  email: string;
  card: string;
}

serveGrpc(Number(setting('PORT')), shop, 'shop.Checkout', {
  Place: async ({ user, currency: to, address, email, card }: Wanted) => {
    const { items } = await cart<{ items: Item[] }>('Get', { user });
    if (items.length === 0) throw new Error('the cart is empty');
    const prices = await Promise.all(
      items.map(async ({ product, quantity }) => {
        const { price } = await catalogue<Product>('Get', { id: product });
        return { currency: price.currency, cents: price.cents * quantity };
      }),
    );
    const quote = await shipping<Money>('Quote', { address, items });
    const converted = await Promise.all([...prices, quote].map((from) => currency<Money>('Convert', { from, to })));
    const total = { currency: to, cents: converted.reduce((sum, { cents }) => sum + cents, 0) };
    const { transaction } = await payments<{ transaction: string }>('Charge', { number: card, amount: total });
    const { number: tracking } = await shipping<{ number: string }>('Ship', { address, items });
    await cart('Clear', { user });
    const order = { id: randomUUID(), tracking, transaction, total, items };
    // An order is valid even if its confirmation could not be sent.
    await mailer('Confirm', { to: email, order }).catch((error: Error) => console.error(error.message));
    return order;
  },
});
