/** Conversion between currencies. */
import { serveGrpc } from '../lib/grpc.ts';
import { setting } from '../lib/http.ts';
import { type Money, shop } from './protocol.ts';

/** Units for one euro. */
const RATES: Readonly<Record<string, number>> = { EUR: 1, USD: 1.13, JPY: 126.4, GBP: 0.86 };

serveGrpc(Number(setting('PORT')), shop, 'shop.Currency', {
  Supported: () => ({ codes: Object.keys(RATES) }),
  Convert: ({ from, to }: { from: Money; to: string }) => {
    const [source, target] = [RATES[from.currency], RATES[to]];
    if (source === undefined || target === undefined) throw new Error(`no rate from ${from.currency} to ${to}`);
    return { currency: to, cents: Math.round((from.cents / source) * target) };
  },
});
