/** Products that the user has not yet chosen. */
import { grpcClient, serveGrpc } from '../lib/grpc.ts';
import { setting } from '../lib/http.ts';
import { type Product, shop } from './protocol.ts';

const catalogue = grpcClient(shop, 'shop.Catalogue', setting('CATALOGUE_ADDR'));

serveGrpc(Number(setting('PORT')), shop, 'shop.Recommendations', {
  List: async ({ products: chosen }: { products: string[] }) => {
    const { products } = await catalogue<{ products: Product[] }>('List');
    return { products: products.filter(({ id }) => !chosen.includes(id)).slice(0, 3) };
  },
});
