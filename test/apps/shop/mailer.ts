/** Sends confirmations: to its own log. */
import { serveGrpc } from '../lib/grpc.ts';
import { setting } from '../lib/http.ts';
import { type Order, printMoney, shop } from './protocol.ts';

serveGrpc(Number(setting('PORT')), shop, 'shop.Mailer', {
  Confirm: ({ to, order }: { to: string; order: Order }) => {
    console.log(`confirmation of order ${order.id} over ${printMoney(order.total)} to ${to}`);
    return {};
  },
});
