/** An advertisement for a category of products. */
import { serveGrpc } from '../lib/grpc.ts';
import { setting } from '../lib/http.ts';
import { shop } from './protocol.ts';

const TEXTS: Readonly<Record<string, string>> = {
  kitchen: 'Knives that stay sharp',
  garden: 'A second spade at half the price',
  books: 'Three novels for two',
};

serveGrpc(Number(setting('PORT')), shop, 'shop.Advertising', {
  For: ({ words }: { words: string[] }) => {
    const found = words.flatMap((word) => TEXTS[word] ?? []);
    return { texts: found.length > 0 ? found : [TEXTS.books!] };
  },
});
