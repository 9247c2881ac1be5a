/** Users' carts, in Redis. */
import { serveGrpc } from '../lib/grpc.ts';
import { setting } from '../lib/http.ts';
import { Redis } from '../lib/redis.ts';
import { type Item, shop } from './protocol.ts';

const redis = new Redis(setting('REDIS_ADDR'));

serveGrpc(Number(setting('PORT')), shop, 'shop.Cart', {
  Add: async ({ user, item }: { user: string; item: Item }) => {
    await redis.command('HINCRBY', `cart:${user}`, item.product, item.quantity);
    return {};
  },
  Get: async ({ user }: { user: string }) => {
    const fields = (await redis.command('HGETALL', `cart:${user}`)) as string[];
    const items: Item[] = [];
    for (let i = 0; i < fields.length; i += 2) items.push({ product: fields[i]!, quantity: Number(fields[i + 1]) });
    return { items: items.sort((a, b) => (a.product < b.product ? -1 : 1)) };
  },
  Clear: async ({ user }: { user: string }) => {
    await redis.command('DEL', `cart:${user}`);
    return {};
  },
});
