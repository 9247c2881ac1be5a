/** Charges cards whose number has a valid check digit (ISO/IEC 7812-1, Luhn). */
import { randomUUID } from 'node:crypto';
import { serveGrpc } from '../lib/grpc.ts';
import { setting } from '../lib/http.ts';
import { type Money, printMoney, shop } from './protocol.ts';

const merchant = setting('MERCHANT_KEY');

serveGrpc(Number(setting('PORT')), shop, 'shop.Payments', {
  Charge: ({ number, amount }: { number: string; amount: Money }) => {
    if (!isCard(number)) throw new Error('the card number is invalid');
    const transaction = randomUUID();
    console.log(`${merchant.slice(0, 4)}…: ${transaction}: ${printMoney(amount)} from …${number.slice(-4)}`);
    return { transaction };
  },
});

function isCard(number: string): boolean {
  const digits = [...number.replaceAll(/[ -]/g, '')].map(Number).reverse();
  const sum = digits.reduce(
    (total, digit, i) => total + (i % 2 === 0 ? digit : digit > 4 ? digit * 2 - 9 : digit * 2),
    0,
  );
  return digits.length >= 12 && sum % 10 === 0;
}
